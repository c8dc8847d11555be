"""Draws the golden pictures of the simulated products as PNG files: `python -m simulation.references plants/references`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2

from simulation.boards import VIEWS, reference
from simulation.imaging import Image
from simulation.pictures import PRODUCTS

VIEW_NAMES: tuple[str, ...] = ("left", "middle", "right")
"""What plants/demo.yaml calls the views of `simulation.boards`, in their order."""


def references() -> Iterator[tuple[str, Image]]:
    """File name and picture (uint8 [640, 640]) of every reference of plants/demo.yaml."""
    for product, design in PRODUCTS.items():
        for name, view in zip(VIEW_NAMES, VIEWS, strict=True):
            yield f"{product}-{name}.png", reference(design, view)


def main(folder: Path) -> None:
    """Writes all references into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in references():
        if not cv2.imwrite(str(folder / name), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9]):
            sys.exit(f"{folder / name}: the picture cannot be written here")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m simulation.references FOLDER")
    main(Path(sys.argv[1]))
