"""Boards with drawn defects, made from pictures of good boards only: a label file as `linesight train` reads it.

Open, short, mousebite, spur, copper, pin-hole, placed by what defines them (`simulation.defects`) into the picture of a board that somebody
has. The board with defects is then taken anew: moved a little here and there, its edges etched otherwise, as two real boards
of one design differ, so that a difference alone is no defect.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from processors.learned.form import Picture
from schemas.errors import ConfigurationError
from simulation.defects import LABEL_MARGIN_PX, Box, DefectKind, place, survey
from simulation.drawing import COPPER, SUPERSAMPLING, Mask, coverage
from training.labels import Sample
from training.picture_files import read_picture

COPPERS = ("dark", "light")
LABELS = "labels.jsonl"
_MOST_BOARDS = 400
_LEAST_BOARDS = 20
_DEFECTS = (2, 14)
_GOOD_SHARE = 0.1
_BORDER_PX = 6
_TONES_APART_GREY = 12
"""In a black and white picture, nearly all px are so near to one of two tones."""
_LEAST_SIDE_PX = 64
_MOST_SIDE_PX = 1024

Floats = npt.NDArray[np.float32]


def draw_boards(samples: Sequence[Sample], folder: Path, *, copper: str, until: float, seed: int) -> Path:
    """Draws up to 400 boards, at least 20 when `until` (`time.monotonic()`) has come; the label file of an earlier call is taken as it is.

    Args:
        samples: good boards; each is drawn into, and compared with its reference, or with itself where it has none.
        copper: whether it is `dark` or `light` in the pictures.

    Raises:
        ConfigurationError: no good board, or none with room for a defect.
    """
    labels = folder / LABELS
    if labels.exists():
        return labels
    if copper not in COPPERS:
        raise ConfigurationError(f"copper: expected one of {', '.join(COPPERS)}, got {copper!r}")
    good = [sample for sample in samples if not sample.bad]
    if not good:
        raise ConfigurationError("no picture is of a good board; expected rows with empty `boxes` or without labels")
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    order = [good[int(index)] for index in generator.permutation(len(good))]
    rows: list[dict[str, Any]] = []
    for number in range(_MOST_BOARDS):
        if number >= _LEAST_BOARDS and time.monotonic() > until:
            break
        rows.append(_row(order[number % len(order)], folder, number, copper, np.random.default_rng((seed, number))))
    if not any(row["boxes"] for row in rows):
        raise ConfigurationError(
            f"no board has room for a drawn defect; expected conductors and gaps of 4 px and more, with {copper} copper"
        )
    new = labels.with_suffix(".new")
    new.write_text("".join(json.dumps(row) + "\n" for row in rows))
    new.replace(labels)
    return labels


def _row(sample: Sample, folder: Path, number: int, copper: str, generator: np.random.Generator) -> dict[str, Any]:
    picture, reference = _loaded(sample.image), _loaded(sample.reference or sample.image)
    if reference.shape != picture.shape:
        reference = np.asarray(cv2.resize(reference, picture.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8)
    place_of = _window(picture.shape, generator)
    drawn = drawn_into(picture[place_of], copper=copper, generator=generator)
    image, template = folder / f"{number}.png", folder / f"{number}-template.png"
    if not cv2.imwrite(str(image), drawn.picture) or not cv2.imwrite(str(template), reference[place_of]):
        raise OSError(f"{folder}: a drawn board cannot be written; expected room on the disk")
    group = sample.group or str(sample.reference or sample.image)
    return {"image": image.name, "template": template.name, "group": group, "boxes": drawn.boxes}


def _loaded(path: Path) -> Picture:
    picture = read_picture(path)
    if picture is None:
        raise OSError(f"{path}: does not decode any more")
    return picture


def _window(shape: tuple[int, ...], generator: np.random.Generator) -> tuple[slice, slice]:
    """Of a large board so much as can be drawn into quickly."""
    corner = [int(generator.integers(max(side - _MOST_SIDE_PX, 0) + 1)) for side in shape[:2]]
    return slice(corner[0], corner[0] + _MOST_SIDE_PX), slice(corner[1], corner[1] + _MOST_SIDE_PX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A board with defects: uint8 [h, w, 3], and `[x1, y1, x2, y2, class]` of each, with the room that people leave around them."""

    picture: Picture
    boxes: list[list[Any]]


