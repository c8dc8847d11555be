"""A folder that `linesight train` writes is served by Triton as it is, answers as torch does, and says what it is. Needs torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_client

from ops.local.triton import LocalTriton
from processors.learned.settings import DIGEST, SETTINGS, ModelSettings, read_model_settings
from schemas.object_store import digest_of
from schemas.recipes import ModelPin
from topologies.served_config import parameters_of

torch = pytest.importorskip("torch", reason="torch is in the train extra (make setup-train)")


def test_triton_serves_the_folder_and_answers_as_torch(tmp_path: Path) -> None:
    from training.export import onnx_bytes, write_model
    from training.networks import Classifier, ClassProbabilities, Maps, Segmenter

    torch.manual_seed(4)
    mapped = Maps(Segmenter(channels=2, classes=3, paired=True, mean=120.0, deviation=40.0)).eval()
    named = ClassProbabilities(Classifier(channels=3, classes=4, mean=120.0, deviation=40.0)).eval()
    settings = {
        "boards": ModelSettings(family="pair_segmenter", classes=["a", "b", "c"], colour=False, scale=1.0, paired=True),
        "cells": ModelSettings(
            family="classifier", classes=["good", "a", "b", "c"], colour=True, scale=1.0, paired=False, size_px=(64, 48)
        ),
    }
    images = {
        "boards": np.random.default_rng(1).integers(0, 256, (3, 2, 80, 112), dtype=np.uint8),
        "cells": np.random.default_rng(2).integers(0, 256, (5, 3, 48, 64), dtype=np.uint8),
    }
    for name, exported in (("boards", mapped), ("cells", named)):
        (tmp_path / "models" / name).mkdir(parents=True)
        weights = onnx_bytes(exported, torch.from_numpy(images[name][:2]), classifier=name == "cells")
        write_model(tmp_path / "models" / name, weights, settings[name], images[name].shape[1])
    with (
        LocalTriton(tmp_path, tmp_path / "models") as server,
        triton_client.InferenceServerClient(server.url) as client,
    ):
        for name, exported in (("boards", mapped), ("cells", named)):
            given = triton_client.InferInput("image", images[name].shape, "UINT8")
            given.set_data_from_numpy(images[name])
            answer = client.infer(name, [given])
            told = parameters_of(client.get_model_config(name).config, ModelPin(name=name, version=1))
            assert read_model_settings(told[SETTINGS]) == settings[name]
            assert told[DIGEST] == digest_of((tmp_path / "models" / name / "1" / "model.onnx").read_bytes())
            with torch.inference_mode():
                expected = [value.numpy() for value in exported(torch.from_numpy(images[name]))]
            assert np.abs(answer.as_numpy("score") - expected[0]).max() <= 1e-3
            if name == "boards":
                assert np.abs(answer.as_numpy("defect").astype(int) - expected[1]).max() <= 1
                assert answer.as_numpy("class").shape == (3, 1, 40, 56)
            else:
                assert np.abs(answer.as_numpy("probabilities") - expected[1]).max() <= 1e-3
