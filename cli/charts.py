"""Small charts as SVG text for the report: bars, a p-chart, a histogram. No script, no outside resource."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from processors.quality.pareto import ParetoRow
from processors.quality.position_map import Cluster
from processors.report_chart import MarkedPoint
from schemas.statistics import ControlPoint

WIDTH_PX, HEIGHT_PX = 640, 220
MAP_CELL_PX = 6
CROWDED_P = 0.01
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 48, 24, 20, 34


def pareto(rows: Sequence[ParetoRow]) -> str:
    """Bars in falling order with the cumulative share as a line."""
    if not rows:
        return _empty("no defects")
    top = rows[0].number
    slot = _inner_width() / len(rows)
    parts, line = [], []
    for index, row in enumerate(rows):
        x, height = LEFT_PX + index * slot, _inner_height() * row.number / top
        parts.append(
            f'<rect class="bar" x="{x + slot * 0.15:.1f}" y="{_bottom() - height:.1f}" width="{slot * 0.7:.1f}" height="{height:.1f}"/>'
            f'<text class="label" x="{x + slot / 2:.1f}" y="{_bottom() - height - 4:.1f}">{row.number}</text>'
            f'<text class="label" x="{x + slot / 2:.1f}" y="{HEIGHT_PX - 16}">{escape(row.category)}</text>'
        )
        line.append(f"{x + slot / 2:.1f},{_bottom() - _inner_height() * row.cumulative_ratio:.1f}")
    parts.append(f'<polyline class="line" points="{" ".join(line)}"/>')
    return _svg(
        "".join(parts) + _y_axis([(0, "0"), (1, str(top))]), "Pareto of defects by class; line: cumulative share"
    )


def p_chart(named_points: Sequence[tuple[str, ControlPoint]], centre: float) -> str:
    """Share not OK of each subgroup with exact limits; points beyond a limit are marked."""
    if not named_points:
        return _empty("too few decided parts")
    points = [point for _, point in named_points]
    top = max(0.05, *(point.value for point in points), *(point.upper for point in points)) * 1.1
    top = min(top, 1.0)
    slot = _inner_width() / len(points)

    def x(index: int) -> float:
        return LEFT_PX + (index + 0.5) * slot

    def y(value: float) -> float:
        return _bottom() - _inner_height() * value / top

    limits = "".join(
        f'<line class="limit" x1="{x(i) - slot / 2:.1f}" x2="{x(i) + slot / 2:.1f}" y1="{y(limit):.1f}" y2="{y(limit):.1f}"/>'
        for i, point in enumerate(points)
        for limit in (point.lower, point.upper)
    )
    line = " ".join(f"{x(i):.1f},{y(point.value):.1f}" for i, point in enumerate(points))
    dots = "".join(
        f'<circle class="{"outside" if point.outside else "inside"}" cx="{x(i):.1f}" cy="{y(point.value):.1f}" r="3.5">'
        f"<title>{escape(name)}: {point.value:.1%}</title></circle>"
        for i, (name, point) in enumerate(named_points)
    )
    every = max(1, len(points) // 8)
    names = "".join(
        f'<text class="label" x="{x(i):.1f}" y="{HEIGHT_PX - 16}">{escape(name)}</text>'
        for i, (name, _) in enumerate(named_points)
        if i % every == 0
    )
    middle = (
        f'<line class="centre" x1="{LEFT_PX}" x2="{WIDTH_PX - RIGHT_PX}" y1="{y(centre):.1f}" y2="{y(centre):.1f}"/>'
    )
    body = limits + middle + f'<polyline class="line" points="{line}"/>' + dots + names
    return _svg(
        body + _y_axis([(0, "0"), (1, f"{top:.0%}")]), "p-chart: share of parts not OK, with exact binomial limits"
    )


def control_chart(points: Sequence[MarkedPoint], name_of: Callable[[int], str]) -> str:
    """A p-chart as `p_chart` draws it; points that complete a run rule are ringed, and say which when pointed at."""
    if not points:
        return _empty("no decided part")
    top = min(1.0, max(0.05, *(point.value for point in points), *(point.upper for point in points)) * 1.1)
    slot = _inner_width() / len(points)

    def x(index: int) -> float:
        return LEFT_PX + (index + 0.5) * slot

    def y(value: float) -> float:
        return _bottom() - _inner_height() * value / top

    parts = [
        f'<line class="limit" x1="{x(i) - slot / 2:.1f}" x2="{x(i) + slot / 2:.1f}" y1="{y(limit):.1f}" y2="{y(limit):.1f}"/>'
        for i, point in enumerate(points)
        for limit in (point.lower, point.upper)
    ]
    centre = y(points[0].centre)
    parts.append(
        f'<line class="centre" x1="{LEFT_PX}" x2="{WIDTH_PX - RIGHT_PX}" y1="{centre:.1f}" y2="{centre:.1f}"/>'
    )
    parts.append(
        f'<polyline class="line" points="{" ".join(f"{x(i):.1f},{y(p.value):.1f}" for i, p in enumerate(points))}"/>'
    )
    every = max(1, len(points) // 8)
    for i, point in enumerate(points):
        name = name_of(point.start_at_ns)
        told = "; ".join(
            (["beyond a limit"] if point.outside else []) + [rule.replace("_", " ") for rule in point.rules]
        )
        ring = f'<circle class="ring" cx="{x(i):.1f}" cy="{y(point.value):.1f}" r="7"/>' if point.rules else ""
        parts.append(
            f'{ring}<circle class="{"outside" if point.outside else "inside"}" cx="{x(i):.1f}" cy="{y(point.value):.1f}" r="3.5">'
            f"<title>{escape(name)}: {point.not_ok} of {point.decided}, {point.value:.1%}{'; ' if told else ''}{told}</title></circle>"
        )
        if i % every == 0:
            parts.append(f'<text class="label" x="{x(i):.1f}" y="{HEIGHT_PX - 16}">{escape(name)}</text>')
    return _svg(
        "".join(parts) + _y_axis([(0, "0"), (1, f"{top:.0%}")]), "p-chart with exact binomial limits; rings: run rules"
    )


def defect_map(cells: Sequence[Sequence[int]], crowd: Cluster | None) -> str:
    """Where defects lie on a part: darker cells have more parts; a frame around the place that crowds more than by chance."""
    highest = max((max(row) for row in cells), default=0) or 1
    squares = "".join(
        f'<rect class="cell" x="{column * MAP_CELL_PX}" y="{row * MAP_CELL_PX}" width="{MAP_CELL_PX}" height="{MAP_CELL_PX}" '
        f'fill-opacity="{0.15 + 0.85 * count / highest:.2f}"><title>{count}</title></rect>'
        for row, counts in enumerate(cells)
        for column, count in enumerate(counts)
        if count
    )
    edge = MAP_CELL_PX * len(cells)
    frame = ""
    if crowd is not None and crowd.p_value <= CROWDED_P:
        width, height = crowd.right_ratio - crowd.left_ratio, crowd.bottom_ratio - crowd.top_ratio
        frame = (
            f'<rect class="crowd" x="{crowd.left_ratio * edge:.1f}" y="{crowd.top_ratio * edge:.1f}" '
            f'width="{width * edge:.1f}" height="{height * edge:.1f}"/>'
        )
    return (
        f'<svg viewBox="-1 -1 {edge + 2} {edge + 2}" role="img" aria-label="map of defects">'
        f'<rect class="part" width="{edge}" height="{edge}"/>{squares}{frame}</svg>'
    )


def histogram(values_ms: Sequence[float], *, bins: int = 30) -> str:
    """Counts of latencies in equal bins from 0 to the 99.5th percentile; what lies above is in the last bin."""
    if not values_ms:
        return _empty("no samples")
    ordered = sorted(values_ms)
    top_ms = max(1.0, ordered[min(len(ordered) - 1, int(len(ordered) * 0.995))])
    counts = [0] * bins
    for value in ordered:
        counts[min(bins - 1, int(bins * value / top_ms))] += 1
    slot, highest = _inner_width() / bins, max(counts)
    bars = "".join(
        f'<rect class="bar" x="{LEFT_PX + i * slot + 0.5:.1f}" y="{_bottom() - _inner_height() * count / highest:.1f}" '
        f'width="{slot - 1:.1f}" height="{_inner_height() * count / highest:.1f}"><title>{i * top_ms / bins:.0f} ms: {count}</title></rect>'
        for i, count in enumerate(counts)
    )
    ticks = "".join(
        f'<text class="label" x="{LEFT_PX + _inner_width() * share:.1f}" y="{HEIGHT_PX - 16}">{top_ms * share:.0f} ms</text>'
        for share in (0, 0.25, 0.5, 0.75, 1)
    )
    return _svg(
        bars + ticks + _y_axis([(0, "0"), (1, str(highest))]), "Histogram: trigger to acknowledgement of the PLC"
    )


def _inner_width() -> float:
    return WIDTH_PX - LEFT_PX - RIGHT_PX


def _inner_height() -> float:
    return HEIGHT_PX - TOP_PX - BOTTOM_PX


def _bottom() -> float:
    return HEIGHT_PX - BOTTOM_PX


def _y_axis(ticks: Sequence[tuple[float, str]]) -> str:
    axis = f'<line class="axis" x1="{LEFT_PX}" x2="{LEFT_PX}" y1="{TOP_PX}" y2="{_bottom()}"/>'
    axis += f'<line class="axis" x1="{LEFT_PX}" x2="{WIDTH_PX - RIGHT_PX}" y1="{_bottom()}" y2="{_bottom()}"/>'
    return axis + "".join(
        f'<text class="tick" x="{LEFT_PX - 6}" y="{_bottom() - _inner_height() * share + 4:.1f}">{escape(text)}</text>'
        for share, text in ticks
    )


def _svg(body: str, title: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}" role="img" aria-label="{escape(title)}">{body}</svg>'


def _empty(text: str) -> str:
    return _svg(f'<text class="label" x="{WIDTH_PX / 2}" y="{HEIGHT_PX / 2}">{escape(text)}</text>', text)
