"""Model repositories whose golden_compare cannot stand certain images, for tests of who pays for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from ops.local.places import CHECKOUT

CONFIG = """
name: "golden_compare"
backend: "python"
max_batch_size: 8
input [
  { name: "image" data_type: TYPE_UINT8 dims: [ 1, -1, -1 ] },
  { name: "reference" data_type: TYPE_UINT8 dims: [ 1, -1, -1 ] }
]
output [ { name: "difference" data_type: TYPE_UINT8 dims: [ 1, -1, -1 ] } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 1000 }
version_policy { all { } }
"""
MODEL = """
import os
import time

import numpy as np
import triton_python_backend_utils as triton


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            image = triton.get_input_tensor_by_name(request, "image").as_numpy()
            if (image == 255).any():
                {fault}
            answers.append(triton.InferenceResponse([triton.Tensor("difference", np.zeros_like(image))]))
        return answers
"""
FAULTS = {"crashes": "os._exit(7)", "hangs": "time.sleep(3600)", "kills the server": "os.kill(os.getppid(), 9)"}


def poisonable_models(repository: Path, fault: str) -> None:
    """A model repository whose golden_compare finds nothing anywhere, and comes to grief over a px of 255."""
    shutil.copytree(CHECKOUT / "triton_models", repository)
    model = repository / "golden_compare"
    (model / "config.pbtxt").write_text(CONFIG)
    for version in model.glob("*/model.onnx"):
        version.with_name("model.py").write_text(MODEL.format(fault=fault))


def model_that_fails_on_white(repository: Path) -> None:
    """A model repository whose golden_compare fails on every image with a px of 255, and only on these."""
    shutil.copytree(CHECKOUT / "triton_models", repository)
    nodes = [
        helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["wide"], ["brightest"], keepdims=0),
        helper.make_node("Div", ["brightest", "white"], ["share"]),
        helper.make_node("Floor", ["share"], ["is_white"]),
        helper.make_node("Mul", ["is_white", "white"], ["where_as_float"]),
        helper.make_node("Cast", ["where_as_float"], ["where"], to=TensorProto.INT64),
        helper.make_node("Gather", ["nothing", "where"], ["zero"]),  # there is no element 255
        helper.make_node("Mul", ["wide", "zero"], ["dark"]),
        helper.make_node("Cast", ["dark"], ["difference"], to=TensorProto.UINT8),
    ]
    shape = ["batch", 1, "height", "width"]
    graph = helper.make_graph(
        nodes,
        "fails_on_white",
        [helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name in ("image", "reference")],
        [helper.make_tensor_value_info("difference", TensorProto.UINT8, shape)],
        [
            helper.make_tensor("white", TensorProto.FLOAT, [], [255.0]),
            helper.make_tensor("nothing", TensorProto.FLOAT, [1], [0.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(repository / "golden_compare" / "2" / "model.onnx"))
