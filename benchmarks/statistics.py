"""`make bench-statistics`: run lengths of the charts beside theory and published tables, quality of alerts, the pump of SKAB,
and the statistics stage: speed, state, restart, a million verdicts replayed.

    .venv/bin/python -m benchmarks.statistics [--rows run_lengths alerts ...] [--out run/bench-statistics.json]

Prints a table and writes `run/bench-statistics.json`, after each section anew. The figures of charts are simulated from fixed seeds. SKAB
is real, and skipped by name where `../shared/data/skab` is not there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import alert_quality, alert_storm, simulated_run_lengths, skab, statistics_replay, statistics_topics
from benchmarks.results_file import Row, load, machine, write
from processors.spc.attribute_charts import AttributeChart, AttributeLimits
from processors.spc.count_run_length import ewma_count_run_length
from processors.spc.ewma import WEIGHT, WIDTH
from processors.spc.run_length import attribute_run_length, cusum_run_length
from processors.spc.run_rule_lengths import run_rule_length
from processors.spc.run_rules import NELSON, WESTERN_ELECTRIC, RunRule
from schemas.plant_file import load_plant

RUNS = 10_000
SIZE, RATE = 200, 0.03
FACTORS = (1.0, 1.5, 2.0, 3.0)
# J. M. Lucas, M. S. Saccucci, Technometrics 32 (1990), table 3, weight 0.5, width 3.071: shift -> average run length.
PUBLISHED_EWMA = {0.0: 500.0, 1.5: 6.53, 2.0: 3.63, 3.0: 1.93}
# J. M. Lucas, R. B. Crosier, Technometrics 24 (1982), table 1, reference 0.5, interval 4.
PUBLISHED_CUSUM = {0.0: 168.0, 1.5: 4.75, 2.0: 3.34, 3.0: 2.19}
SEED = 20261124
STATIONS = 1_000
REPLAYED = 1_000_000
FROM_TOPIC = 200_000
PEER_FLOORS = {"faust": 20.0, "quix": 2.5, "bytewax": 1.0}


def main() -> None:
    """Measures, prints a table, and writes the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=RUNS, help="simulated runs of each average run length")
    parser.add_argument("--rows", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="only these sections")
    parser.add_argument("--out", type=Path, default=Path("run/bench-statistics.json"))
    asked = parser.parse_args()
    then = machine()
    details: dict[str, Any] = {"runs": asked.runs, "run_lengths": [], "load_before": load()}
    rows: list[Row] = []
    for name in asked.rows:
        details[f"load_before_{name}"] = load()
        rows += SECTIONS[name](details)
        write(asked.out, rows=rows, machine_then=then, details={**details, "load_after": load()})
    table = Table("what", "value", "unit", "limit", "met")
    for row in rows:
        limit = f"<= {row.at_most:g}" if row.at_most is not None else ""
        limit = f">= {row.at_least:g}" if row.at_least is not None else limit
        table.add_row(row.name, f"{row.value:g}", row.unit, limit, {True: "yes", False: "NO", None: ""}[row.met])
    Console(width=160).print(table)


