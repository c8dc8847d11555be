"""Verdicts as a line writes them, for the measurements of the statistics stage: deterministic, with defects, reviews and duplicates."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.inspections import Defect, Imaging
from schemas.message import NS_PER_S
from schemas.reasons import FailSafe, VerdictValue
from schemas.verdicts import Verdict, ViewResult, verdict_id

START_NS = 1_767_225_600 * NS_PER_S
CLASSES = tuple(f"class-{number:02}" for number in range(20))
VIEWS = ("left", "middle", "right")
BAD_EVERY = 25
REVIEWED_EVERY = 500
TWICE_EVERY = 100
IMAGING = Imaging(sharpness_ratio=0.98, level_ratio=1.01, saturated_ratio=0.002, black_ratio=0.01, shift_px=1.5)


def verdicts(
    count: int, *, stations: int = 1, parts_per_s: float = 1_000.0, bad_every: int = BAD_EVERY
) -> Iterator[Verdict]:
    """`count` records, every `bad_every`th part of a station with a defect of the next class.

    Parts come in order of arrival; every 100th record comes twice, every 500th part is reviewed 50 records later.
    """

    def made_at(number: int, revision: int = 1) -> Verdict:
        at_ns = START_NS + int(number * NS_PER_S / parts_per_s)
        turn = number // stations
        bad = turn % bad_every == 0 and revision == 1
        class_name = CLASSES[turn // bad_every % len(CLASSES)] if bad else None
        return _verdict(number, station=number % stations, at_ns=at_ns, revision=revision, class_name=class_name)

    waiting: list[Verdict] = []
    made = number = 0
    while made < count:
        verdict = made_at(number)
        yield verdict
        made += 1
        if number % TWICE_EVERY == 0 and made < count:
            yield verdict
            made += 1
        if number % REVIEWED_EVERY == 0:
            waiting.append(made_at(number, revision=2))
        if number % REVIEWED_EVERY == 50 and waiting and made < count:
            yield waiting.pop()
            made += 1
        number += 1


def _verdict(number: int, *, station: int, at_ns: int, revision: int, class_name: str | None) -> Verdict:
    bad = class_name is not None
    defects = (Defect(class_name=class_name or "", score=0.9, box=(10, 10, 40, 30), area_px=200.0),)
    name = f"aoi-{station + 1}"
    return Verdict(
        id=verdict_id(station=name, part_id=f"SN-{number:08}", visit=1, revision=revision),
        station=name,
        line="line-1",
        part_id=f"SN-{number:08}",
        visit=1,
        revision=revision,
        verdict=VerdictValue.NOT_OK if bad else VerdictValue.OK,
        action=FailSafe.REJECT if bad else FailSafe.PASS,
        arrived_at_ns=at_ns,
        decided_at_ns=at_ns + 100_000_000,
        recipe="board-a@1",
        batch=f"lot-{number // 50_000}",
        views=tuple(
            ViewResult(
                view=view,
                camera=view,
                outcome="inspected",
                inspection=f"{view}/s/{number}",
                image_sha256="9f" * 32,
                imaging=IMAGING,
                defects=defects if bad and view == "left" else (),
            )
            for view in VIEWS
        ),
    )
