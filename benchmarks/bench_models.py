"""The models of the benchmark: the product's own, and two with golden_compare's interface that are only for measuring.

    bench_cnn    several convolutions with fixed random weights. It finds nothing; only what it costs matters.
    bench_wait   answers after 50 ms without using the processor, as a server with an accelerator of its own would.

Both carry the version of golden_compare that the plant pins, and take and give what that version takes and gives.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

CNN, WAIT = "bench_cnn", "bench_wait"
CHANNELS = (24, 32, 32)
"""Chosen so that Triton alone runs about 150 frames/s of it on 2 cores, as the first shapes that the targets came from did."""
WAIT_MS = 50
WAITING_AT_ONCE = 16
FAINT = 40.0  # the most that bench_cnn gives: below every threshold, so that nothing is classified
_OPSET, _IR_VERSION = 17, 8


def lay_out(repository: Path, *, models: Path, version: int) -> None:
    """Makes the model repository: copies of the product's models, and the two of the benchmark."""
    shutil.copytree(models, repository)
    config = (models / "golden_compare" / "config.pbtxt").read_text()
    cnn = repository / CNN
    (cnn / str(version)).mkdir(parents=True)
    onnx.save(cnn_graph(), cnn / str(version) / "model.onnx")
    (cnn / "config.pbtxt").write_text(config.replace('"golden_compare"', f'"{CNN}"'))
    wait = repository / WAIT
    (wait / str(version)).mkdir(parents=True)
    (wait / str(version) / "model.py").write_text(_WAIT_MODEL.format(wait_s=WAIT_MS / 1000))
    (wait / "config.pbtxt").write_text(_wait_config(config))


def cnn_graph() -> onnx.ModelProto:
    """uint8 [B, 1, H, W] `image` and `reference` -> uint8 [B, 1, H, W] `difference`, as golden_compare."""
    rng = np.random.default_rng(4)
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def node(operator: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        name = output or f"{operator.lower()}_{len(nodes)}"
        nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(value: npt.NDArray[np.float64]) -> str:
        constants.append(numpy_helper.from_array(value.astype(np.float32), f"constant_{len(constants)}"))
        return str(constants[-1].name)

    def convolution(picture: str, inputs: int, outputs: int, *, stride: int) -> str:
        weights = rng.normal(0.0, (2.0 / (9 * inputs)) ** 0.5, (outputs, inputs, 3, 3))
        return node("Conv", picture, constant(weights), kernel_shape=[3, 3], strides=[stride] * 2, pads=[1] * 4)

    pair = []
    for name in ("image", "reference"):
        picture = node("Mul", node("Cast", name, to=TensorProto.FLOAT), constant(np.asarray(1 / 255)))
        pair.append(picture)
    features = node("Concat", *pair, axis=1)
    inputs = 2
    for number, outputs in enumerate(CHANNELS):
        features = node("Relu", convolution(features, inputs, outputs, stride=2 if number == 0 else 1))
        inputs = outputs
    strength = node("Sigmoid", convolution(features, inputs, 1, stride=1))
    empty = node("Constant", value=numpy_helper.from_array(np.zeros(0, np.float32)))
    large = node("Resize", strength, empty, empty, node("Shape", pair[0]), mode="nearest")
    node("Cast", node("Mul", large, constant(np.asarray(FAINT))), output="difference", to=TensorProto.UINT8)
    graph = helper.make_graph(
        nodes,
        CNN,
        [helper.make_tensor_value_info(name, TensorProto.UINT8, ["b", 1, "h", "w"]) for name in ("image", "reference")],
        [helper.make_tensor_value_info("difference", TensorProto.UINT8, ["b", 1, "dh", "dw"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="linesight")
    model.ir_version = _IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def _wait_config(config: str) -> str:
    """golden_compare's configuration for a Python model that answers requests one by one, many at the same time."""
    config = config.replace('"golden_compare"', f'"{WAIT}"').replace('"onnxruntime"', '"python"')
    config = re.sub(r"max_batch_size: \d+", "max_batch_size: 1", config)
    config = re.sub(r"dynamic_batching \{[^}]*\}\n", "", config)
    return re.sub(r"count: \d+", f"count: {WAITING_AT_ONCE}", config)


_WAIT_MODEL = '''"""Answers after a while without using the processor. Written by benchmarks/bench_models.py."""

import time

import numpy as np
import triton_python_backend_utils as triton


class TritonPythonModel:
    def execute(self, requests):
        time.sleep({wait_s} * len(requests))
        answers = []
        for request in requests:
            rows, channels, height, width = triton.get_input_tensor_by_name(request, "image").shape()
            nothing = np.zeros((rows, channels, height, width), np.uint8)
            answers.append(triton.InferenceResponse([triton.Tensor("difference", nothing)]))
        return answers
'''
