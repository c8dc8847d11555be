"""Reads label files: one JSON object a line, paths relative to the file.

`image` is needed. `template` names the picture to compare with, `group` what must not be split (a board design), `boxes`
the defects as `[x1, y1, x2, y2, type]` with a class name or the number of the published board data set, or `polygons` with
one `label` for all. A row without `boxes` and `polygons` has no labels; one with an empty list is a good part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processors.golden.classes import CLASS_BY_DEEPPCB_TYPE
from processors.scoring import Label
from schemas.errors import ConfigurationError

BOX_LENGTH = 5


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """One picture of a label file. `image` is as written, `path` and `template` are found; `labels` is None where there are none."""

    number: int
    image: str
    path: Path
    template: Path | None
    group: str
    labels: tuple[Label, ...] | None


def read_labels(file: Path) -> Iterator[LabelRow]:
    """Rows of a label file, one at a time. Raises `ConfigurationError` with file and line for what cannot be understood."""
    try:
        lines = file.open("rb")  # so that what is no text is told with its line
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from error
    with lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield _row(json.loads(line), file.parent, number)
                except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
                    raise ConfigurationError(f"{file}:{number}: {_said(error)}") from error


def _said(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError):
        return f"expected one JSON object a line: {error}"
    if isinstance(error, KeyError):
        return f"expected a key {error}"
    return str(error)


def _row(data: Any, folder: Path, number: int) -> LabelRow:
    if not isinstance(data, dict):
        raise TypeError(f"expected a JSON object, got {type(data).__name__}")
    image = data["image"]
    if not isinstance(image, str):
        raise TypeError(f"image: expected a path, got {image!r}")
    template = data.get("template")
    return LabelRow(
        number=number,
        image=image,
        path=folder / image,
        template=None if template is None else folder / str(template),
        group=str(data.get("group", "")),
        labels=_labels(data),
    )


def _labels(data: dict[str, Any]) -> tuple[Label, ...] | None:
    if "boxes" in data:
        return tuple(_box(box) for box in data["boxes"])
    if "polygons" in data:
        name = str(data.get("label", "defect"))
        return tuple(Label(class_name=name, box=_around(polygon)) for polygon in data["polygons"])
    return None


def _box(box: Any) -> Label:
    if not isinstance(box, list) or len(box) != BOX_LENGTH:
        raise ValueError(f"boxes: expected [x1, y1, x2, y2, type], got {box!r}")
    x1, y1, x2, y2 = (int(value) for value in box[:4])
    kind = box[4]
    if isinstance(kind, int):
        if kind not in CLASS_BY_DEEPPCB_TYPE:
            raise ValueError(f"boxes: type {kind}: expected a class name or one of {sorted(CLASS_BY_DEEPPCB_TYPE)}")
        kind = CLASS_BY_DEEPPCB_TYPE[kind]
    if not (x1 < x2 and y1 < y2):
        raise ValueError(f"boxes: expected x1 < x2 and y1 < y2, got {box!r}")
    return Label(class_name=str(kind), box=(x1, y1, x2, y2))


def _around(polygon: Any) -> tuple[int, int, int, int]:
    xs, ys = [float(x) for x, _ in polygon], [float(y) for _, y in polygon]
    return int(min(xs)), int(min(ys)), int(max(xs)) + 1, int(max(ys)) + 1