def drawn_into(picture: Picture, *, copper: str, generator: np.random.Generator) -> Drawn:
    """Puts defects into a picture of a good board, uint8 [h, w, 3], and takes it anew."""
    height, width = picture.shape[:2]
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    fine = cv2.resize(grey, (width * SUPERSAMPLING, height * SUPERSAMPLING), interpolation=cv2.INTER_LINEAR)
    kind = cv2.THRESH_BINARY_INV if copper == "dark" else cv2.THRESH_BINARY
    _, clean = cv2.threshold(fine, 0, COPPER, kind + cv2.THRESH_OTSU)
    mask = np.array(clean, np.uint8)
    flat = np.ptp(np.percentile(grey, [1, 99])) < _TONES_APART_GREY  # no conductor is in the picture
    stays_good = generator.random() < _GOOD_SHARE or min(height, width) < _LEAST_SIDE_PX or flat
    found = [] if stays_good else _defects(mask, generator)
    shown = picture.astype(np.float32)
    before, after = coverage(np.asarray(clean, np.uint8)), coverage(mask)
    inside = before > COPPER // 2
    for added in (True, False):
        tone = np.median(picture[inside == added], axis=0) if np.any(inside == added) else np.zeros(3)
        change = after.astype(np.float32) - before if added else before.astype(np.float32) - after
        alpha = (np.maximum(change, 0) / COPPER)[..., None]
        shown = shown * (1 - alpha) + tone.astype(np.float32) * alpha
    taken = _taken_anew(shown, _tones(grey), generator)
    return Drawn(picture=taken, boxes=[_labelled(kind, box, (width, height)) for kind, box in found])


def _defects(mask: Mask, generator: np.random.Generator) -> list[tuple[DefectKind, Box]]:
    """Draws into `mask`, in place."""
    ground = survey(mask.copy())  # it keeps the clean mask
    found: list[tuple[DefectKind, Box]] = []
    kinds = list(DefectKind)
    for _ in range(int(generator.integers(*_DEFECTS))):
        kind = kinds[int(generator.integers(len(kinds)))]
        boxes = [box for _, box in found]
        box = place(mask, ground, kind, keep_clear=boxes, border_px=_BORDER_PX, rng=generator)
        if box is not None:
            found.append((kind, box))
    return found


def _labelled(kind: DefectKind, box: Box, size_px: tuple[int, int]) -> list[Any]:
    low = [max(value - LABEL_MARGIN_PX, 0) for value in box[:2]]
    high = [min(value + LABEL_MARGIN_PX, most) for value, most in zip(box[2:], size_px, strict=True)]
    return [*low, *high, kind.value]


def _tones(grey: Picture) -> tuple[float, float] | None:
    """The two tones of a black and white picture; None of a photograph."""
    low, high = (float(value) for value in np.percentile(grey, [2, 98]))
    near = np.minimum(np.abs(grey - low), np.abs(grey - high)) <= _TONES_APART_GREY
    return (low, high) if float(near.mean()) > 0.97 and high - low > 4 * _TONES_APART_GREY else None


def _taken_anew(shown: Floats, tones: tuple[float, float] | None, generator: np.random.Generator) -> Picture:
    size = shown.shape[:2]
    moved = _strayed(shown, generator.uniform(0.0, 2.0), generator)
    moved = cv2.GaussianBlur(moved, (0, 0), generator.uniform(0.5, 1.3))
    if tones is None:
        noise = generator.standard_normal(shown.shape, np.float32) * np.float32(generator.uniform(0, 4))
        return np.asarray(np.clip(moved + noise, 0, 255), np.uint8)
    low, high = tones
    share = (moved.mean(2) - low) / (high - low)
    etched = generator.uniform(-0.3, 0.3) + generator.uniform(0, 0.2) * _field(size, 12.0, generator)
    rough = generator.uniform(0.0, 0.14) * _field(size, generator.uniform(0.6, 2.0), generator)
    picture = np.where(share + 0.5 * etched + rough > 0.5, high, low).astype(np.uint8)
    return np.repeat(picture[..., None], 3, axis=2)


def _strayed(shown: Floats, stray_px: float, generator: np.random.Generator) -> Floats:
    """Every place moved by up to about `stray_px`, neighbours alike: what alignment and etching leave behind."""
    height, width = shown.shape[:2]
    coarse = generator.normal(0, 0.4 * stray_px, (2, 10, 10)).astype(np.float32)
    shift = [cv2.resize(axis, (width, height), interpolation=cv2.INTER_CUBIC) for axis in coarse]
    whole = generator.uniform(-0.5, 0.5, 2).astype(np.float32) * np.float32(stray_px)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    moved = cv2.remap(
        shown, x + shift[0] + whole[0], y + shift[1] + whole[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.float32)


def _field(size: tuple[int, ...], grain_px: float, generator: np.random.Generator) -> Floats:
    """Noise of unit spread whose grains are about so large: float32 [h, w]."""
    noise = cv2.GaussianBlur(generator.standard_normal(size, np.float32), (0, 0), grain_px)
    return np.asarray(noise / max(float(noise.std()), 1e-6), np.float32)
