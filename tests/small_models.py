"""Trained models without training: small graphs that answer as the families do, so that tests know what they must find.

A spot model finds places that are brighter (or darker) than a level; a class model calls a picture by its mean. They are written as
`linesight train` writes a folder: weights, configuration, settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper

from processors.learned.settings import ModelSettings, served_parameters
from schemas.object_store import digest_of

VERSION = 1
_LEVEL_GREY = 127.0
_STEEP = 8.0
_SLOW_SIZE = 512
_SLOW_STEPS = 40
Fault = Literal["", "fails on white", "slow"]
"""How quickly a place's strength falls off around the level."""


def spot_model(
    repository: Path, settings: ModelSettings, *, level: float, dark: bool = False, rows: int = 16, fault: Fault = ""
) -> Path:
    """A folder whose model takes every place brighter than `level` (darker, with `dark`) for a defect of the first class.

    A paired one sees how much brighter (darker) than the reference a place is, plus 127. With a fault it answers the same, but `fails on
    white` (a px of 255), or is `slow` (some 100 ms of one core).
    """
    channels = (3 if settings.colour else 1) * (2 if settings.paired else 1)
    sign = -1.0 if dark else 1.0
    nodes = [helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.FLOAT)]
    if settings.paired:
        nodes += [
            helper.make_node("Split", ["wide"], ["front", "behind"], axis=1),
            helper.make_node("Sub", ["front", "behind"], ["apart"]),
            helper.make_node("Add", ["apart", "middle"], ["shown"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["wide"], ["shown"]))
    nodes += [
        helper.make_node("ReduceMean", ["shown"], ["toned"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["toned", "level"], ["above"]),
        helper.make_node("Mul", ["above", "slope"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["full"]),
        helper.make_node("MaxPool", ["full"], ["strength"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("ReduceMax", ["strength"], ["most"], axes=[1, 2, 3], keepdims=0),
        *_faulty(fault),
        helper.make_node("Add", ["most", "burden"], ["told"]),
        helper.make_node("Unsqueeze", ["told", "last"], ["score"]),
        helper.make_node("Mul", ["strength", "white"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["defect"], to=TensorProto.UINT8),
        helper.make_node("Mul", ["strength", "none"], ["first"]),
        helper.make_node("Cast", ["first"], ["class"], to=TensorProto.UINT8),
    ]
    constants = {"level": level, "middle": _LEVEL_GREY, "slope": sign / _STEEP, "white": 255.0, "none": 0.0}
    maps = ["n", 1, "map_height", "map_width"]
    outputs = {
        "score": (TensorProto.FLOAT, ["n", 1]),
        "defect": (TensorProto.UINT8, maps),
        "class": (TensorProto.UINT8, maps),
    }
    weights = _weights(nodes, ["n", channels, "height", "width"], outputs, constants)
    answers = [("score", "TYPE_FP32", "1"), ("defect", "TYPE_UINT8", "1, -1, -1"), ("class", "TYPE_UINT8", "1, -1, -1")]
    return _write(repository, settings, weights, f"{channels}, -1, -1", answers, rows=rows)


def _faulty(fault: Fault) -> list[onnx.NodeProto]:
    """Nodes that come to `burden`, which is 0."""
    if fault == "fails on white":
        return [
            helper.make_node("ReduceMax", ["wide"], ["brightest"], keepdims=0),
            helper.make_node("Div", ["brightest", "white"], ["share"]),
            helper.make_node("Floor", ["share"], ["is_white"]),
            helper.make_node("Mul", ["is_white", "white"], ["where_as_float"]),
            helper.make_node("Cast", ["where_as_float"], ["where"], to=TensorProto.INT64),
            helper.make_node("Unsqueeze", ["none", "last_place"], ["one_zero"]),
            helper.make_node("Gather", ["one_zero", "where"], ["burden"]),  # there is no element 255
        ]
    if fault == "slow":
        nodes = [
            helper.make_node("ReduceMean", ["wide"], ["tone"], keepdims=0),
            helper.make_node("Expand", ["tone", "large"], ["product_0"]),
            helper.make_node("Mul", ["product_0", "none"], ["factor"]),
        ]
        nodes += [
            helper.make_node("MatMul", [f"product_{step}", "factor"], [f"product_{step + 1}"])
            for step in range(_SLOW_STEPS)
        ]
        return [*nodes, helper.make_node("ReduceMax", [f"product_{_SLOW_STEPS}"], ["burden"], keepdims=0)]
    return [helper.make_node("Mul", ["none", "white"], ["burden"])]


def class_model(repository: Path, settings: ModelSettings) -> Path:
    """A folder whose model calls a picture `good`, unless its mean is above 127: then it is of the second class."""
    assert settings.size_px is not None
    width, height = settings.size_px
    channels = 3 if settings.colour else 1
    count = len(settings.classes)
    nodes = [
        helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["wide"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Sub", ["mean", "middle"], ["above"]),
        helper.make_node("Mul", ["above", "slope"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["bad_flat"]),
        helper.make_node("Unsqueeze", ["bad_flat", "last"], ["score"]),
        helper.make_node("Sub", ["one", "score"], ["good"]),
        helper.make_node("Mul", ["score", "none"], ["nothing"]),
        helper.make_node("Concat", ["good", "score", *["nothing"] * (count - 2)], ["probabilities"], axis=1),
    ]
    constants = {"middle": _LEVEL_GREY, "slope": 1.0 / _STEEP, "one": 1.0, "none": 0.0}
    outputs = {"score": (TensorProto.FLOAT, ["n", 1]), "probabilities": (TensorProto.FLOAT, ["n", count])}
    weights = _weights(nodes, ["n", channels, height, width], outputs, constants)
    answers = [("score", "TYPE_FP32", "1"), ("probabilities", "TYPE_FP32", str(count))]
    return _write(repository, settings, weights, f"{channels}, {height}, {width}", answers, rows=16)


def _weights(
    nodes: list[onnx.NodeProto],
    shape: list[str | int],
    outputs: dict[str, tuple[int, list[str | int]]],
    constants: dict[str, float],
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(name, kind, dims) for name, (kind, dims) in outputs.items()],
        [
            *(helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in constants.items()),
            helper.make_tensor("last", TensorProto.INT64, [1], [1]),
            helper.make_tensor("last_place", TensorProto.INT64, [1], [0]),
            helper.make_tensor("large", TensorProto.INT64, [2], [_SLOW_SIZE, _SLOW_SIZE]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _write(
    folder: Path, settings: ModelSettings, weights: bytes, dims: str, answers: list[tuple[str, str, str]], *, rows: int
) -> Path:
    (folder / str(VERSION)).mkdir(parents=True)
    (folder / str(VERSION) / "model.onnx").write_bytes(weights)
    (folder / "model.json").write_bytes(msgspec.json.encode(settings))
    told = ",\n".join(f'  {{ name: "{name}" data_type: {kind} dims: [ {dims_} ] }}' for name, kind, dims_ in answers)
    (folder / "config.pbtxt").write_text(
        f'name: "{folder.name}"\nbackend: "onnxruntime"\nmax_batch_size: {rows}\n'
        f'input [ {{ name: "image" data_type: TYPE_UINT8 dims: [ {dims} ] }} ]\noutput [\n{told}\n]\n'
        "instance_group [ { count: 1 kind: KIND_CPU } ]\ndynamic_batching { }\nversion_policy { all { } }\n"
        + served_parameters(settings, version=VERSION, digest=digest_of(weights))
    )
    return folder


def noisy_grey(seed: int, *, size_px: tuple[int, int] = (97, 75), level: float = 120.0) -> np.ndarray:
    """A picture of nothing in particular: uint8 [H, W] for a size of (width, height)."""
    width, height = size_px
    noise = np.random.default_rng(seed).normal(level, 5.0, (height, width))
    return np.clip(noise, 0, 255).astype(np.uint8)
