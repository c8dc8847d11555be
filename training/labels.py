"""The label files of `linesight train` and `evaluate`: one JSON object a line, paths relative to the file (docs/models.md)."""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from processors.golden.classes import CLASS_BY_DEEPPCB_TYPE
from processors.scoring import Box, Label
from schemas.errors import ConfigurationError
from training.picture_files import read_picture

GOOD = "good"
GOOD_WORDS = frozenset({"good", "ok", "normal", "0", "0.0", "false"})
_OUTSIDE_PX = 1.0  # annotation tools round outwards


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One marked defect: class, outline in px of the image (float32 [n, 2]), and whether it was marked as a box."""

    class_name: str
    points: npt.NDArray[np.float32]
    is_box: bool

    @property
    def box(self) -> Box:
        """Half-open box around the outline, px."""
        (x1, y1), (x2, y2) = self.points.min(0), self.points.max(0)
        return int(x1), int(y1), math.ceil(x2) + (not self.is_box), math.ceil(y2) + (not self.is_box)

    @property
    def area_px(self) -> float:
        """Of the box around the outline."""
        width, height = np.ptp(self.points, axis=0)
        return float(width * height)

    @property
    def label(self) -> Label:
        """The same for scoring."""
        return Label(class_name=self.class_name, box=self.box)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One labelled picture. `regions` is None where nobody marked places; `label` is None where nothing says good or bad.

    `size_px` is (width, height) of the picture, where it was looked at already.
    """

    line: int
    name: str
    image: Path
    reference: Path | None
    group: str
    regions: tuple[Region, ...] | None
    label: str | None
    size_px: tuple[int, int] | None = None

    @property
    def bad(self) -> bool | None:
        """Whether the part is bad; None where nothing says it."""
        return None if self.label is None else self.label != GOOD


def read_samples(file: Path) -> list[Sample]:
    """All rows of a label file.

    Raises:
        ConfigurationError: with file, line, key and what was expected; a file that is missing, a picture that is none, a
            region outside its picture, one picture (or an exact copy of it, beside the same reference) twice with contradicting
            labels, no row at all.
    """
    samples: list[Sample] = []
    seen: dict[Path, Sample] = {}
    seen_bytes: dict[tuple[bytes, Path | None], Sample] = {}
    for number, line in _lines(file):
        if not line.strip():
            continue
        try:
            sample = _sample(json.loads(line), file.parent, number)
            before = seen.get(sample.image)
            if before is not None:
                _refuse_contradiction(before, sample)
                continue
            content = hashlib.sha256(sample.image.read_bytes()).digest(), sample.reference
            _refuse_contradiction(seen_bytes.setdefault(content, sample), sample)
        except (ValueError, TypeError, RecursionError) as error:
            expected = "expected one JSON object a line: " if isinstance(error, json.JSONDecodeError) else ""
            raise ConfigurationError(f"{file}:{number}: {expected}{error}") from error
        seen[sample.image] = sample
        samples.append(sample)
    if not samples:
        raise ConfigurationError(f"{file}: no rows; expected one JSON object a line with at least `image`")
    return samples


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with file.open("rb") as lines:
            yield from enumerate(lines, start=1)
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from error


def _sample(row: Any, folder: Path, number: int) -> Sample:
    if not isinstance(row, dict):
        raise TypeError(f"expected a JSON object, got {type(row).__name__}")
    if not isinstance(row.get("image"), str) or not row["image"]:
        raise ValueError(f"image: expected a path, got {row.get('image')!r}")
    image = folder / row["image"]
    width, height = _size(image, "image")
    reference = row.get("reference", row.get("template"))
    if reference is not None:
        if not isinstance(reference, str):
            raise ValueError(f"reference: expected a path, got {reference!r}")
        _size(folder / reference, "reference")
    regions = _regions(row, width, height)
    return Sample(
        line=number,
        name=row["image"],
        image=image,
        reference=None if reference is None else folder / reference,
        group="" if row.get("group") is None else str(row["group"]),
        regions=regions,
        label=_image_label(row, regions),
        size_px=(width, height),
    )


def _size(path: Path, key: str) -> tuple[int, int]:
    """Width and height. Every picture is decoded once here, so that nothing is found out an hour later."""
    if not path.is_file():
        raise ValueError(f"{key}: {path}: no such file; paths are relative to the label file")
    picture = read_picture(path)
    if picture is None:
        raise ValueError(f"{key}: {path}: expected a picture (PNG, JPEG, BMP, TIFF), got what does not decode")
    return picture.shape[1], picture.shape[0]


