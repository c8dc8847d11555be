"""Wrong verdicts along a run, as SVG text: what the light did to the model, and what it learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH_PX, HEIGHT_PX = 1080, 260
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 48, 24, 34, 34
TICKS = 10


def learning_chart(points: Sequence[Mapping[str, Any]], moments: Sequence[tuple[int, str, str]]) -> str:
    """The share of wrong verdicts of each point (`processors.learning_figures`), over the number of parts that had come; `moments` are
    dashed lines: after which part, the mark that stands above it, and what is said when it is pointed at."""
    if not points:
        return _svg(f'<text class="label" x="{WIDTH_PX / 2}" y="{HEIGHT_PX / 2}">no part was judged</text>')
    last: int = points[-1]["first_part"] + points[-1]["parts"] - 1

    def x(part: float) -> float:
        return LEFT_PX + (WIDTH_PX - LEFT_PX - RIGHT_PX) * part / last

    def y(ratio: float) -> float:
        return HEIGHT_PX - BOTTOM_PX - (HEIGHT_PX - TOP_PX - BOTTOM_PX) * ratio

    lines = "".join(
        f'<line class="moment" x1="{x(part):.1f}" x2="{x(part):.1f}" y1="{TOP_PX}" y2="{y(0):.1f}"><title>{escape(told)}</title></line>'
        f'<text class="label" x="{x(part):.1f}" y="{TOP_PX - 6 - 12 * (place % 2)}">{escape(mark)}<title>{escape(told)}</title></text>'
        for place, (part, mark, told) in enumerate(moments)
    )
    middles = [(x(each["first_part"] - 1 + each["parts"] / 2), y(each["wrong_ratio"])) for each in points]
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in middles)
    dots = "".join(_dot(each, px, py) for (px, py), each in zip(middles, points, strict=True))
    step = max(1, round(last / TICKS / 10) * 10)
    ticks = "".join(
        f'<text class="label" x="{x(part):.1f}" y="{HEIGHT_PX - 14}">{part}</text>' for part in range(0, last + 1, step)
    )
    axis = (
        f'<line class="axis" x1="{LEFT_PX}" x2="{LEFT_PX}" y1="{TOP_PX}" y2="{y(0):.1f}"/>'
        f'<line class="axis" x1="{LEFT_PX}" x2="{WIDTH_PX - RIGHT_PX}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>'
    )
    shares = "".join(
        f'<text class="tick" x="{LEFT_PX - 6}" y="{y(share) + 4:.1f}">{share:.0%}</text>' for share in (0, 0.5, 1)
    )
    return _svg(lines + axis + shares + ticks + f'<polyline class="line" points="{path}"/>' + dots)


def _dot(point: Mapping[str, Any], x_px: float, y_px: float) -> str:
    kind = "outside" if point["wrong_ratio"] else "inside"
    return f'<circle class="{kind}" cx="{x_px:.1f}" cy="{y_px:.1f}" r="3.5"><title>{_told(point)}</title></circle>'


def _told(point: Mapping[str, Any]) -> str:
    last = point["first_part"] + point["parts"] - 1
    return (
        f"parts {point['first_part']} to {last}: {point['escapes']} escapes, {point['overkill']} overkill "
        f"of {point['parts']}, {point['bad']} of them bad"
    )


def _svg(body: str) -> str:
    title = "Share of wrong verdicts along the run; dashed lines: the steps of the table below"
    return f'<svg viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}" role="img" aria-label="{title}">{body}</svg>'