def _run_lengths(details: dict[str, Any]) -> Iterator[Row]:
    runs = details["runs"]
    limits = AttributeLimits(chart=AttributeChart.P, rate=RATE)
    exact = limits.exact_limits(SIZE)
    for factor in FACTORS:
        rate, name = RATE * factor, "in control" if factor == 1 else f"rate x {factor:g}"
        found = simulated_run_lengths.shewhart(
            simulated_run_lengths.counts(size=SIZE, rate=rate, seed=SEED),
            lower=exact.lower,
            upper=exact.upper,
            runs=runs,
        )
        yield _compared(f"p-chart, {name}", found, attribute_run_length(limits, size=SIZE, rate=rate), details)
        draw = simulated_run_lengths.scores(limits, size=SIZE, rate=rate, seed=SEED)
        found = simulated_run_lengths.ewma(draw, weight=WEIGHT, width=WIDTH, runs=runs)
        theory = ewma_count_run_length(limits, size=SIZE, rate=rate, weight=WEIGHT, width=WIDTH)
        yield _compared(f"EWMA of the rate, {name}", found, theory, details)
    for shift, published in PUBLISHED_EWMA.items():
        draw = simulated_run_lengths.normal(shift=shift, seed=SEED)
        found = simulated_run_lengths.ewma(draw, weight=0.5, width=3.071, runs=runs)
        yield _compared(f"EWMA, {shift:g} sigma, published", found, published, details)
    for shift, published in PUBLISHED_CUSUM.items():
        draw = simulated_run_lengths.normal(shift=shift, seed=SEED)
        found = simulated_run_lengths.cusum(draw, reference=0.5, interval=4, runs=runs)
        yield _compared(f"CUSUM, {shift:g} sigma, published", found, published, details)
    found = simulated_run_lengths.run_rules(WESTERN_ELECTRIC, runs=runs, seed=SEED)
    yield _compared("Western Electric rules, in control", found, run_rule_length(WESTERN_ELECTRIC, shift=0), details)
    yield _alone("Nelson's eight rules, in control", NELSON, runs)
    yield _alone("six rising or falling, in control", (RunRule.SIX_RISING_OR_FALLING,), runs // 4)
    yield _alone("fourteen alternating, in control", (RunRule.FOURTEEN_ALTERNATING,), runs // 4)
    details["cusum_5_in_control"] = cusum_run_length(reference=0.5, interval=5, shift=0)


def _compared(name: str, found: float, expected: float, details: dict[str, Any]) -> Row:
    details["run_lengths"].append({"name": name, "simulated": round(found, 3), "expected": round(expected, 3)})
    off = abs(found / expected - 1) * 100
    return Row(name=f"run length off: {name} ({expected:.4g} points)", value=round(off, 2), unit="%", at_most=5)


def _alone(name: str, rules: tuple[RunRule, ...], runs: int) -> Row:
    found = simulated_run_lengths.run_rules(rules, runs=runs, seed=SEED)
    return Row(name=f"run length, simulated: {name}", value=round(found, 1), unit="points")


def _alerts(details: dict[str, Any]) -> Iterator[Row]:
    shifts = alert_quality.shifts_found()
    details["shifts"] = [row._asdict() for row in shifts]
    found, all_shifts = sum(row.found for row in shifts), sum(row.shifts for row in shifts)
    yield Row(name=f"shifts found, of {all_shifts}", value=found, unit="shifts", at_least=all_shifts)
    for row in shifts:
        yield Row(name=f"median delay after rate x {row.factor:g}", value=row.median_delay, unit="points")
    dated = sum(row.dated for row in shifts)
    yield Row(name=f"shifts dated right a day later, of {all_shifts}", value=dated, unit="shifts")
    first, others = alert_quality.causes_found(alert_quality.RATE)
    name = f"causes of 3x over {alert_quality.CAUSE_PARTS} parts found first, of {alert_quality.CAUSES}"
    yield Row(name=f"{name}, at 5 %", value=first, unit="causes", at_least=alert_quality.CAUSES)
    yield Row(name="innocent levels pointed at with them", value=others, unit="levels")
    first, _ = alert_quality.causes_found(alert_quality.LOW_RATE)
    yield Row(name=f"{name}, at 3 %", value=first, unit="causes")
    for kind in (*alert_quality.KINDS, *alert_quality.MEASURED_KINDS):
        alarms = alert_quality.false_alarms_per_chart(kind)
        name = f"false alarms, {kind} chart, 30 days of hours"
        yield Row(name=name, value=round(alarms, 3), unit="per chart", at_most=1)
    for kind in ("ewma", "cusum"):
        for parts in alert_quality.FEW_PARTS_PER_HOUR:
            alarms = alert_quality.false_alarms_per_chart(kind, parts=parts)
            name = f"false alarms, {kind} chart, {parts * alert_quality.RATE:g} bad ones expected, 30 days of hours"
            yield Row(name=name, value=round(alarms, 3), unit="per chart")


def _pump(details: dict[str, Any]) -> Iterator[Row]:
    pooled = skab.score()
    if pooled is None:
        details["skab"] = f"skipped: {skab.FOLDER} is not there"
        return
    details["skab"] = {"files": pooled.files, "episodes": pooled.episodes, "missed_ratio": pooled.missed_ratio}
    yield Row(name="SKAB, pooled", value=round(pooled.f1, 3), unit="F1", at_least=0.78)
    yield Row(name="SKAB, false alarms", value=round(100 * pooled.false_alarm_ratio, 1), unit="%", at_most=20)
    yield Row(name="SKAB, anomalies met by an episode", value=pooled.found, unit="files", at_least=pooled.files)


def _replay(details: dict[str, Any]) -> Iterator[Row]:
    held = statistics_replay.state(STATIONS)
    yield Row(
        name=f"state of {STATIONS} stations x 20 classes x 4 windows, {held.parts} parts",
        value=round(held.mib, 1),
        unit="MiB",
    )
    counted = statistics_replay.replayed(REPLAYED, load_plant(statistics_topics.PLANT_FILE).statistics)
    details["replay"] = counted._asdict()
    yield Row(name=f"{REPLAYED} verdicts replayed", value=round(counted.seconds, 1), unit="s")
    yield Row(name="memory after them, the recount's included", value=round(counted.rss_mib), unit="MiB")
    yield Row(name="windows that differ from a recount", value=counted.differ, unit="windows", at_most=0)


def _topics(details: dict[str, Any]) -> Iterator[Row]:
    found = statistics_topics.measured(FROM_TOPIC, stations=STATIONS)
    details["topics"] = found
    yield Row(name="topic to topic, one aggregate", value=round(found["one_per_s"]), unit="verdicts/s")
    yield from _beside(found)
    name = "topic to topic, all windows and charts of the demo's plant file"
    yield Row(name=name, value=round(found["demo_per_s"]), unit="verdicts/s", at_least=20_000)
    name = "restart to the first correct figure"
    yield Row(name=name, value=round(found["restart_s"], 1), unit="s", at_most=5)


def _storm(details: dict[str, Any]) -> Iterator[Row]:
    found = alert_storm.measured()
    details["storm"] = found.as_json()
    yield from alert_storm.rows(found)


def _beside(found: dict[str, Any]) -> Iterator[Row]:
    """The ratio to each peer on the same topic; one that failed has no row, and its last words in the details."""
    for peer, rate in found["peers"].items():
        if isinstance(rate, float):
            yield Row(name=f"one aggregate, {peer}", value=round(rate), unit="verdicts/s")
            times = round(found["one_per_s"] / rate, 2)
            yield Row(name=f"one aggregate, times {peer}", value=times, unit="times", at_least=PEER_FLOORS[peer])


SECTIONS = {
    "run_lengths": _run_lengths,
    "alerts": _alerts,
    "pump": _pump,
    "replay": _replay,
    "topics": _topics,
    "storm": _storm,
}

if __name__ == "__main__":
    main()
