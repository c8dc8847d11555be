"""A bar chart of measured rates, as PNG beside the figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

OURS, OTHERS = "#7fa6d6", "#cfd4da"


def bars(path: Path, rates: Mapping[str, list[float]], *, unit: str) -> None:
    """One bar per candidate at its middle round, the fastest on top, the inspect stage in colour; a dot for every round."""
    figure = Figure(figsize=(6.4, 0.4 * len(rates) + 0.8), layout="constrained")
    axes = figure.subplots()
    by_rate = sorted(rates.items(), key=lambda item: -median(item[1]))
    for number, (name, values) in enumerate(by_rate):
        axes.barh(number, median(values), color=OURS if name.startswith("inspect") else OTHERS)
        axes.plot(values, [number] * len(values), "o", color="#2b5fa8", markersize=4)
    axes.set_yticks(range(len(by_rate)), [name for name, _ in by_rate])
    axes.set_xlabel(unit)
    axes.invert_yaxis()
    figure.savefig(path, dpi=120)