def _regions(row: dict[str, Any], width: int, height: int) -> tuple[Region, ...] | None:
    if row.get("boxes") is None and row.get("polygons") is None:
        return None
    regions = [_box(box) for box in _list(row, "boxes")]
    regions += [_polygon(polygon, str(row.get("label", "defect"))) for polygon in _list(row, "polygons")]
    for region in regions:
        (x1, y1), (x2, y2) = region.points.min(0), region.points.max(0)
        if x1 < -_OUTSIDE_PX or y1 < -_OUTSIDE_PX or x2 > width + _OUTSIDE_PX or y2 > height + _OUTSIDE_PX:
            key = "boxes" if region.is_box else "polygons"
            place = [float(value) for value in (x1, y1, x2, y2)]
            raise ValueError(f"{key}: {place} is outside the image, which is {width} x {height} px")
    return tuple(regions)


def _list(row: dict[str, Any], key: str) -> list[Any]:
    value = row.get(key) or []
    if not isinstance(value, list):
        raise ValueError(f"{key}: expected a list, got {value!r}")
    return value


def _box(box: Any) -> Region:
    if not isinstance(box, list) or len(box) not in {4, 5}:
        raise ValueError(f"boxes: expected [x1, y1, x2, y2, class], got {box!r}")
    x1, y1, x2, y2 = _numbers(box[:4], "boxes")
    if not (x1 < x2 and y1 < y2):
        raise ValueError(f"boxes: expected x1 < x2 and y1 < y2, got {box!r}")
    kind = box[4] if len(box) == 5 else "defect"
    if isinstance(kind, int):
        kind = CLASS_BY_DEEPPCB_TYPE.get(kind, str(kind))
    points = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], np.float32)
    return Region(class_name=str(kind), points=points, is_box=True)


def _polygon(polygon: Any, class_name: str) -> Region:
    if isinstance(polygon, dict):
        class_name = str(polygon.get("class", polygon.get("label", class_name)))
        polygon = polygon.get("points")
    if not isinstance(polygon, list) or len(polygon) < 3:
        raise ValueError(f"polygons: expected at least three [x, y], got {polygon!r}")
    points = [_numbers(point, "polygons") for point in polygon]
    if any(len(point) != 2 for point in points):
        raise ValueError(f"polygons: expected points [x, y], got {polygon!r}")
    return Region(class_name=class_name, points=np.array(points, np.float32), is_box=False)


def _numbers(values: Any, key: str) -> list[float]:
    if not isinstance(values, list) or not all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in values
    ):
        raise ValueError(f"{key}: expected finite numbers in px, got {values!r}")
    return [float(value) for value in values]


def _image_label(row: dict[str, Any], regions: tuple[Region, ...] | None) -> str | None:
    label = row.get("label")
    if isinstance(label, float) and not 0 <= label <= 1:
        raise ValueError(f"label: expected a name, or the share of graders who called it bad (0 to 1), got {label!r}")
    if isinstance(label, float):  # a grader's probability, as of solar cells
        label = GOOD if label < 0.5 else "defect"
    elif isinstance(label, bool) or label in {0, 1}:
        label = "defect" if label else GOOD
    named = None if label is None else GOOD if str(label).lower() in GOOD_WORDS else str(label)
    if regions is None:
        return named
    if regions and named == GOOD:
        raise ValueError(f"label: {label!r} says a good part, but {len(regions)} defects are marked")
    if not regions:
        if named not in {None, GOOD} and "polygons" not in row:
            raise ValueError(
                f"label: {label!r} says a bad part, but `boxes` is empty; leave it out where no place is known"
            )
        return GOOD
    return max(regions, key=lambda region: (region.box[2] - region.box[0]) * (region.box[3] - region.box[1])).class_name


def _refuse_contradiction(before: Sample, sample: Sample) -> None:
    def marks(one: Sample) -> list[tuple[str, Box]] | None:
        return None if one.regions is None else sorted((region.class_name, region.box) for region in one.regions)

    if (before.label, marks(before)) != (sample.label, marks(sample)):
        copied = "" if before.image == sample.image else f", where the same picture is {before.name}"
        raise ValueError(f"image: {sample.name} was labelled otherwise in line {before.line}{copied}")
