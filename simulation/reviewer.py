"""The simulated end-of-line test: looks at boards again, with the simulation's own knowledge, and says what they really are.

It tests every board that the line did not pass, and finds every bad one that it did (the customer's test would); of the good boards that
passed it takes a share. A person marks what is wrong, view by view; so does it.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.inspections import Defect
from schemas.reasons import VerdictValue
from schemas.records import Review
from schemas.verdicts import Verdict

REVIEWER = "end-of-line-test"
GOOD_ONE_IN = 3
"""Of the good boards that passed, one in so many is tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueMark:
    """A defect that was drawn: its class, and its half-open box in px of the picture of `view`."""

    view: str
    class_name: str
    box: tuple[int, int, int, int]


def reviews_of(verdict: Verdict, marks: Sequence[TrueMark], *, now_ns: int) -> tuple[Review, ...]:
    """What the test says of a part that the line has judged, one review for each view with defects; nothing where it does not look.

    `marks`: the part's true defects as its cameras saw them; none is a good part.
    """
    if not marks:
        if verdict.verdict is VerdictValue.OK and not _is_sampled(verdict):
            return ()
        return (_review(verdict, VerdictValue.OK, now_ns=now_ns),)
    views = sorted({mark.view for mark in marks})
    return tuple(
        _review(
            verdict,
            VerdictValue.NOT_OK,
            view=view,
            defects=tuple(_defect(mark) for mark in marks if mark.view == view),
            now_ns=now_ns + place,  # one after the other: a review's id is its moment
        )
        for place, view in enumerate(views)
    )


def _is_sampled(verdict: Verdict) -> bool:
    """By the part's id: the same parts in every run over the same record, whoever asks."""
    return zlib.crc32(f"{verdict.part_id}/{verdict.visit}".encode()) % GOOD_ONE_IN == 0


def _review(
    verdict: Verdict, said: VerdictValue, *, now_ns: int, view: str = "", defects: tuple[Defect, ...] = ()
) -> Review:
    return Review(
        id=f"{verdict.station}/{verdict.part_id}/{verdict.visit}/{REVIEWER}/{now_ns}",
        station=verdict.station,
        part_id=verdict.part_id,
        visit=verdict.visit,
        reviewer=REVIEWER,
        reviewed_at_ns=now_ns,
        verdict=said,
        view=view,
        defects=defects,
    )


def _defect(mark: TrueMark) -> Defect:
    x1, y1, x2, y2 = mark.box
    return Defect(class_name=mark.class_name, score=1.0, box=mark.box, area_px=float((x2 - x1) * (y2 - y1)))
