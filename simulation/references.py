"""Draws the golden pictures of the simulated products as PNG files: `python -m simulation.references plants/references`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2

from simulation.boards import VIEWS, reference
from simulation.pictures import PRODUCTS

VIEW_NAMES: tuple[str, ...] = ("left", "middle", "right")
"""What plants/demo.yaml calls the views of `simulation.boards`, in their order."""


def reference_files() -> Iterator[tuple[str, bytes]]:
    """Name and PNG content of every reference of plants/demo.yaml."""
    for product, design in PRODUCTS.items():
        for name, view in zip(VIEW_NAMES, VIEWS, strict=True):
            done, png = cv2.imencode(".png", reference(design, view), [cv2.IMWRITE_PNG_COMPRESSION, 9])
            if not done:
                raise ValueError(f"OpenCV could not encode the reference of {product}, {name} as PNG")
            yield f"{product}-{name}.png", png.tobytes()


def main(folder: Path) -> None:
    """Writes all references into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, png in reference_files():
        (folder / name).write_bytes(png)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m simulation.references FOLDER")
    main(Path(sys.argv[1]))
