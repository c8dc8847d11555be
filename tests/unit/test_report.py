"""The charts and the bounded memory of a report."""

from __future__ import annotations

from itertools import pairwise

from cli import charts
from cli.charts import histogram, p_chart
from cli.report_html import control_points
from cli.run_record import REJECTED_KEPT, Kept
from ops.local.places import CHECKOUT
from processors.quality.pareto import pareto
from schemas.plant_file import load_plant
from schemas.reasons import FailSafe, VerdictValue
from schemas.verdicts import Verdict

PLANT = load_plant(CHECKOUT / "plants" / "demo.yaml")


def _verdict(number: int, value: VerdictValue) -> Verdict:
    return Verdict(
        id=f"s/p{number}/1/1",
        station="s",
        line="l",
        part_id=f"p{number}",
        visit=1,
        revision=1,
        verdict=value,
        action=FailSafe.PASS if value is VerdictValue.OK else FailSafe.REJECT,
        arrived_at_ns=number * 1_000_000,
        decided_at_ns=number * 1_000_000 + 50,
        recipe="board-a@1",
    )


def _kept(values: list[VerdictValue]) -> Kept:
    kept = Kept()
    for number, value in enumerate(values):
        kept.add(_verdict(number, value), {(f"p{number}", 1): ("open",) if value is VerdictValue.NOT_OK else ()})
    return kept


def test_a_bad_batch_stands_out_of_the_p_chart() -> None:
    values = [VerdictValue.OK] * 100 + [VerdictValue.NOT_OK, VerdictValue.OK] * 10 + [VerdictValue.OK] * 100
    size, points = control_points(_kept(values), PLANT)
    outside = [int(name) for name, point in points if point.outside]
    assert size == len(values) // 20
    assert outside
    assert all(91 <= first <= 120 for first in outside)
    assert 'class="outside"' in p_chart(points, 0.05)


def test_undecided_parts_are_on_no_p_chart() -> None:
    _, points = control_points(_kept([VerdictValue.NOT_DECIDABLE] * 50), PLANT)
    assert points == []
    assert "too few decided parts" in p_chart(points, 0.05)


def test_rejected_parts_are_thinned_evenly_and_counted_whole() -> None:
    kept = _kept([VerdictValue.NOT_OK] * (5 * REJECTED_KEPT))
    assert kept.rejected_count == 5 * REJECTED_KEPT
    assert len(kept.rejected) <= REJECTED_KEPT
    numbers = [int(verdict.part_id[1:]) for verdict in kept.rejected]
    steps = {later - earlier for earlier, later in pairwise(numbers)}
    assert len(steps) == 1
    assert numbers[-1] > 4 * REJECTED_KEPT


def test_confusion_counts_truth_against_verdict() -> None:
    kept = _kept([VerdictValue.OK, VerdictValue.NOT_OK, VerdictValue.NOT_OK])
    assert kept.confusion == {(False, VerdictValue.OK): 1, (True, VerdictValue.NOT_OK): 2}


def test_names_in_charts_are_escaped() -> None:
    assert "<script>" not in charts.pareto(pareto({"<script>": 3}))


def test_a_histogram_counts_every_value_once() -> None:
    chart = histogram([10.0] * 7 + [20.0] * 3)
    assert sum(int(part.split(": ")[1].split("<")[0]) for part in chart.split("<title>")[1:]) == 10
