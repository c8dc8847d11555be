"""What is taken of a part for charts of measurements from pictures: one value, the same in every replay."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.picture_values import PictureChart, needs_every_view, value_of
from processors.statistics_panes import Panes
from processors.window_values import WindowValues
from schemas.chart_settings import Chart, PictureMeasurement
from schemas.codec import decode_counted, encode
from schemas.inspections import Defect, Imaging
from schemas.reasons import FailSafe, VerdictValue
from schemas.statistics_settings import StatisticsSettings
from schemas.topics import VERDICTS
from schemas.verdicts import Verdict, ViewResult

S = 1_000_000_000
SIZE = PictureMeasurement(measure="area_px")
IMAGING = Imaging(sharpness_ratio=0.75, level_ratio=1.125, saturated_ratio=0.0, black_ratio=0.25, shift_px=2.5)
SMALL = Defect(class_name="open", score=0.95, box=(0, 0, 4, 4), area_px=9.0)
LARGE = Defect(class_name="open", score=0.5, box=(10, 20, 16, 30), area_px=40.0)
OTHER = Defect(class_name="short", score=0.7, box=(100, 100, 150, 110), area_px=300.0)
LEFT = ViewResult(view="left", camera="c1", outcome="inspected", defects=(SMALL, LARGE), anomaly_score=0.25)
RIGHT = ViewResult(view="right", camera="c2", outcome="inspected", defects=(OTHER,), anomaly_score=0.5, imaging=IMAGING)
MISSING = ViewResult(view="back", camera="c2")


@pytest.mark.parametrize(
    ("asked", "value"),
    [
        ({"measure": "area_px"}, 300.0),
        ({"measure": "area_px", "class_name": "open"}, 40.0),
        ({"measure": "score", "class_name": "open"}, 0.5),
        ({"measure": "width_px", "view": "left"}, 6.0),
        ({"measure": "height_px", "view": "left"}, 10.0),
        ({"measure": "centre_x_px", "view": "left"}, 13.0),
        ({"measure": "centre_y_px", "view": "left"}, 25.0),
        ({"measure": "area_px", "class_name": "scratch"}, None),
        ({"measure": "anomaly_score", "view": "left"}, 0.25),
        ({"measure": "shift_px", "view": "right"}, 2.5),
        ({"measure": "level_ratio", "view": "right"}, 1.125),
        ({"measure": "shift_px", "view": "left"}, None),  # it was compared with no reference
        ({"measure": "anomaly_score", "view": "back"}, None),  # it was not inspected
        ({"measure": "anomaly_score", "view": "top"}, None),
    ],
)
def test_a_part_has_the_value_of_its_largest_finding_or_of_the_view(asked: dict[str, Any], value: float | None) -> None:
    figure = PictureMeasurement(**asked)
    assert value_of(figure, (LEFT, RIGHT, MISSING)) == value
    turned = msgspec.structs.replace(LEFT, defects=(LARGE, SMALL))
    assert value_of(figure, (MISSING, RIGHT, turned)) == value


def test_what_is_no_number_is_no_measurement() -> None:
    odd = msgspec.structs.replace(LARGE, area_px=float("inf"))
    assert value_of(PictureMeasurement(measure="area_px"), (msgspec.structs.replace(LEFT, defects=(odd,)),)) is None


def verdict(number: int, arrived_s: float, *, revision: int = 1, found: tuple[Defect, ...] = (LARGE,)) -> Verdict:
    view = msgspec.structs.replace(LEFT, defects=found, anomaly_score=number / 4)
    return Verdict(
        id=f"a/{number}/1/{revision}", station="a", line="l", part_id=str(number), visit=1, revision=revision,
        verdict=VerdictValue.NOT_OK if found else VerdictValue.OK, action=FailSafe.REJECT,
        arrived_at_ns=int(arrived_s * S), decided_at_ns=int(arrived_s * S), recipe="board@1", views=(view,),
    )  # fmt: skip


def charted(measure: Any) -> StatisticsSettings:
    figure = PictureMeasurement(measure=measure, view="left")
    return StatisticsSettings(
        windows_ms=(60_000,), charts=(Chart(name="m", figure=figure, chart="xbar_r", subgroup=2, window_ms=60_000),)
    )


@pytest.mark.parametrize("measure", ["area_px", "anomaly_score"])
def test_a_verdict_that_is_read_for_counting_has_the_values_of_the_whole_one(measure: Any) -> None:
    settings = charted(measure)
    whole, read = (Panes(settings=settings, opportunities=lambda _: 0) for _ in range(2))
    log = [verdict(n, 60 + n, found=(LARGE,) if n % 2 else ()) for n in range(6)]
    for offset, each in enumerate(log):
        record = encode(VERDICTS, each)
        counted = decode_counted(record.value, record.headers, with_views=needs_every_view(settings), measured=True)
        whole.feed(each, offset=offset, record_at_ms=100_000)
        read.feed(counted, offset=offset, record_at_ms=100_000)
    assert whole.held() == read.held()
    (pane,) = read.held()
    assert pane.counts.measured == {"m": (40.0, 40.0) if measure == "area_px" else (0.0, 0.25)}


def test_the_first_parts_by_arrival_stand_for_a_window_whatever_came_first_on_the_log() -> None:
    panes = Panes(settings=charted("anomaly_score"), opportunities=lambda _: 0)
    for offset, (number, arrived_s) in enumerate([(3, 65), (1, 70), (2, 61)]):
        panes.feed(verdict(number, arrived_s), offset=offset, record_at_ms=100_000)
    assert panes.held()[0].counts.measured == {"m": (0.5, 0.75)}


def test_a_review_that_takes_the_finding_away_makes_room_for_the_next_part() -> None:
    panes = Panes(settings=charted("centre_x_px"), opportunities=lambda _: 0)
    places = [msgspec.structs.replace(LARGE, box=(n, 0, n + 2, 2)) for n in range(4)]
    for number, place in enumerate(places):
        panes.feed(verdict(number, 61 + number, found=(place,)), offset=number, record_at_ms=100_000)
    assert panes.held()[0].counts.measured == {"m": (1.0, 2.0)}
    panes.clock_at(10**15)
    panes.feed(verdict(0, 61, revision=2, found=()), offset=9, record_at_ms=100_001)
    (pane,) = panes.held()
    assert pane.counts.measured == {"m": (2.0, 3.0)}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.floats(0, 1)), max_size=40), st.integers(1, 4))
def test_the_first_parts_are_those_of_all_that_are_in_the_window(
    steps: list[tuple[bool, int, float]], subgroup: int
) -> None:
    chart = Chart(name="m", figure=SIZE, chart="xbar_r", subgroup=subgroup, window_ms=60_000)
    held, wanted = WindowValues([PictureChart(chart, SIZE)]), dict[int, float]()
    for comes, number, value in steps:
        if comes:
            held.add((number, "x", 1), (("m", value), ("other", 9.0)))
            wanted[number] = value
        else:
            held.take((number, "x", 1))
            wanted.pop(number, None)
        first = tuple(wanted[each] for each in sorted(wanted)[:subgroup])
        assert held.first() == ({"m": first} if first else {})
