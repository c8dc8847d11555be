"""A bar chart of measured rates, as PNG beside the figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure


def bars(path: Path, rates: Mapping[str, list[float]], *, unit: str) -> None:
    """One bar per candidate at its middle round; a dot for every round."""
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    for number, (name, values) in enumerate(rates.items()):
        axes.barh(number, sorted(values)[len(values) // 2], color="#7fa6d6")
        axes.plot(values, [number] * len(values), "o", color="#2b5fa8", markersize=4)
        axes.text(0, number, f" {name}", va="center")
    axes.set_yticks([])
    axes.set_xlabel(unit)
    axes.invert_yaxis()
    figure.savefig(path, dpi=120)
