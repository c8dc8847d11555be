"""A segmenter of the trained families with random weights: it finds nothing, and costs what a trained one costs.

The graph of `training.networks.Segmenter` as `linesight train` exports it, batch normalisation folded into the convolutions.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from processors.learned.settings import FILE, ModelSettings, served_parameters
from schemas.object_store import digest_of
from training.model_card import ModelCard, write_card

WIDTHS = (16, 32, 64, 96)
BACKGROUND_LOGIT = 3.0
SETTINGS = ModelSettings(family="segmenter", classes=["defect"], colour=False, scale=1.0, paired=False)
MOST_ROWS = 16
_OPSET, _IR_VERSION = 17, 8


class _Graph:
    """Nodes and constants in the order in which they are added."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(seed)

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        name = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, value: object) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), f"constant_{len(self.constants)}"))
        return str(self.constants[-1].name)

    def block(self, picture: str, inputs: int, outputs: int, *, stride: int = 1) -> str:
        weights = self._rng.normal(0.0, (2.0 / (9 * inputs)) ** 0.5, (outputs, inputs, 3, 3)).astype(np.float32)
        found = self.node(
            "Conv", picture, self.constant(weights), kernel_shape=[3, 3], strides=[stride] * 2, pads=[1] * 4
        )
        return self.node("Relu", found)


def segmenter_graph(seed: int) -> onnx.ModelProto:
    """uint8 [N, 1, h, w] `image` -> `score` float32 [N, 1], `defect` and `class` uint8 [N, 1, h / 2, w / 2]."""
    graph = _Graph(seed)
    grey = graph.node("Cast", "image", to=TensorProto.FLOAT)
    shown = graph.node("Div", graph.node("Sub", grey, graph.constant(np.float32(120))), graph.constant(np.float32(40)))
    levels = [graph.block(graph.block(shown, 1, WIDTHS[0], stride=2), WIDTHS[0], WIDTHS[0])]
    for narrow, wide in pairwise(WIDTHS):
        levels.append(graph.block(graph.block(levels[-1], narrow, wide, stride=2), wide, wide))
    features = levels.pop()
    for narrow, wide in reversed(list(pairwise(WIDTHS))):
        scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
        large = graph.node("Resize", features, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric")
        features = graph.block(graph.node("Concat", large, levels.pop(), axis=1), wide + narrow, narrow)
    # a head without a view of its own: every place is as certain to be none as at the start of training
    head = graph.constant(np.zeros((2, WIDTHS[0], 1, 1), np.float32))
    bias = graph.constant(np.array([BACKGROUND_LOGIT, 0], np.float32))
    logits = graph.node("Conv", features, head, bias, kernel_shape=[1, 1])
    graph.node("Split", logits, output="none_logit", axis=1)
    graph.nodes[-1].output.append("defect_logit")
    apart = graph.node("Sub", "defect_logit", "none_logit")
    strength = graph.node("Sigmoid", graph.node("Mul", apart, graph.constant(np.float32(0.5))))
    flat = graph.node("Flatten", strength, axis=1)
    top = graph.node("TopK", flat, graph.constant(np.array([8], np.int64)), axis=1)
    graph.nodes[-1].output.append("places")
    graph.node("ReduceMean", top, output="score", axes=[1], keepdims=1)
    scaled = graph.node("Mul", strength, graph.constant(np.float32(255)))
    graph.node("Cast", scaled, output="defect", to=TensorProto.UINT8)
    named = graph.node("ArgMax", "defect_logit", axis=1, keepdims=1)
    graph.node("Cast", named, output="class", to=TensorProto.UINT8)
    maps = ["n", 1, "map_height", "map_width"]
    made = helper.make_graph(
        graph.nodes,
        "random_segmenter",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 1, "height", "width"])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1]),
            helper.make_tensor_value_info("defect", TensorProto.UINT8, maps),
            helper.make_tensor_value_info("class", TensorProto.UINT8, maps),
        ],
        graph.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="linesight")
    model.ir_version = _IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def write_segmenter(folder: Path, *, seed: int) -> None:
    """A model folder as `linesight train` writes it."""
    weights = segmenter_graph(seed).SerializeToString()
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(weights)
    (folder / FILE).write_bytes(msgspec.json.encode(SETTINGS))
    card = ModelCard(
        model=folder.name, version=1, digest=digest_of(weights), size_bytes=len(weights), summary="random weights",
        intended_use="benchmarks", limits="finds nothing", inputs={}, outputs={}, data="none", seed=seed,
        rebuild="benchmarks.random_segmenter", metrics={"parity_torch_onnx": 0.0},
    )  # fmt: skip
    write_card(card, folder)
    parameters = served_parameters(SETTINGS, version=1, digest=digest_of(weights))
    (folder / "config.pbtxt").write_text(
        f'name: "{folder.name}"\nbackend: "onnxruntime"\nmax_batch_size: {MOST_ROWS}\n'
        'input [ { name: "image" data_type: TYPE_UINT8 dims: [ 1, -1, -1 ] } ]\noutput [\n'
        '  { name: "score" data_type: TYPE_FP32 dims: [ 1 ] },\n'
        '  { name: "defect" data_type: TYPE_UINT8 dims: [ 1, -1, -1 ] },\n'
        '  { name: "class" data_type: TYPE_UINT8 dims: [ 1, -1, -1 ] }\n]\n'
        "instance_group [ { count: 1 kind: KIND_CPU } ]\nversion_policy { all { } }\n" + parameters
    )
