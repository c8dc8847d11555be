"""What people said of parts, as labels of single pictures: what a model may learn from reviews.

A person judges a part, a model learns from a picture. So a label is taken only where it follows from what the person said:

    OK                       every view is good
    NOT_OK, with marks       the marked view has these defects; of the other views nothing is known
    NOT_OK, without marks    the person confirms what the line marked (as in the record); of views without marks nothing is known
    NOT_DECIDABLE            nothing is known

Reviews of a part hold in the order in which they were given; a later one replaces what it contradicts. What yields no label is told
with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from processors.part_state import PartVisit
from schemas.inspections import Defect
from schemas.reasons import VerdictValue
from schemas.records import Review
from schemas.verdicts import Verdict, ViewResult


class LeftOutReason(StrEnum):
    """Why a picture, or a review, gave nothing to learn from."""

    VERDICT_GONE = "verdict_gone"
    UNKNOWN_VIEW = "unknown_view"
    NOT_DECIDABLE = "not_decidable"
    VIEW_NOT_REVIEWED = "view_not_reviewed"
    NO_PICTURE = "no_picture"
    PICTURE_GONE = "picture_gone"
    PICTURE_CHANGED = "picture_changed"
    UNDECODABLE = "undecodable"
    NOT_ALIGNED = "not_aligned"
    REPEATED = "repeated"
    CONTRADICTING_LABELS = "contradicting_labels"
    JOINS_BOTH_SIDES = "joins_both_sides"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A picture, or a whole review (`view` is empty), that is no part of a dataset."""

    source: str
    part: str
    view: str
    reason: LeftOutReason


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPicture:
    """One picture and what a person said of it.

    `defects` have boxes in px of the picture as the camera gave it; none is a good part. `source` is the id of the review.
    `reference` is the digest (`sha256:<hex>`) of what the line compared it with.
    """

    image_sha256: str
    station: str
    part_id: str
    visit: int
    view: str
    batch: str
    recipe: str
    reference: str | None
    defects: tuple[Defect, ...]
    source: str
    labelled_by: str
    labelled_at_ns: int

    @property
    def part(self) -> str:
        """`station/part_id`: the same for every visit of the part."""
        return f"{self.station}/{self.part_id}"


@dataclass(frozen=True, slots=True)
class _Label:
    defects: tuple[Defect, ...]
    review: Review


def labelled_pictures(
    reviews: Iterable[Review], first_verdicts: Mapping[PartVisit, Verdict]
) -> tuple[list[LabelledPicture], list[LeftOut]]:
    """Labels of pictures, and what gave none, both in an order that does not depend on that of `reviews`.

    `first_verdicts` is what the line itself said (revision 1) of the reviewed parts, as far as it is still known. Repeated reviews
    (equal `id`) count once.
    """
    by_visit: dict[PartVisit, dict[str, Review]] = {}
    for review in reviews:
        visit = PartVisit(review.station, review.part_id, review.visit)
        by_visit.setdefault(visit, {}).setdefault(review.id, review)
    pictures: list[LabelledPicture] = []
    left_out: list[LeftOut] = []
    for visit in sorted(by_visit, key=str):
        given = sorted(by_visit[visit].values(), key=lambda review: (review.reviewed_at_ns, review.id))
        verdict = first_verdicts.get(visit)
        if verdict is None:
            left_out += [_left_out(review, "", LeftOutReason.VERDICT_GONE) for review in given]
            continue
        some, none = _of_part(given, verdict)
        pictures += some
        left_out += none
    return pictures, left_out


def _of_part(reviews: list[Review], verdict: Verdict) -> tuple[list[LabelledPicture], list[LeftOut]]:
    views = {view.view: view for view in verdict.views}
    labels: dict[str, _Label] = {}
    left_out: list[LeftOut] = []
    for review in reviews:
        if review.defects and review.view not in views:
            left_out.append(_left_out(review, review.view, LeftOutReason.UNKNOWN_VIEW))
            continue
        labels = _after(labels, review, views)
    last = reviews[-1]
    unknown = (
        LeftOutReason.NOT_DECIDABLE if last.verdict is VerdictValue.NOT_DECIDABLE else LeftOutReason.VIEW_NOT_REVIEWED
    )
    pictures: list[LabelledPicture] = []
    for name, view in views.items():
        label = labels.get(name)
        if label is None:
            left_out.append(_left_out(last, name, unknown))
        elif not view.image_sha256:
            left_out.append(_left_out(label.review, name, LeftOutReason.NO_PICTURE))
        else:
            pictures.append(_picture(label, view, verdict))
    return pictures, left_out


def _after(labels: dict[str, _Label], review: Review, views: Mapping[str, ViewResult]) -> dict[str, _Label]:
    if review.verdict is VerdictValue.NOT_DECIDABLE:
        return {}
    if review.verdict is VerdictValue.OK:
        return {name: _Label((), review) for name in views}
    # the part is bad after all: that a view was called good says nothing any more
    marked = {name: label for name, label in labels.items() if label.defects}
    if review.defects:
        return {**marked, review.view: _Label(review.defects, review)}
    confirmed = {name: _Label(view.defects, review) for name, view in views.items() if view.defects}
    return {**confirmed, **marked}


def _picture(label: _Label, view: ViewResult, verdict: Verdict) -> LabelledPicture:
    return LabelledPicture(
        image_sha256=view.image_sha256,
        station=verdict.station,
        part_id=verdict.part_id,
        visit=verdict.visit,
        view=view.view,
        batch=verdict.batch,
        recipe=verdict.recipe,
        reference=view.reference,
        defects=label.defects,
        source=label.review.id,
        labelled_by=label.review.reviewer,
        labelled_at_ns=label.review.reviewed_at_ns,
    )


def _left_out(review: Review, view: str, reason: LeftOutReason) -> LeftOut:
    return LeftOut(source=review.id, part=f"{review.station}/{review.part_id}", view=view, reason=reason)
