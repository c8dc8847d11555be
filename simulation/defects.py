"""Puts the six defects of bare boards into drawn copper, with the topology that defines each of them.

An open cuts a conductor, a short joins two, a mousebite eats into an edge, a spur grows out of one, spurious copper
touches nothing, and a pin-hole lies inside copper. Every placed defect is checked for exactly that.
Kinds after Moganti et al., "Automatic PCB inspection algorithms: a survey" (1996).
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
import numpy.typing as npt

from simulation.drawing import COPPER, SUPERSAMPLING, Mask, coverage

Box = tuple[int, int, int, int]


class DefectKind(StrEnum):
    """The six kinds, by their names in the literature and in the DeepPCB data set."""

    OPEN = "open"
    SHORT = "short"
    MOUSEBITE = "mousebite"
    SPUR = "spur"
    COPPER = "copper"
    PIN_HOLE = "pin-hole"


LABEL_SHORT_SIDE_PX: dict[DefectKind, tuple[int, int]] = {
    DefectKind.OPEN: (26, 54),
    DefectKind.SHORT: (24, 46),
    DefectKind.MOUSEBITE: (24, 39),
    DefectKind.SPUR: (25, 40),
    DefectKind.COPPER: (26, 47),
    DefectKind.PIN_HOLE: (24, 43),
}
"""5th and 95th percentile of the shorter box side. Source: DeepPCB trainval label boxes."""

LABEL_LONG_SIDE_PX: dict[DefectKind, tuple[int, int]] = {
    DefectKind.OPEN: (32, 90),
    DefectKind.SHORT: (35, 94),
    DefectKind.MOUSEBITE: (27, 53),
    DefectKind.SPUR: (30, 50),
    DefectKind.COPPER: (29, 60),
    DefectKind.PIN_HOLE: (28, 53),
}
"""5th and 95th percentile of the longer box side. Source: DeepPCB trainval label boxes."""

LABEL_MARGIN_PX = 10
"""Median distance from a label's side to the changed pixels. Source: DeepPCB trainval label boxes."""

MINIMUM_AREA_PX = 40
"""A smaller change than this is not drawn: the 5th percentile of the changed area inside DeepPCB trainval label boxes."""

_ATTEMPTS = 200
_SURROUNDINGS_PX = 24


@dataclass(frozen=True, slots=True)
class Ground:
    """What a clean artwork offers for defects; computed once per artwork.

    Attributes:
        mask: uint8 [S*H, S*W], copper 255, S = SUPERSAMPLING.
        inside_px: float32 [H, W], distance to the nearest empty px, 0 outside copper.
        outside_px: float32 [H, W], distance to the nearest copper, 0 inside copper.
        edges: float32 [N, 4], x, y and outward unit normal of points on copper edges.
        ridges: float32 [N, 3], x, y and half width in px of points in the middle of conductors.
    """

    mask: Mask
    inside_px: npt.NDArray[np.float32]
    outside_px: npt.NDArray[np.float32]
    edges: npt.NDArray[np.float32]
    ridges: npt.NDArray[np.float32]


def survey(mask: Mask) -> Ground:
    """Prepares a clean mask (as drawing.draw_artwork returns it) for `place`."""
    copper = np.where(mask[::SUPERSAMPLING, ::SUPERSAMPLING] > 0, np.uint8(1), np.uint8(0))
    inside = cv2.distanceTransform(copper, cv2.DIST_L2, 5)
    outside = cv2.distanceTransform(1 - copper, cv2.DIST_L2, 5)
    signed = cv2.GaussianBlur(outside - inside, (0, 0), 1.5)
    slope_x, slope_y = cv2.Sobel(signed, cv2.CV_32F, 1, 0), cv2.Sobel(signed, cv2.CV_32F, 0, 1)
    length = np.maximum(np.hypot(slope_x, slope_y), 1e-6)
    y, x = np.nonzero((inside > 0) & (inside <= 1.0) & (length > 0.5))
    edges = np.stack((x, y, slope_x[y, x] / length[y, x], slope_y[y, x] / length[y, x]), 1).astype(np.float32)
    crest = (inside >= cv2.dilate(inside, np.ones((3, 3), np.uint8))) & (inside > 1.5)
    y, x = np.nonzero(crest)
    ridges = np.stack((x, y, inside[y, x]), 1).astype(np.float32)
    return Ground(mask, np.asarray(inside, np.float32), np.asarray(outside, np.float32), edges, ridges)


