"""Points of charts that remember have one content an id, whatever is read back beside them and whenever the stage crashes."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from statistics_log import Log
from test_comparisons_kept import PARTS, PLANTS, Part, through

from processors.chart_points import Sample, plot
from schemas.chart_settings import Chart, CountedBaseline, NotOk
from schemas.charts import ChartPoint
from schemas.reasons import VerdictValue
from schemas.topics import CHARTS

S = 1_000_000_000
CHART = Chart(name="share", figure=NotOk(), chart="ewma", window_ms=20_000, by="station")
BASELINES = {
    station: CountedBaseline(
        chart="share", settings=CHART, subject=f"station/{station}", points=30, from_ns=0, to_ns=0, data="d", frozen_by="k",
        frozen_at_ns=0, applies_from_ns=0, rate=0.3, counted=90, looked_at=300.0,
    )
    for station in "abc"
}  # fmt: skip
STATISTICS = msgspec.structs.replace(
    PLANTS[2].statistics, charts=(CHART,), baselines=tuple(BASELINES.values()), associations=()
)
LATE = [
    Part("b", 287, 40), Part("b", 303, 0), Part("a", 387, 0, 2), Part("a", 688, 500), Part("a", 499, 0), Part("b", 291, 0),
    Part("a", 442, 0), Part("a", 325, 0), Part("b", 174, 0), Part("c", 176, 0), Part("b", 467, 0, 2), Part("a", 203, 40),
]  # fmt: skip
PLANT = msgspec.structs.replace(PLANTS[2], statistics=STATISTICS)

_Points = dict[tuple[str, int], tuple[int, int, float | None]]


def expected(parts: list[Part]) -> _Points:
    """By subject and begin: bad parts, parts, and the EWMA over all windows of the station so far."""
    counts: dict[str, dict[int, tuple[int, int]]] = {}
    for number, part in enumerate(parts):
        windows, start_s = counts.setdefault(part.station, {}), part.arrived_s // 20 * 20
        bad, size = windows.get(start_s, (0, 0))
        windows[start_s] = bad + (part.verdict(number).verdict is VerdictValue.NOT_OK), size + 1
    found: _Points = {}
    for station, windows in counts.items():
        samples = [Sample(at * S, (at + 20) * S, 0, *windows[at]) for at in sorted(windows)]
        for last, sample in enumerate(samples, 1):
            value = plot(CHART, BASELINES[station], samples[:last]).value
            found[f"station/{station}", sample.start_at_ns] = sample.counted, sample.size, value
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(PARTS, min_size=1, max_size=18), st.lists(st.integers(0, 15), min_size=1, max_size=20))
@example(parts=LATE, steps=[2, 4, 5])
def test_the_last_revision_of_every_point_is_right_and_no_id_has_two_contents(
    parts: list[Part], steps: list[int]
) -> None:
    log = Log(2)
    with pytest.MonkeyPatch.context() as patched:
        asyncio.run(through(log, PLANT, parts, steps, patched))
    by_id: dict[str, ChartPoint] = {}
    last: dict[tuple[str, int], ChartPoint] = {}
    for point in log.of(CHARTS):
        assert by_id.setdefault(point.id, point) == point, "one id, two contents"
        place = point.subject, point.start_at_ns
        if place not in last or point.revision > last[place].revision:
            last[place] = point
    found = {place: (point.count, point.size, point.value) for place, point in last.items() if point.size}
    assert found == {place: (*counts, pytest.approx(value)) for place, (*counts, value) in expected(parts).items()}
