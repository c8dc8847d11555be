"""Folders as `linesight train` leaves them, with a small model in the place of a trained one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from small_models import Fault, class_model, spot_model

from processors.learned.settings import ModelSettings
from schemas.object_store import digest_of
from training.model_card import ModelCard, write_card

SPOTS = ModelSettings(family="segmenter", classes=["spot"], colour=False, scale=1.0, paired=False)
KINDS = ModelSettings(
    family="classifier", classes=["good", "dirty"], colour=False, scale=1.0, paired=False, size_px=(32, 32)
)


def trained(
    folder: Path,
    *,
    level: float = 200.0,
    settings: ModelSettings = SPOTS,
    weights: bytes | None = None,
    fault: Fault = "",
    **metrics: Any,
) -> Path:
    """A model that takes what is brighter than `level` for a spot, with its card; or with other `weights`, whatever they are.

    `fault`: what is wrong with it besides.
    """
    if settings.size_px:
        class_model(folder, settings)
    else:
        spot_model(folder, settings, level=level, fault=fault)
    if weights is not None:
        (folder / "1" / "model.onnx").write_bytes(weights)
    weights = (folder / "1" / "model.onnx").read_bytes()
    card = ModelCard(
        model=folder.name,
        version=1,
        digest=digest_of(weights),
        size_bytes=len(weights),
        summary="spots",
        intended_use="tests",
        limits="everything else",
        inputs={},
        outputs={},
        data="40 images of labels.jsonl, sha256:00",
        seed=1,
        rebuild="linesight train",
        metrics={"parity_torch_onnx": 1e-6, **metrics},
    )
    write_card(card, folder)
    return folder
