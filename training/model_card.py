"""Model cards: what a model is, where it comes from, what it reached. Kept beside the weights as `card.json`."""

from pathlib import Path
from typing import Any

import msgspec


class ModelCard(msgspec.Struct, kw_only=True, frozen=True):
    """The card of one model version.

    `digest` is `sha256:<hex>` of `model.onnx`; `rebuild` the command that makes the same model again; `metrics` names
    what was measured, on what, and the value.
    """

    model: str
    version: int
    digest: str
    size_bytes: int
    summary: str
    intended_use: str
    limits: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    data: str
    seed: int | None
    rebuild: str
    metrics: dict[str, Any]


def write_card(card: ModelCard, folder: Path) -> None:
    """Writes `card.json` into the folder of the model."""
    encoded = msgspec.json.format(msgspec.json.encode(card), indent=2)
    (folder / "card.json").write_bytes(encoded + b"\n")
