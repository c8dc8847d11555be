"""A control chart of the plant file as SVG text: points, centre, limits that may move, signals; any unit, also below zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from cli.charts import BOTTOM_PX, HEIGHT_PX, LEFT_PX, RIGHT_PX, TOP_PX, WIDTH_PX
from schemas.charts import ChartPoint

NAMES = 8
"""Moments that are written below the axis."""


def drawn(points: Sequence[ChartPoint], name_of: Callable[[int], str]) -> str:
    """At least one point, each with a value. A point that signals is red, one that completes a run rule ringed."""
    heights = [height for point in points for height in (point.value, point.lower, point.upper) if height is not None]
    low, high = min(heights), max(heights)
    reach = (high - low) or abs(high) or 1.0
    bottom, top = low - 0.05 * reach, high + 0.05 * reach
    slot = (WIDTH_PX - LEFT_PX - RIGHT_PX) / len(points)

    def x(index: float) -> float:
        return LEFT_PX + (index + 0.5) * slot

    def y(value: float) -> float:
        return HEIGHT_PX - BOTTOM_PX - (HEIGHT_PX - BOTTOM_PX - TOP_PX) * (value - bottom) / (top - bottom)

    parts = []
    for index, point in enumerate(points):
        for kind, height in (("limit", point.lower), ("limit", point.upper), ("centre", point.centre)):
            if height is not None:
                ends = f'x1="{x(index - 0.5):.1f}" x2="{x(index + 0.5):.1f}" y1="{y(height):.1f}" y2="{y(height):.1f}"'
                parts.append(f'<line class="{kind}" {ends}/>')
    line = " ".join(f"{x(index):.1f},{y(point.value or 0.0):.1f}" for index, point in enumerate(points))
    parts.append(f'<polyline class="line" points="{line}"/>')
    every = max(1, len(points) // NAMES)
    for index, point in enumerate(points):
        parts.append(_dot(point, x(index), y(point.value or 0.0), name_of(point.start_at_ns)))
        if index % every == 0:
            name = escape(name_of(point.start_at_ns))
            parts.append(f'<text class="label" x="{x(index):.1f}" y="{HEIGHT_PX - 16}">{name}</text>')
    for height in (low, high):
        parts.append(f'<text class="tick" x="{LEFT_PX - 6}" y="{y(height) + 4:.1f}">{height:.4g}</text>')
    title = escape(f"{points[-1].kind} chart {points[-1].chart} of {points[-1].subject}")
    return f'<svg viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}" role="img" aria-label="{title}">{"".join(parts)}</svg>'


def _dot(point: ChartPoint, x: float, y: float, name: str) -> str:
    ring = f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="7"/>' if point.rules else ""
    why = f"; {point.why()}" if point.signals else ""
    return (
        f'{ring}<circle class="{"outside" if point.signals else "inside"}" cx="{x:.1f}" cy="{y:.1f}" r="3.5">'
        f"<title>{escape(f'{name}: {point.value:.6g}{why}')}</title></circle>"
    )
