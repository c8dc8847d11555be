"""The line of the changeover benchmark: many products, each with models of its own, made here with random weights.

A compare model has golden_compare's interface and 8.9 MB of weights, a little network as a plant would train it; it finds nothing. A
classifier is the product's own, under another name. Nothing is shared between two products, so that a change has to load both.
"""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from benchmarks.bench_plants import CHECKOUT, DEMO, NEVER

CHANNELS = ((48, 4), (128, 2), (256, 2), (256, 1), (256, 1), (256, 1))
"""Output channels and stride of each 3x3 convolution."""
FAINT = 40.0  # the most that a compare model gives: below every threshold
GATE_AFTER_MS = 1000
_OPSET, _IR_VERSION = 17, 8


def product(number: int) -> str:
    """Its recipe, as the PLC selects it."""
    return f"product-{number}@1"


def lay_out(repository: Path, *, products: int) -> None:
    """A model repository with two models for each product."""
    for number in range(products):
        for model, file in (("golden_compare", "2"), ("defect_classifier", "1")):
            own = repository / f"{model}_{number}"
            (own / file).mkdir(parents=True)
            config = (CHECKOUT / "triton_models" / model / "config.pbtxt").read_text()
            (own / "config.pbtxt").write_text(config.replace(f'"{model}"', f'"{own.name}"'))
            if model == "golden_compare":
                onnx.save(compare_graph(number), own / file / "model.onnx")
            else:
                shutil.copy(CHECKOUT / "triton_models" / model / file / "model.onnx", own / file / "model.onnx")


def plant_file(folder: Path, *, name: str, products: int, plc_port: int) -> Path:
    """The demo's station with that many products and an unencrypted PLC, whose pictures come from elsewhere."""
    found: dict[str, Any] = yaml.safe_load(DEMO.read_text())
    (line,) = found["lines"]
    (station,) = line["stations"]
    station["gate_after_ms"] = GATE_AFTER_MS
    for camera in station["cameras"]:
        camera["source"] = {"type": "external"}
    (plc,) = found["plcs"]
    for key in ("certificate", "private_key", "server_certificate"):
        del plc[key]
    plc |= {"endpoint": f"opc.tcp://127.0.0.1:{plc_port}/", "security": "none"}
    first = found["recipes"][0]
    found |= {"plant": name, "assets": [], "alerts": [], "recipes": [_recipe(first, each) for each in range(products)]}
    found["statistics"].pop("charts", None)  # of the press, which is not here
    found["lines"][0]["stations"][0].pop("challenges", None)
    (folder / "references").symlink_to(DEMO.parent / "references", target_is_directory=True)
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(found, sort_keys=False))
    return file


def _recipe(first: dict[str, Any], number: int) -> dict[str, Any]:
    recipe = copy.deepcopy(first)
    recipe |= {"name": product(number).partition("@")[0], "deadline_ms": GATE_AFTER_MS - 100}
    recipe["inspection"] |= {
        "compare": {"name": f"golden_compare_{number}", "version": 2},
        "classifier": {"name": f"defect_classifier_{number}", "version": 1},
        "difference_threshold": NEVER,
    }
    return recipe


def compare_graph(seed: int) -> onnx.ModelProto:
    """uint8 [B, 1, H, W] `image` and `reference` -> uint8 [B, 1, H, W] `difference`, as golden_compare."""
    rng = np.random.default_rng(seed)
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

    pair = [
        node("Mul", node("Cast", name, to=TensorProto.FLOAT), constant(np.asarray(1 / 255)))
        for name in ("image", "reference")
    ]
    features, inputs = node("Concat", *pair, axis=1), 2
    for outputs, stride in CHANNELS:
        features, inputs = node("Relu", convolution(features, inputs, outputs, stride=stride)), outputs
    strength = node("Sigmoid", convolution(features, inputs, 1, stride=1))
    empty = node("Constant", value=numpy_helper.from_array(np.zeros(0, np.float32)))
    large = node("Resize", strength, empty, empty, node("Shape", pair[0]), mode="nearest")
    node("Cast", node("Mul", large, constant(np.asarray(FAINT))), output="difference", to=TensorProto.UINT8)
    graph = helper.make_graph(
        nodes,
        f"compare_{seed}",
        [helper.make_tensor_value_info(name, TensorProto.UINT8, ["b", 1, "h", "w"]) for name in ("image", "reference")],
        [helper.make_tensor_value_info("difference", TensorProto.UINT8, ["b", 1, "dh", "dw"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="linesight")
    model.ir_version = _IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model
