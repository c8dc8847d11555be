"""What `linesight check` says of the control charts: how often each is wrong, and which of them can raise no alert yet."""

from __future__ import annotations

from pathlib import Path

from cli.hints import next_command
from processors.chart_lengths import points_between_false_alarms
from processors.chart_windows import overlapping_windows
from schemas.alert_rules import ChartRule
from schemas.plant import Plant


def chart_notes(plant: Plant) -> list[dict[str, object]]:
    """One entry a chart: `points_between_false_alarms` is null where it is not known, and at least that many where windows overlap, at most
    `overlapping_windows` times as many; `frozen` names the subjects in phase II."""
    return [
        {
            "chart": chart.name,
            "kind": chart.chart,
            "points_between_false_alarms": points_between_false_alarms(chart),
            "overlapping_windows": overlapping_windows(chart, plant.statistics),
            "frozen": sorted({each.subject for each in plant.statistics.baselines if each.chart == chart.name}),
            "alerts": [rule.name for rule in plant.alerts if isinstance(rule, ChartRule) and rule.chart == chart.name],
        }
        for chart in plant.statistics.charts
    ]


def told(note: dict[str, object], *, plant_file: Path) -> str:
    """An entry in words."""
    length = note["points_between_false_alarms"]
    often = (
        f"a false alarm every {length:.0f} points"
        if isinstance(length, float)
        else "false alarms: see docs/statistics.md"
    )
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
    return said
