"""What a dataset is made of: the reviews of a line with its recorded pictures, or a label file."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from cli.following import Follower
from processors.active_selection import chosen
from processors.labelled_pictures import LabelledPicture, LeftOut, LeftOutReason, labelled_pictures
from processors.part_state import PartVisit
from schemas.errors import ConfigurationError
from schemas.inspections import Inspection
from schemas.object_store import ObjectMissing, ObjectStore, digest_of, reference_key, sha256_hex
from schemas.plant import Plant
from schemas.recipes import PairSegmenterInspection
from schemas.records import Review
from schemas.settings import KafkaSettings
from schemas.topics import INSPECTIONS, REVIEWS, VERDICTS, Topic
from schemas.verdicts import Verdict, picture_key
from training.dataset_rows import row_of_review, row_of_sample
from training.datasets import Draft
from training.labels import Sample, read_samples
from training.laid_pairs import KEPT, LaidReferences

MOST_FRAMES = 50_000
"""Of the newest inspections, without their heat maps."""


def add_reviews(
    draft: Draft, *, plant: Plant, plant_dir: Path, kafka: KafkaSettings, store: ObjectStore, recipes: frozenset[str]
) -> str:
    """Adds every reviewed picture of these recipes (`name@revision`; none: of all) that is kept; returns what was read.

    Raises ServiceAway, and Transient where the object store is away.
    """
    reviews: list[Review] = list(_read(REVIEWS, plant, kafka))
    reviewed = {_visit(review) for review in reviews}
    first: dict[PartVisit, Verdict] = {}
    for verdict in _read(VERDICTS, plant, kafka) if reviewed else ():
        if verdict.revision == 1 and _visit(verdict) in reviewed:
            first.setdefault(_visit(verdict), verdict)
    if recipes:
        first = {visit: verdict for visit, verdict in first.items() if verdict.recipe in recipes}
        reviews = [review for review in reviews if _visit(review) in first]
    pictures, left_out = labelled_pictures(reviews, first)
    draft.leave_out(left_out)
    references = _References(plant, plant_dir, store, draft)
    for picture in pictures:
        _add_picture(draft, picture, store, references)
    of_recipes = f" of {', '.join(sorted(recipes))}" if recipes else ""
    return f"{len(reviews)} reviews{of_recipes} at {plant.plant}"


def add_labels(draft: Draft, labels: Path, *, labelled_by: str) -> str:
    """Adds every row of a label file with its pictures; returns what was read. Raises ConfigurationError as `linesight train` does."""
    samples = read_samples(labels)
    lines = labels.read_bytes().splitlines()
    for sample in samples:
        raw = json.loads(lines[sample.line - 1])
        content = sample.image.read_bytes()
        reference = None if sample.reference is None else draft.keep_picture(sample.reference.read_bytes())
        draft.add(
            row_of_sample(
                _spoken_for(sample, labels),
                raw,
                source=f"{labels.name}:{sample.line}",
                labelled_by=labelled_by,
                image=draft.keep_picture(content),
                digest=digest_of(content),
                reference=reference,
            )
        )
    return f"{len(samples)} rows of {labels.name}"


def selected(*, plant: Plant, kafka: KafkaSettings, from_ms: int, budget: int) -> list[dict[str, Any]]:
    """The frames worth labelling next, of those inspected since `from_ms` (ms since the epoch): of the newest `MOST_FRAMES`."""
    labelled = {_visit(review) for review in _read(REVIEWS, plant, kafka)}
    newest: deque[Inspection] = deque(maxlen=MOST_FRAMES)
    with Follower(plant=plant, settings=kafka, topics=(INSPECTIONS,), from_ms=from_ms) as follower:
        for seen in follower.drain():
            if seen.message is not None:
                newest.append(msgspec.structs.replace(seen.message, heat_map=None))
    found = chosen(newest, plant=plant, labelled=labelled, contradicted={}, budget=budget)
    return [
        {
            "inspection": each.inspection.id,
            "station": each.inspection.station,
            "part_id": each.inspection.part_id,
            "visit": each.inspection.visit,
            "view": each.inspection.view,
            "worth": each.worth.value,
            "told": each.told,
            "picture": picture_key(each.inspection.image_sha256),
            "frame_partition": each.inspection.frame_partition,
            "frame_offset": each.inspection.frame_offset,
        }
        for each in found
    ]


def _spoken_for(sample: Sample, labels: Path) -> Sample:
    if sample.label is None:
        raise ConfigurationError(
            f"{labels}:{sample.line}: says nothing of the picture; a dataset holds labelled ones: give `boxes`, `polygons` or `label`"
        )
    return sample


def _add_picture(draft: Draft, picture: LabelledPicture, store: ObjectStore, references: _References) -> None:
    def leave_out(reason: LeftOutReason) -> None:
        draft.leave_out([LeftOut(source=picture.source, part=picture.part, view=picture.view, reason=reason)])

    try:
        content = store.get(picture_key(picture.image_sha256))
    except ObjectMissing:
        return leave_out(LeftOutReason.PICTURE_GONE)
    if sha256_hex(content) != picture.image_sha256:
        return leave_out(LeftOutReason.PICTURE_CHANGED)
    image = draft.keep_picture(content)
    if not draft.decodes(image):
        return leave_out(LeftOutReason.UNDECODABLE)
    reference = references.place(picture, content)
    if isinstance(reference, LeftOutReason):
        return leave_out(reference)
    draft.add(row_of_review(picture, image=image, digest=digest_of(content), reference=reference))
    return None


class _References:
    """Reference pictures by digest: the recipes' files, else the object store's. Where the line lays them under the picture, so laid."""

    def __init__(self, plant: Plant, plant_dir: Path, store: ObjectStore, draft: Draft) -> None:
        named = {view.reference for recipe in plant.recipes for view in recipe.views if view.reference}
        self._files = {
            digest_of(path.read_bytes()): path for path in (plant_dir / name for name in named) if path.is_file()
        }
        self._inspections = {
            (recipe.key, view.name): recipe.inspection_of(view) for recipe in plant.recipes for view in recipe.views
        }
        self._store = store
        self._draft = draft
        self._laid = LaidReferences()
        self._content = lru_cache(maxsize=KEPT)(self._read)

    def place(self, picture: LabelledPicture, content: bytes) -> str | LeftOutReason | None:
        """The path of the picture's reference in the dataset, None where it was compared with none or that is not kept any more; or why the
        picture is to be left out. `content` is the picture."""
        reference = None if picture.reference is None else self._content(picture.reference)
        if reference is None:
            return None
        inspection = self._inspections.get((picture.recipe, picture.view))
        if isinstance(inspection, PairSegmenterInspection):
            reference = self._laid.laid(content, reference, inspection)
        return LeftOutReason.NOT_ALIGNED if reference is None else self._draft.keep_picture(reference)

    def _read(self, digest: str) -> bytes | None:
        if digest in self._files:
            return self._files[digest].read_bytes()
        try:
            return self._store.get(reference_key(digest))
        except ObjectMissing:
            return None


def _read(topic: Topic, plant: Plant, kafka: KafkaSettings) -> Iterator[Any]:
    with Follower(plant=plant, settings=kafka, topics=(topic,), from_beginning=True) as follower:
        for seen in follower.drain():
            if seen.message is not None:  # what cannot be decoded became a dead letter when it was read first
                yield seen.message


def _visit(record: Review | Verdict) -> PartVisit:
    return PartVisit(record.station, record.part_id, record.visit)
