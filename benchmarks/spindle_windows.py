"""BSData as squares with and without pitting: the photos themselves show pitting one and all, so that none of them is good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from processors.learned.form import Picture
from training.picture_files import read_picture

WINDOW_PX = 112
_LEAST_BAD_PX = 20


def place_of(image: str) -> str:
    """What must not be split: photos of one place (position and angle) of one spindle, taken over weeks, show the same pit growing."""
    name = Path(image).name.split("_crop")[0]
    return name.split("_", 2)[0] + " " + name.split("_", 2)[-1] if name.count("_") >= 2 else name


def windows(rows: Sequence[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Squares of the images, with the pitting in them; squares with a few px of it are left out, being neither."""
    folder.mkdir()
    cut: list[dict[str, Any]] = []
    for row in rows:
        picture = read_picture(Path(row["image"]))
        if picture is None:
            raise OSError(f"{row['image']}: does not decode")
        mask = pitted(row, picture.shape)
        for top in range(0, picture.shape[0] - WINDOW_PX + 1, WINDOW_PX):
            for left in range(0, picture.shape[1] - WINDOW_PX + 1, WINDOW_PX):
                place = np.s_[top : top + WINDOW_PX, left : left + WINDOW_PX]
                pitted_px = int(mask[place].sum())
                if 0 < pitted_px < _LEAST_BAD_PX:
                    continue
                outlines, _ = cv2.findContours(mask[place], cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
                polygons = [np.reshape(outline, (-1, 2)).tolist() for outline in outlines if len(outline) >= 3]
                if bool(polygons) == (pitted_px > 0):
                    path = (folder / f"{len(cut)}.png").absolute()
                    cv2.imwrite(str(path), picture[place])
                    label = "pitting" if polygons else "good"
                    cut.append({"image": str(path), "group": row["group"], "label": label, "polygons": polygons})
    return cut


def pitted(row: dict[str, Any], shape: tuple[int, ...]) -> Picture:
    """uint8 [h, w]: 1 where pitting is marked."""
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(polygon).astype(np.int32) for polygon in row["polygons"]], 1)
    return mask
