"""A row of a dataset: one picture, where it comes from, what is said of it, by whom. Also a row of a label file (docs/models.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from processors.labelled_pictures import LabelledPicture
from training.labels import Region, Sample

Side = Literal["train", "test"]


class DatasetRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One picture of a dataset. `linesight train` and `evaluate` read `image`, `reference`, `group`, `boxes`, `polygons` and `label`.

    Attributes:
        image, reference: paths relative to the dataset's folder, named by the sha256 of their content.
        digest: `sha256:<hex>` of the picture's bytes.
        source: the review's id, or `<label file>:<line>`.
        part: what must not be on both sides of a split, as `station/part_id` or the label file's `group`.
        batch: the lot of material, which must not be on both sides either; empty where none is known.
        group: the cluster of everything that belongs together; training keeps it on one side of its own split, too.
        split: the side of the picture; the test side is never trained on.
        boxes: [x1, y1, x2, y2, class] in px of the picture; none in the list is a good part.
        polygons: {"class", "points": [[x, y], ...]} in px of the picture.
        label: of the whole picture, where no places are marked.
        labelled_at_ns: 0 where nobody knows.
    """

    image: str
    digest: str
    source: str
    part: str
    group: str
    split: Side
    labelled_by: str
    labelled_at_ns: int = 0
    batch: str = ""
    view: str = ""
    reference: str | None = None
    boxes: list[list[float | str]] | None = None
    polygons: list[dict[str, Any]] | None = None
    label: str | None = None

    @property
    def said(self) -> tuple[Any, ...]:
        """What is said of the picture, to compare with what somebody else says of it."""
        return (_sorted(self.boxes), _sorted(self.polygons), self.label, self.reference)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the marked defects, or the label of the whole picture; `good` where nothing is wrong with it."""
        marked = [str(box[4]) for box in self.boxes or ()]
        marked += [str(polygon["class"]) for polygon in self.polygons or ()]
        return tuple(sorted(set(marked))) or (self.label or "good",)


def _sorted(marks: list[Any] | None) -> list[str] | None:
    return None if marks is None else sorted(map(repr, marks))


def row_of_review(picture: LabelledPicture, *, image: str, digest: str, reference: str | None) -> DatasetRow:
    """The row of a picture that a person reviewed; group and split are given later."""
    return DatasetRow(
        image=image,
        digest=digest,
        source=picture.source,
        part=picture.part,
        group=picture.part,
        split="train",
        labelled_by=picture.labelled_by,
        labelled_at_ns=picture.labelled_at_ns,
        batch=picture.batch,
        view=picture.view,
        reference=reference,
        boxes=[[*defect.box, defect.class_name] for defect in picture.defects],
    )


def row_of_sample(
    sample: Sample,
    raw: Mapping[str, Any],
    *,
    source: str,
    labelled_by: str,
    image: str,
    digest: str,
    reference: str | None,
) -> DatasetRow:
    """The row of a picture of a label file. `raw` is the line as it stands: it may say part, batch, who labelled and when."""
    part = str(raw.get("part") or sample.group or "")
    return DatasetRow(
        image=image,
        digest=digest,
        source=source,
        part=part,
        group=sample.group or part,
        split="train",
        labelled_by=str(raw.get("labelled_by") or labelled_by),
        labelled_at_ns=int(raw.get("labelled_at_ns") or 0),
        batch=str(raw.get("batch") or ""),
        view=str(raw.get("view") or ""),
        reference=reference,
        label=sample.label if sample.regions is None else None,
        **_places(sample.regions),
    )


def _places(regions: tuple[Region, ...] | None) -> dict[str, Any]:
    """Boxes and outlines as label files have them. An empty list of boxes says that the part is good."""
    if regions is None:
        return {}
    boxes = [region for region in regions if region.is_box]
    outlines = [region for region in regions if not region.is_box]
    places: dict[str, Any] = {}
    if boxes or not outlines:
        places["boxes"] = [[*_corners(region), region.class_name] for region in boxes]
    if outlines:
        places["polygons"] = [{"class": region.class_name, "points": region.points.tolist()} for region in outlines]
    return places


def _corners(region: Region) -> list[float]:
    (x1, y1), (x2, y2) = region.points.min(0), region.points.max(0)
    return [float(x1), float(y1), float(x2), float(y2)]
