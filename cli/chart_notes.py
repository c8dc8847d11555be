"""What `linesight check` says of the control charts: how often each is wrong, and which of them can raise no alert yet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from cli.hints import next_command
from processors.chart_baselines import newest_baselines
from processors.chart_lengths import expected_count, mean_size, points_between_false_alarms, size_that_does
from processors.chart_windows import length_ms, overlapping_windows
from schemas.alert_rules import ChartRule
from schemas.chart_settings import AnyBaseline, Chart, CountedBaseline, NotOk
from schemas.plant import Plant

MONTH_MS = 30 * 24 * 3_600_000
FEWEST_EXPECTED = 5.0
"""Below so many bad parts or defects a point the lower limit of a chart of counts is 0 or 1, and rules about zones see next to nothing."""


def chart_notes(plant: Plant) -> list[dict[str, object]]:
    """One entry a chart: `points_between_false_alarms` is null where it is not known, and at least that many where windows overlap, at most
    `overlapping_windows` times as many; `frozen` names the subjects in phase II, of which the figure is that of the one that is wrong most
    often, `wrong_too_often` an EWMA or CUSUM of counts that is wrong more than once in 30 days, with the parts a point that would do (null
    where none would), and `fewest_expected` the one with the fewest bad parts or defects a point, and how many (null for measurements)."""
    return [_note(chart, plant) for chart in plant.statistics.charts]


def _note(chart: Chart, plant: Plant) -> dict[str, object]:
    frozen = newest_baselines(chart, plant.statistics.baselines)
    lengths = [points_between_false_alarms(chart, each) for each in frozen.values()]
    known = [length for length in lengths if length is not None]
    counts = {subject: expected_count(each) for subject, each in frozen.items() if isinstance(each, CountedBaseline)}
    fewest = min(counts, key=lambda subject: counts[subject], default=None)
    length = min(known) if known and len(known) == len(lengths) else points_between_false_alarms(chart)
    return {
        "chart": chart.name,
        "kind": chart.chart,
        "points_between_false_alarms": length,
        "overlapping_windows": overlapping_windows(chart, plant.statistics),
        "frozen": sorted(frozen),
        "fewest_expected": None if fewest is None else {"subject": fewest, "expected": round(counts[fewest], 2)},
        "wrong_too_often": _wrong_too_often(chart, frozen, plant),
        "several_stations": _several_stations(chart, plant),
        "alerts": [rule.name for rule in plant.alerts if isinstance(rule, ChartRule) and rule.chart == chart.name],
    }


def _wrong_too_often(chart: Chart, frozen: Mapping[str, AnyBaseline], plant: Plant) -> dict[str, object] | None:
    if chart.chart not in ("ewma", "cusum"):
        return None
    points = MONTH_MS / length_ms(chart, plant.statistics)
    worst: tuple[float, str, CountedBaseline] | None = None
    for subject, each in frozen.items():
        length = points_between_false_alarms(chart, each)
        if isinstance(each, CountedBaseline) and length is not None and length < points:
            worst = min(worst or (length, subject, each), (length, subject, each), key=lambda found: found[:2])
    if worst is None:
        return None
    _, subject, baseline = worst
    return {
        "subject": subject,
        "parts": mean_size(baseline),
        "would_do": size_that_does(chart, baseline, points=points),
    }


def _several_stations(chart: Chart, plant: Plant) -> bool:
    """Whether a part is counted NOT_OK or not once at each of several stations: then counts of a line follow no binomial law."""
    by_part = chart.by == "line" and isinstance(chart.figure, NotOk)
    return by_part and any(len(line.stations) > 1 for line in plant.lines)


def told(note: dict[str, object], *, plant_file: Path) -> str:
    """An entry in words."""
    length = note["points_between_false_alarms"]
    often = _often(length) if isinstance(length, float) else "false alarms: see docs/statistics.md"
    overlapping = note["overlapping_windows"]
    assert isinstance(overlapping, int)
    if overlapping > 1 and isinstance(length, float):
        often = f"a false alarm every {length:.0f} to {length * overlapping:.0f} points, for {overlapping} windows share each part"
    frozen = note["frozen"]
    assert isinstance(frozen, list)
    phase = f"phase II for {', '.join(frozen)}" if frozen else "phase I, no baseline is frozen"
    said = f"chart {note['chart']} ({note['kind']}): {often}; {phase}"
    alerts = note["alerts"]
    assert isinstance(alerts, list)
    if alerts and not frozen:
        words = f"baselines freeze --chart {note['chart']} --from TIME --to TIME --by NAME".split()
        freeze = next_command(*words, plant=plant_file)
        said += f"; alert {', '.join(alerts)} raises nothing until one is: {freeze}"
    fewest = note["fewest_expected"]
    if isinstance(fewest, dict) and fewest["expected"] < FEWEST_EXPECTED:
        said += (
            f"; {fewest['subject']} counts {fewest['expected']:g} a point: below {FEWEST_EXPECTED:g} it finds little but a rise, "
            "a longer window or an EWMA finds more"
        )
    wrong = note["wrong_too_often"]
    if isinstance(wrong, dict):
        would_do = wrong["would_do"]
        remedy = (
            f"points of about {would_do} parts (longer windows) would do"
            if would_do
            else "take a chart of exact limits"
        )
        said += f"; wrong more often than once in 30 days, for {wrong['subject']} has {wrong['parts']} parts a point: {remedy}"
    if note["several_stations"]:
        said += "; a part counts once at each station of a line: limits hold where stations fail independently, else take `by: station`"
    return said


def _often(length: float) -> str:
    return "no false alarm" if math.isinf(length) else f"a false alarm every {length:.0f} points"
