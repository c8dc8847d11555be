"""What every peer does with a frame between Kafka and Kafka, so that only the way it is driven differs."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferInput

from benchmarks.model_input import model_input

THRESHOLD = 90

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Assignment:
    """What a peer is told on its command line, in this order. `references` holds one picture per view, `<recipe>-<view>.png`."""

    bootstrap: str
    triton_url: str
    frames: str
    results: str
    count: int
    references: Path
    recipe: str
    model: str
    version: str

    @classmethod
    def of_command_line(cls) -> Self:
        """The assignment of this process."""
        bootstrap, triton_url, frames, results, count, references, recipe, model, version = sys.argv[1:]
        return cls(bootstrap, triton_url, frames, results, int(count), Path(references), recipe, model, version)

    def arguments(self) -> list[str]:
        """The same as a command line."""
        return [
            self.bootstrap, self.triton_url, self.frames, self.results, str(self.count), str(self.references),
            self.recipe, self.model, self.version,
        ]  # fmt: skip


def read_references(task: Assignment) -> dict[str, Image]:
    """The references of the recipe by view, as the model takes them."""
    return {
        path.stem.removeprefix(f"{task.recipe}-"): model_input(
            np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)
        )
        for path in sorted(task.references.glob(f"{task.recipe}-*.png"))
    }


def compare_inputs(image: Image, reference: Image) -> list[InferInput]:
    """The request's tensors: the frame, uint8 [H, W], and a reference of `read_references`."""
    inputs = []
    for name, array in (("image", model_input(image)), ("reference", reference)):
        tensor = InferInput(name, array.shape, "UINT8")
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    return inputs


def boxes_of(difference: npt.NDArray[Any]) -> list[list[int]]:
    """Where the map, uint8 [1, 1, h, w], is above the threshold: x, y, width, height."""
    mask = (difference[0, 0] >= THRESHOLD).astype(np.uint8)
    _, _, boxes, _ = cv2.connectedComponentsWithStats(mask)
    return [[int(value) for value in box] for box in boxes[1:, :4]]
