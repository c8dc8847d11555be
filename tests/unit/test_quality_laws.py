"""Laws of the quality figures: order, permutation, scale, and what chance alone may show."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.quality.association import Part, associations, associations_of_counts
from processors.quality.capability import Specification, capability
from processors.quality.change_point import CountPoint, Event, change_point, changed_then
from processors.quality.oee import StateChange, state_times
from processors.quality.pareto import pareto
from processors.quality.position_map import DefectPosition, cluster, defect_map
from processors.quality.yields import Visit, station_yields
from schemas.plc_events import LineMode
from schemas.reasons import VerdictValue

HOUR_NS = 3_600_000_000_000
visits = st.lists(
    st.builds(
        Visit,
        station=st.sampled_from(["aoi-1", "aoi-2"]),
        unit=st.sampled_from(["u1", "u2", "u3", "u4"]),
        number=st.integers(1, 3),
        verdict=st.sampled_from(VerdictValue),
    ),
    unique_by=lambda visit: visit[:3],
    max_size=24,
)
labelled = st.lists(
    st.builds(
        Part,
        bad=st.booleans(),
        labels=st.fixed_dictionaries({}, optional={"tool": st.sampled_from("AB"), "batch": st.sampled_from("12")}),
    ),
    max_size=60,
)


@given(visits, st.randoms(use_true_random=False))
def test_yield_by_unit_does_not_depend_on_the_order_of_verdicts(seen: list[Visit], shuffler: random.Random) -> None:
    shuffled = list(seen)
    shuffler.shuffle(shuffled)
    assert station_yields(shuffled) == station_yields(seen)
    for row in station_yields(seen):
        assert 0 <= row.first_pass <= row.units
        assert 0 <= row.recovered <= row.reworked


def test_a_reworked_unit_is_no_first_pass_though_it_ends_well() -> None:
    seen = [
        Visit("aoi-1", "u1", 1, VerdictValue.OK),
        Visit("aoi-1", "u2", 1, VerdictValue.NOT_OK),
        Visit("aoi-1", "u2", 2, VerdictValue.OK),
        Visit("aoi-1", "u3", 1, VerdictValue.NOT_DECIDABLE),
        Visit("aoi-1", "u4", 2, VerdictValue.OK),  # its first visit was before the window
        Visit("aoi-1", "u5", 1, VerdictValue.OK),
        Visit("aoi-1", "u5", 2, VerdictValue.OK),  # came again though nothing was wrong
    ]
    (row,) = station_yields(seen)
    assert (row.units, row.first_pass, row.reworked, row.recovered) == (4, 2, 3, 1)
    assert row.first_pass_ratio == 0.5


@given(labelled, st.randoms(use_true_random=False))
def test_associations_do_not_depend_on_the_order_of_parts(parts: list[Part], shuffler: random.Random) -> None:
    shuffled = list(parts)
    shuffler.shuffle(shuffled)
    rows = associations(parts)
    assert associations(shuffled) == rows
    for row in rows:
        assert row.p_value <= row.adjusted_p <= 1
        assert row.risk_ratio.lower <= row.risk_ratio.value <= row.risk_ratio.upper


def test_a_tool_three_times_as_bad_is_first_with_its_counts() -> None:
    counts = {
        "tool": {"T1": (5, 500), "T2": (6, 500), "T3": (30, 500)},
        "shift": {"early": (14, 500), "late": (13, 500), "night": (14, 500)},
    }
    first, *others = associations_of_counts(counts)
    assert (first.label, first.level, first.bad, first.parts, first.other_bad, first.other_parts) == (
        *("tool", "T3"),
        *(30, 500, 11, 1000),
    )
    assert first.pointed_at
    assert first.risk_ratio.value == pytest.approx((30 / 500) / (11 / 1000))
    assert not any(row.pointed_at for row in others if row.label == "shift")


def test_chance_alone_is_seldom_pointed_at() -> None:
    rng = np.random.default_rng(3)
    pointed = 0
    for _ in range(100):
        counts = {"tool": {str(tool): (int(rng.binomial(300, 0.05)), 300) for tool in range(8)}}
        pointed += any(row.pointed_at for row in associations_of_counts(counts))
    assert pointed <= 12  # at most 5 expected


def test_associations_at_the_edges_of_counting() -> None:
    assert associations([]) == []
    assert associations([Part(True, {"tool": "A"})]) == []
    all_bad = associations_of_counts({"tool": {"A": (50, 50), "B": (50, 50)}})
    assert [row.p_value for row in all_bad] == [1.0, 1.0]
    none_bad = associations_of_counts({"tool": {"A": (0, 50), "B": (9, 50)}})
    assert none_bad[0].risk_ratio.value == pytest.approx(19)  # (9.5 / 50.5) / (0.5 / 50.5)
    billion = associations_of_counts({"tool": {"A": (1_000_000, 10**9), "B": (1_008_000, 10**9)}})
    assert billion[0].pointed_at
    late = associations_of_counts({"class": {"known": (10, 1000), "appeared mid-way": (0, 3)}})
    assert late == []  # too few parts of a level that has just appeared to say anything


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(20, 40)), min_size=2, max_size=12), st.randoms())
def test_a_change_point_does_not_depend_on_the_order_it_is_given_in(
    counts: list[tuple[int, int]], shuffler: random.Random
) -> None:
    points = [CountPoint(number * HOUR_NS, bad, parts) for number, (bad, parts) in enumerate(counts)]
    shuffled = list(points)
    shuffler.shuffle(shuffled)
    found = change_point(points)
    assert change_point(shuffled) == found
    assert found is not None
    assert found.bad_before + found.bad_after == sum(bad for bad, _ in counts)
    ratios = brute_force(counts)
    assert found.log_likelihood_ratio == pytest.approx(max(ratios), abs=1e-9)
    points_before = found.at_ns // HOUR_NS
    assert ratios[points_before - 1] == pytest.approx(max(ratios), abs=1e-9)
    assert found.bad_before == sum(bad for bad, _ in counts[:points_before])
    assert found.earliest_ns < found.at_ns <= found.latest_ns


def brute_force(counts: list[tuple[int, int]]) -> list[float]:
    def likelihood(rows: list[tuple[int, int]]) -> float:
        bad, parts = sum(b for b, _ in rows), sum(n for _, n in rows)
        rate = bad / parts
        return sum(b * np.log(rate) for b, _ in rows if b) + sum((n - b) * np.log(1 - rate) for b, n in rows if n > b)

    return [likelihood(counts[:k]) + likelihood(counts[k:]) - likelihood(counts) for k in range(1, len(counts))]


def test_a_change_is_dated_and_what_changed_then_is_named() -> None:
    rng = np.random.default_rng(5)
    rates = [0.03] * 40 + [0.10] * 20
    points = [CountPoint(number * HOUR_NS, int(rng.binomial(200, rate)), 200) for number, rate in enumerate(rates)]
    found = change_point(points)
    assert found is not None
    assert found.p_value == 0.001
    assert found.earliest_ns <= 40 * HOUR_NS <= found.latest_ns
    assert found.rate_before == pytest.approx(0.03, abs=0.01)
    assert found.rate_after == pytest.approx(0.10, abs=0.015)
    events = [Event(int(39.7 * HOUR_NS), "tool: T1 -> T2"), Event(10 * HOUR_NS, "shift: early -> late")]
    assert [event.what for event in changed_then(found, events)] == ["tool: T1 -> T2"]


def test_no_change_is_called_one_seldom() -> None:
    rng = np.random.default_rng(6)
    called = 0
    for _ in range(100):
        points = [CountPoint(number, int(rng.binomial(50, 0.05)), 50) for number in range(30)]
        found = change_point(points)
        called += found is not None and found.p_value <= 0.05
    assert called <= 12  # 5 expected


def test_a_year_of_hours_is_looked_through() -> None:
    rng = np.random.default_rng(14)
    bad = rng.binomial(20, np.where(np.arange(8760) < 5000, 0.05, 0.06))
    found = change_point([CountPoint(hour * HOUR_NS, int(count), 20) for hour, count in enumerate(bad)])
    assert found is not None
    assert found.p_value == 0.001
    assert found.earliest_ns <= 5000 * HOUR_NS <= found.latest_ns


def test_change_points_at_the_edges() -> None:
    assert change_point([]) is None
    assert change_point([CountPoint(0, 1, 10), CountPoint(1, 0, 0)]) is None
    steady = change_point([CountPoint(number, 10, 10) for number in range(5)])
    assert steady is not None
    assert steady.p_value == 1.0
    with pytest.raises(ValueError, match="at most"):
        change_point([CountPoint(0, 1, 10**9), CountPoint(1, 1, 10**9)])


def test_a_cluster_at_one_place_is_found_there() -> None:
    rng = np.random.default_rng(8)
    scattered = [DefectPosition(f"p{n}", *rng.random(2)) for n in range(60)]
    crowd = [DefectPosition(f"q{n}", 0.3 + rng.normal(0, 0.01), 0.7 + rng.normal(0, 0.01)) for n in range(8)]
    found = cluster(defect_map(scattered + crowd))
    assert found is not None
    assert found.p_value == 0.001
    assert found.left_ratio < 0.3 < found.right_ratio
    assert found.top_ratio < 0.7 < found.bottom_ratio


def test_scattered_defects_and_one_bad_part_are_no_cluster() -> None:
    rng = np.random.default_rng(9)
    called = 0
    for _ in range(6):
        found = cluster(defect_map(DefectPosition(f"p{n}", *rng.random(2)) for n in range(40)))
        called += found is not None and found.p_value <= 0.05
    assert called <= 2
    one_part = [DefectPosition("bad", 0.51, 0.51) for _ in range(50)]
    assert cluster(defect_map(one_part)) is None
    with pytest.raises(ValueError, match="shares of the part"):
        defect_map([DefectPosition("p", 1.2, 0.5)])


@given(st.lists(st.tuples(st.integers(0, 100), st.sampled_from(LineMode)), max_size=10), st.integers(0, 50))
def test_state_times_fill_the_window(changes: list[tuple[int, LineMode]], from_ns: int) -> None:
    states = [StateChange(*change) for change in changes]
    times = state_times(states, from_ns=from_ns, to_ns=100, planned_stops=[(50, 60), (70, 75)])
    assert sum(times) == 100 - from_ns
    assert min(times) >= 0
    without = state_times(states, from_ns=from_ns, to_ns=100)
    assert (times.running_ns, times.unknown_ns) == (without.running_ns, without.unknown_ns)
    assert times.planned_ns + times.planned_stop_ns == without.planned_ns


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=6))
def test_a_pareto_holds_every_count_once(counts: dict[str, int]) -> None:
    rows = pareto(counts)
    assert {row.category: row.number for row in rows} == {name: n for name, n in counts.items() if n}
    assert [row.number for row in rows] == sorted((row.number for row in rows), reverse=True)
    assert not rows or rows[-1].cumulative_ratio == pytest.approx(1)


@given(st.floats(0.5, 20), st.floats(-100, 100))
def test_capability_does_not_depend_on_the_unit(scale: float, offset: float) -> None:
    groups = [[9.0, 10.5, 11.0], [10.0, 9.5, 10.2], [10.8, 9.9, 10.1]]
    plain = capability(groups, Specification(lower=5, upper=16))
    moved = capability(
        [[offset + scale * value for value in group] for group in groups],
        Specification(lower=offset + scale * 5, upper=offset + scale * 16),
    )
    assert moved.within.nearest == pytest.approx(plain.within.nearest, rel=1e-6)
    assert moved.overall.nearest == pytest.approx(plain.overall.nearest, rel=1e-6)


def test_what_has_no_capability_is_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        capability([[1.0, 1.0], [1.0, 1.0]], Specification(upper=2))
    with pytest.raises(ValueError, match="at least 2"):
        capability([[1.0]], Specification(upper=2))
    with pytest.raises(ValueError, match="lower or an upper"):
        Specification()
