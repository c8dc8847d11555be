"""Writes a trained network as a model that Triton serves: ONNX, configuration, settings, card."""

import io
import os
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from processors.learned.settings import ModelSettings, served_parameters
from schemas.errors import StageFailed
from schemas.object_store import digest_of
from training.local_inference import open_model
from training.settings import FILE

PARITY_TOLERANCE = 1e-3
VERSION = 1
WEIGHTS = Path(str(VERSION), "model.onnx")
_OPSET = 17


def onnx_bytes(exported: nn.Module, example: torch.Tensor, *, classifier: bool) -> bytes:
    """The network as ONNX with any batch size and, for segmenters, any size that is a multiple of 16 px."""
    outputs = ["score", "probabilities"] if classifier else ["score", "defect", "class"]
    image_axes = {0: "count"} if classifier else {0: "count", 2: "height", 3: "width"}
    map_axes = {0: "count", 2: "map_height", 3: "map_width"}
    file = io.BytesIO()
    torch.onnx.export(
        exported.eval(),
        (example,),
        file,
        input_names=["image"],
        output_names=outputs,
        dynamic_axes={
            "image": image_axes,
            "score": {0: "count"},
            **({"probabilities": {0: "count"}} if classifier else {"defect": map_axes, "class": map_axes}),
        },
        opset_version=_OPSET,
        dynamo=False,
    )
    return file.getvalue()


def parity(exported: nn.Module, weights: bytes, images: npt.NDArray[np.uint8], threshold: float) -> float:
    """Largest difference of the scores between torch and ONNX.

    Raises:
        StageFailed: they differ by more than 1e-3, decide differently, or a map differs by more than one of its 255 steps.
    """
    with torch.inference_mode():
        expected = [value.numpy() for value in exported.eval()(torch.from_numpy(images))]
    answered = open_model(weights).run(None, {"image": images})
    difference = float(np.abs(expected[0] - answered[0]).max())
    step = float(np.abs(expected[1].astype(np.float64) - answered[1]).max())
    allowed = 1.0 if expected[1].dtype == np.uint8 else PARITY_TOLERANCE
    decided = (expected[0] >= threshold) == (answered[0] >= threshold)
    if difference > PARITY_TOLERANCE or step > allowed or not decided.all() or not np.isfinite(expected[0]).all():
        raise StageFailed(
            f"torch and ONNX differ: scores by {difference:.2g}, maps by {step:.2g}, {int((~decided).sum())} decisions; allowed "
            f"are {PARITY_TOLERANCE:g}, {allowed:g} and none; no model is written"
        )
    return difference


def configuration(name: str, settings: ModelSettings, channels: int, *, digest: str) -> str:
    """`config.pbtxt` for the folder's name; `digest` is `sha256:<hex>` of the weights."""
    batching = "dynamic_batching { }\n" if settings.size_px else ""  # whole pictures on a CPU are slower in batches
    if settings.size_px:
        width, height = settings.size_px
        outputs = f'  {{ name: "probabilities" data_type: TYPE_FP32 dims: [ {len(settings.classes)} ] }}'
    else:
        width = height = -1
        outputs = (
            '  { name: "defect" data_type: TYPE_UINT8 dims: [ 1, -1, -1 ] },\n'
            '  { name: "class" data_type: TYPE_UINT8 dims: [ 1, -1, -1 ] }'
        )
    return f"""# Written by linesight train; see card.json and model.json.
name: "{name}"
backend: "onnxruntime"
max_batch_size: 16
input [
  {{ name: "image" data_type: TYPE_UINT8 dims: [ {channels}, {height}, {width} ] }}
]
output [
  {{ name: "score" data_type: TYPE_FP32 dims: [ 1 ] }},
{outputs}
]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
{batching}version_policy {{ all {{ }} }}
{served_parameters(settings, version=VERSION, digest=digest)}"""


def write_model(folder: Path, weights: bytes, settings: ModelSettings, channels: int) -> None:
    """Configuration and settings first, the weights last and at once: a folder with weights is complete."""
    (folder / "config.pbtxt").write_text(configuration(folder.name, settings, channels, digest=digest_of(weights)))
    (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(settings), indent=2) + b"\n")
    path = folder / WEIGHTS
    path.parent.mkdir(exist_ok=True)
    new = path.with_suffix(".new")
    try:
        with new.open("wb") as file:
            file.write(weights)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