def place(
    mask: Mask, ground: Ground, kind: DefectKind, *, keep_clear: list[Box], border_px: int, rng: np.random.Generator
) -> Box | None:
    """Draws one defect into `mask`, in place.

    Args:
        mask: uint8 [S*H, S*W], the artwork with the defects placed so far.
        ground: survey of the clean artwork.
        keep_clear: boxes (px of the mask / S) that the surroundings of the new defect may not touch.
        border_px: distance from the frame's border that the defect keeps.

    Returns:
        The half-open box of the changed px in frame px, or None when the artwork has no room for this kind.
    """
    for _ in range(_ATTEMPTS):
        stroke = _PROPOSALS[kind](ground, rng)
        if stroke is None:
            continue
        box = _accept(mask, stroke, kind, keep_clear=keep_clear, border_px=border_px, rng=rng)
        if box is not None:
            return box
    return None


@dataclass(frozen=True, slots=True)
class _Trace:
    """What the scribble of a defect follows: points in frame px and the width of the pen."""

    points: npt.NDArray[np.float64]
    width_px: float


def _accept(
    mask: Mask, trace: _Trace, kind: DefectKind, *, keep_clear: list[Box], border_px: int, rng: np.random.Generator
) -> Box | None:
    height, width = mask.shape[0] // SUPERSAMPLING, mask.shape[1] // SUPERSAMPLING
    reach = _SURROUNDINGS_PX + int(np.ceil(trace.width_px))
    left, top = np.floor(trace.points.min(0)).astype(int) - reach
    right, bottom = np.ceil(trace.points.max(0)).astype(int) + reach
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if right - left < 2 * border_px or bottom - top < 2 * border_px:
        return None
    window = mask[top * SUPERSAMPLING : bottom * SUPERSAMPLING, left * SUPERSAMPLING : right * SUPERSAMPLING]
    pen = _scribble(trace, (left, top), window.shape, rng)
    adds = kind in _ADDING
    changed = (pen > 0) & ((window == 0) if adds else (window > 0))
    if int(changed.sum()) < MINIMUM_AREA_PX * SUPERSAMPLING**2:
        return None
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    box = (
        int(left + columns[0] // SUPERSAMPLING),
        int(top + rows[0] // SUPERSAMPLING),
        int(left + columns[-1] // SUPERSAMPLING + 1),
        int(top + rows[-1] // SUPERSAMPLING + 1),
    )
    if not _size_fits(box, kind) or not _in_the_clear(box, keep_clear, border_px, width, height):
        return None
    if not _TOPOLOGY[kind](window > 0, changed):
        return None
    window[changed] = COPPER if adds else 0
    return box


def _size_fits(box: Box, kind: DefectKind) -> bool:
    short, long = sorted((box[2] - box[0] + 2 * LABEL_MARGIN_PX, box[3] - box[1] + 2 * LABEL_MARGIN_PX))
    least_short, most_short = LABEL_SHORT_SIDE_PX[kind]
    least_long, most_long = LABEL_LONG_SIDE_PX[kind]
    return least_short <= short <= most_short and least_long <= long <= most_long


def _in_the_clear(box: Box, keep_clear: list[Box], border_px: int, width: int, height: int) -> bool:
    if box[0] < border_px or box[1] < border_px or box[2] > width - border_px or box[3] > height - border_px:
        return False
    gap = _SURROUNDINGS_PX
    return not any(
        box[0] < other[2] + gap and other[0] < box[2] + gap and box[1] < other[3] + gap and other[1] < box[3] + gap
        for other in keep_clear
    )


def _scribble(trace: _Trace, origin: tuple[int, int], shape: tuple[int, ...], rng: np.random.Generator) -> Mask:
    """Draws the trace with an unsteady pen; now and then ragged, as etching residue is."""
    pen = np.zeros(shape, np.uint8)
    points = (trace.points - origin) * SUPERSAMPLING
    for start, end in itertools.pairwise(points):
        thickness = max(2, round(trace.width_px * SUPERSAMPLING * rng.uniform(0.75, 1.25)))
        cv2.line(pen, _whole(start), _whole(end), 255, thickness)
    for point in points:
        if rng.random() < 0.5:
            radius = trace.width_px * SUPERSAMPLING * rng.uniform(0.4, 0.8)
            axes = (max(1, round(radius)), max(1, round(radius * rng.uniform(0.6, 1.4))))
            cv2.ellipse(pen, _whole(point), axes, rng.uniform(0, 180), 0, 360, 255, -1)
    if rng.random() < 0.3:
        grain = rng.random((shape[0] // 4 + 1, shape[1] // 4 + 1)) < 0.12
        pen[np.kron(grain, np.ones((4, 4), bool))[: shape[0], : shape[1]]] = 0
    return pen


def _whole(point: npt.NDArray[np.float64]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _blob(centre: tuple[float, float], long_px: float, width_px: float, rng: np.random.Generator) -> _Trace:
    """A short wandering trace around a centre, `long_px` from end to end at most."""
    steps = int(rng.integers(1, 5))
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.9, steps))
    length = max(long_px - width_px, 0.5) / steps * rng.uniform(0.7, 1.1)
    points = np.vstack(([0.0, 0.0], np.cumsum(length * np.stack((np.cos(heading), np.sin(heading)), 1), 0)))
    return _Trace(points - (points.min(0) + points.max(0)) / 2 + np.asarray(centre), width_px)


def _wander(
    start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], width_px: float, rng: np.random.Generator
) -> _Trace:
    """A trace from start to end that strays sideways."""
    steps = int(rng.integers(1, 5))
    along = np.linspace(0, 1, steps + 1)[:, None]
    points = start + (end - start) * along
    points[1:-1] += rng.normal(0, 0.12 * float(np.hypot(*(end - start))) + 0.5, points[1:-1].shape)
    return _Trace(points, width_px)


def _tight(kind: DefectKind, rng: np.random.Generator) -> tuple[float, float]:
    """Long and short side of the defect itself, from the label sizes less their margin."""
    long = rng.uniform(*LABEL_LONG_SIDE_PX[kind]) - 2 * LABEL_MARGIN_PX
    short = rng.uniform(*LABEL_SHORT_SIDE_PX[kind]) - 2 * LABEL_MARGIN_PX
    return long, min(short, long)


def _propose_blob(distance: npt.NDArray[np.float32], kind: DefectKind, rng: np.random.Generator) -> _Trace | None:
    long, short = _tight(kind, rng)
    height, width = distance.shape
    for _ in range(20):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        if distance[y, x] > long / 2 + 2:
            return _blob((x, y), long, min(short, rng.uniform(3, 9)), rng)
    peak = np.argwhere(distance > short / 2 + 2)
    if len(peak) == 0:
        return None
    y, x = peak[rng.integers(len(peak))]
    return _blob((float(x), float(y)), min(long, 2 * float(distance[y, x]) - 4), min(short, rng.uniform(3, 7)), rng)


def _propose_copper(ground: Ground, rng: np.random.Generator) -> _Trace | None:
    return _propose_blob(ground.outside_px, DefectKind.COPPER, rng)


def _propose_pin_hole(ground: Ground, rng: np.random.Generator) -> _Trace | None:
    return _propose_blob(ground.inside_px, DefectKind.PIN_HOLE, rng)


def _propose_spur(ground: Ground, rng: np.random.Generator) -> _Trace | None:
    return _at_edge(ground, DefectKind.SPUR, rng)


def _propose_mousebite(ground: Ground, rng: np.random.Generator) -> _Trace | None:
    return _at_edge(ground, DefectKind.MOUSEBITE, rng)


def _at_edge(ground: Ground, kind: DefectKind, rng: np.random.Generator) -> _Trace | None:
    if len(ground.edges) == 0:
        return None
    x, y, nx, ny = ground.edges[rng.integers(len(ground.edges))].astype(float)
    outward = 1.0 if kind is DefectKind.SPUR else -1.0
    long, short = _tight(kind, rng)
    length, breadth = (long, short) if rng.random() < 0.5 else (short, long)
    normal, edge = np.array((nx, ny)), np.array((x, y))
    tip = edge + outward * normal * length + rng.normal(0, 0.35 * length) * np.array((-ny, nx))
    if breadth > length:  # a wide, shallow one: runs along the edge
        half = np.array((-ny, nx)) * (breadth - length) / 2
        depth = outward * normal * length * rng.uniform(0.2, 0.5)
        return _wander(edge - half + depth, edge + half + depth, length * rng.uniform(0.8, 1.2), rng)
    return _wander(edge - outward * normal, tip, min(breadth, rng.uniform(3, 9)), rng)


def _propose_short(ground: Ground, rng: np.random.Generator) -> _Trace | None:
    """From an edge straight across the gap, with a slant, into the next copper."""
    if len(ground.edges) == 0:
        return None
    x, y, nx, ny = ground.edges[rng.integers(len(ground.edges))].astype(float)
    slant = rng.normal(0, 0.4)
    direction = np.array((nx - slant * ny, ny + slant * nx))
    direction /= np.hypot(*direction)
    edge = np.array((x, y))
    height, width = ground.inside_px.shape
    for step in np.arange(4.0, LABEL_LONG_SIDE_PX[DefectKind.SHORT][1] - 2 * LABEL_MARGIN_PX, 1.0):
        column, row = _whole(edge + step * direction)
        if not (0 <= column < width and 0 <= row < height):
            return None
        if ground.inside_px[row, column] > 0:
            return _wander(edge - 2 * direction, edge + (step + 3) * direction, rng.uniform(3.5, 14), rng)
    return None


def _propose_open(ground: Ground, rng: np.random.Generator) -> _Trace | None:
    """Across a conductor at its middle, towards its nearest edges."""
    if len(ground.ridges) == 0:
        return None
    x, y, half = ground.ridges[rng.integers(len(ground.ridges))].astype(float)
    if half > (LABEL_LONG_SIDE_PX[DefectKind.OPEN][1] - 2 * LABEL_MARGIN_PX) / 2:
        return None
    nearest = np.argmin((ground.edges[:, 0] - x) ** 2 + (ground.edges[:, 1] - y) ** 2)
    across = ground.edges[nearest, 2:].astype(float)
    slant = rng.normal(0, 0.35)
    direction = np.array((across[0] - slant * across[1], across[1] + slant * across[0]))
    reach = direction / max(np.hypot(*direction), 1e-6) * (half * (1 + slant**2) ** 0.5 + 3)
    centre = np.array((x, y))
    return _wander(centre - reach, centre + reach, rng.uniform(3.5, 16), rng)


def _copper_parts(copper: npt.NDArray[np.bool_]) -> int:
    return int(cv2.connectedComponents(copper.astype(np.uint8), connectivity=8)[0]) - 1


def _empty_parts(copper: npt.NDArray[np.bool_]) -> int:
    return int(cv2.connectedComponents((~copper).astype(np.uint8), connectivity=8)[0]) - 1


def _grown(changed: npt.NDArray[np.bool_], by_px: int) -> npt.NDArray[np.bool_]:
    side = 2 * by_px * SUPERSAMPLING + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.dilate(changed.astype(np.uint8), kernel) > 0)


def _mostly_copper(copper: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """bool [H, W] of bool [S*H, S*W]: the px of the frame that are more than half copper."""
    share = coverage(copper.astype(np.uint8) * COPPER) / COPPER
    return np.asarray(share > 0.6)  # half is rounded up a little


def _joins(copper: npt.NDArray[np.bool_], changed: npt.NDArray[np.bool_]) -> bool:
    """Fewer separate conductors than before, none of them cut off by the edge of the window being counted twice."""
    after = copper | changed
    if _copper_parts(after) >= _copper_parts(copper) or _empty_parts(after) < _empty_parts(copper):
        return False
    # a thin joint can look open where the camera's px are only partly copper
    return _copper_parts(_mostly_copper(after)) < _copper_parts(_mostly_copper(copper))


def _cuts(copper: npt.NDArray[np.bool_], changed: npt.NDArray[np.bool_]) -> bool:
    """More separate conductors than before, each more than a crumb; or a ring that is no longer closed."""
    left = copper & ~changed
    count, _, stats, _ = cv2.connectedComponentsWithStats(left.astype(np.uint8), connectivity=8)
    crumb = (5 * SUPERSAMPLING) ** 2
    pieces = int(np.sum(stats[1:count, cv2.CC_STAT_AREA] > crumb))
    return pieces > _copper_parts(copper) or _empty_parts(left) < _empty_parts(copper)


def _bites(copper: npt.NDArray[np.bool_], changed: npt.NDArray[np.bool_]) -> bool:
    """Reaches the edge, and leaves the conductor in one piece with something to spare."""
    touches = bool(np.any(_grown(changed, 1) & ~copper))
    left = copper & ~_grown(changed, 1)
    return touches and _copper_parts(left) == _copper_parts(copper) and _empty_parts(left) == _empty_parts(copper)


def _sticks_out(copper: npt.NDArray[np.bool_], changed: npt.NDArray[np.bool_]) -> bool:
    """Touches one conductor and keeps clear of the others and of itself."""
    touches = bool(np.any(_grown(changed, 1) & copper))
    after = copper | changed
    if not touches or _copper_parts(after) != _copper_parts(copper):
        return False
    near = copper | _grown(changed, 2)
    if _copper_parts(near) != _copper_parts(copper) or _empty_parts(near) != _empty_parts(copper):
        return False
    # a thin tip can look cut off where the camera's px are only partly copper
    return _copper_parts(_mostly_copper(after)) == _copper_parts(_mostly_copper(copper))


def _stands_alone(copper: npt.NDArray[np.bool_], changed: npt.NDArray[np.bool_]) -> bool:
    return not bool(np.any(_grown(changed, 3) & copper))


def _is_inside(copper: npt.NDArray[np.bool_], changed: npt.NDArray[np.bool_]) -> bool:
    return not bool(np.any(_grown(changed, 2) & ~copper))


_ADDING = frozenset((DefectKind.SHORT, DefectKind.SPUR, DefectKind.COPPER))
_PROPOSALS: dict[DefectKind, Callable[[Ground, np.random.Generator], _Trace | None]] = {
    DefectKind.OPEN: _propose_open,
    DefectKind.SHORT: _propose_short,
    DefectKind.MOUSEBITE: _propose_mousebite,
    DefectKind.SPUR: _propose_spur,
    DefectKind.COPPER: _propose_copper,
    DefectKind.PIN_HOLE: _propose_pin_hole,
}
_TOPOLOGY: dict[DefectKind, Callable[[npt.NDArray[np.bool_], npt.NDArray[np.bool_]], bool]] = {
    DefectKind.OPEN: _cuts,
    DefectKind.SHORT: _joins,
    DefectKind.MOUSEBITE: _bites,
    DefectKind.SPUR: _sticks_out,
    DefectKind.COPPER: _stands_alone,
    DefectKind.PIN_HOLE: _is_inside,
}
