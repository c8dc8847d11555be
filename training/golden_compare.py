"""Builds the `golden_compare` model: where does an aligned frame differ from its reference, as a small uint8 map.

Nothing is learned. Both pictures come reduced to half size (`processors.golden.reduction`): sub-pixel edge positions are grey
levels then, and a quarter of the bytes travels. The graph (opset 17, standard operators, so that every ONNX runtime serves
it) does, per image:

1. divide out lighting: the ratio of the two pictures' local means over about 100 px is light, as both show the same scene;
2. allow for edges that lie up to TOLERANCE_PX apart: a px counts only as far as it leaves the range of its neighbourhood
   in the other picture, looked at from both sides, so that a fine line is missed neither when added nor when lost;
3. divide by the reference's contrast, so that 255 means as much as copper against bare board.

Rebuild with `python -m training.golden_compare`.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from processors.golden.reduction import REDUCTION
from schemas.object_store import digest_of
from training.model_card import ModelCard, write_card

MODEL = Path("triton_models/golden_compare")
VERSION = 2
TOLERANCE_PX = 2.0
"""How far an edge may lie from where the reference has it, in px of the frame."""
_LIGHT_CELL_PX = 16
_LIGHT_CELLS = 5
_LEAST_CONTRAST_GREY = 24.0
"""An empty reference has no contrast to divide by."""
_LEAST_LIGHT_GREY = 8.0
_OPSET = 17
_IR_VERSION = 8


def build() -> onnx.ModelProto:
    """Makes the graph.

    Inputs: `image`, `reference`: uint8 [batch, 1, height, width], reduced frames laid over their reduced references.
    Output: `difference`: uint8 [batch, 1, height, width], 255 for a change as large as the reference's contrast.
    """
    graph = _Graph()
    image, reference = graph.grey("image"), graph.grey("reference")
    image = graph.node("Mul", image, graph.light_ratio(image, reference))
    outside = graph.node(
        "Max",
        *graph.excess(image, reference),
        *graph.excess(reference, image),
    )
    difference = graph.node("Div", outside, graph.contrast(reference))
    scaled = graph.node(
        "Clip", graph.node("Mul", difference, graph.constant(255.0)), graph.constant(0.0), graph.constant(255.0)
    )
    graph.node("Cast", scaled, output="difference", to=TensorProto.UINT8)
    return graph.model()


class _Graph:
    """Nodes and constants under construction; names are counted."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        name = output or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, value: float | list[int] | list[float]) -> str:
        dtype = np.int64 if isinstance(value, list) and all(isinstance(item, int) for item in value) else np.float32
        name = f"value_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def grey(self, picture: str) -> str:
        """The picture in grey levels."""
        return self.node("Cast", picture, to=TensorProto.FLOAT)

    def light_ratio(self, image: str, reference: str) -> str:
        """Light on the reference over light on the image."""
        ratio = self.node("Div", self._local_mean(reference), self._local_mean(image))
        empty = self.node("Constant", value=numpy_helper.from_array(np.zeros(0, np.float32)))
        return self.node("Resize", ratio, empty, empty, self.node("Shape", image), mode="linear")

    def _local_mean(self, picture: str) -> str:
        cell = _LIGHT_CELL_PX // REDUCTION
        cells = self.node("AveragePool", picture, kernel_shape=[cell, cell], strides=[cell, cell], ceil_mode=1)
        around = _LIGHT_CELLS // 2
        smooth = self.node(
            "AveragePool", cells, kernel_shape=[_LIGHT_CELLS, _LIGHT_CELLS], strides=[1, 1], pads=[around] * 4
        )
        return self.node("Max", smooth, self.constant(_LEAST_LIGHT_GREY))

    def excess(self, picture: str, other: str) -> tuple[str, str]:
        """How far each px of the picture lies above and below what the other shows around it, in grey levels."""
        highest = self._pool(other)
        lowest = self.node("Neg", self._pool(self.node("Neg", other)))
        return (
            self.node("Sub", picture, self._towards(other, highest)),
            self.node("Sub", self._towards(other, lowest), picture),
        )

    def _pool(self, picture: str) -> str:
        across = self.node("MaxPool", picture, kernel_shape=[1, 3], strides=[1, 1], pads=[0, 1, 0, 1])
        return self.node("MaxPool", across, kernel_shape=[3, 1], strides=[1, 1], pads=[1, 0, 1, 0])

    def _towards(self, picture: str, extreme: str) -> str:
        """Part of the way to the extreme of the 3x3 neighbourhood, which spans 2 px of the frame to each side."""
        share = self.constant(TOLERANCE_PX / REDUCTION)
        return self.node("Add", picture, self.node("Mul", self.node("Sub", extreme, picture), share))

    def contrast(self, reference: str) -> str:
        """Copper less bare board in the reference: float32 [batch, 1, 1, 1]."""
        highest = self.node("ReduceMax", reference, axes=[1, 2, 3], keepdims=1)
        lowest = self.node("ReduceMin", reference, axes=[1, 2, 3], keepdims=1)
        return self.node("Max", self.node("Sub", highest, lowest), self.constant(_LEAST_CONTRAST_GREY))

    def model(self) -> onnx.ModelProto:
        shape = ["batch", 1, "height", "width"]
        graph = helper.make_graph(
            self._nodes,
            "golden_compare",
            [helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name in ("image", "reference")],
            [helper.make_tensor_value_info("difference", TensorProto.UINT8, shape)],
            self._constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="linesight")
        model.ir_version = _IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        return model


def main() -> None:
    """Writes the model and its card into the model repository."""
    weights = build().SerializeToString()
    path = MODEL / str(VERSION) / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(weights)
    write_card(_card(weights), MODEL)
    print(f"{path}: {len(weights)} bytes, {digest_of(weights)}")


def _card(weights: bytes) -> ModelCard:
    return ModelCard(
        model="golden_compare",
        version=VERSION,
        digest=digest_of(weights),
        size_bytes=len(weights),
        summary="Where a frame differs from its reference, lighting and edges within a tolerance left out.",
        intended_use="Grey frames that were laid over a reference picture of a good part (processors.golden.comparison).",
        limits="Sees changes of grey level only; textures that differ from part to part count as changes.",
        inputs={
            "image": "uint8 [B, 1, H, W]: frame reduced to half size, laid over its reference",
            "reference": "uint8 [B, 1, H, W]: reduced to half size",
        },
        outputs={"difference": "uint8 [B, 1, H, W], 255: a change as large as the reference's contrast"},
        data="none; nothing is learned",
        seed=None,
        rebuild="python -m training.golden_compare",
        metrics={"tolerance_px": TOLERANCE_PX},
    )


if __name__ == "__main__":
    main()
