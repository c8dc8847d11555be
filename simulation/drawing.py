"""Draws the copper of bare circuit boards: tracks, pads, vias, pours, as a mask twice as fine as the frame.

The artwork is made of elements (a bus, a row of pads, a pour, ...), each a list of strokes. An element is kept when it
keeps its distance from the copper that is already there, which is checked on a coarse map, so that a board costs
milliseconds. All coordinates are frame px, x to the right and y down.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.uint8]
Point = tuple[float, float]

SUPERSAMPLING = 2
"""Mask px per frame px, so that edges get grey levels when a mask is reduced to a frame."""
COPPER = 255
_COARSE = 0.25
_SHIFT = 4
_ATTEMPTS_PER_ELEMENT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtworkStyle:
    """How a board looks. Ranges are (least, most), lengths in frame px, counts in elements tried.

    `pours` are copper areas, `buses` parallel tracks, `nets` single tracks with pads or vias at their ends, `pad_rows`
    surface-mount pads, `via_grids` plated holes, `dots` lone round pads.
    """

    track_px: tuple[float, float]
    gap_px: tuple[float, float]
    pad_px: tuple[float, float]
    pours: int
    buses: int
    nets: int
    pad_rows: int
    via_grids: int
    dots: int


@dataclass(frozen=True, slots=True)
class _Stroke:
    """A line through `points`, `width_px` wide; a filled outline when `width_px` is 0. Erases unless `copper`."""

    points: tuple[Point, ...]
    width_px: float
    copper: bool = True


_Element = list[_Stroke]


def draw_artwork(style: ArtworkStyle, *, size_px: int, rng: np.random.Generator) -> Mask:
    """Draws one board.

    Returns:
        uint8 [SUPERSAMPLING * size_px, SUPERSAMPLING * size_px], 255 where there is copper, 0 elsewhere.
    """
    fine = np.zeros((size_px * SUPERSAMPLING,) * 2, np.uint8)
    coarse = np.zeros((math.ceil(size_px * _COARSE),) * 2, np.uint8)
    plan: Sequence[tuple[int, Callable[[ArtworkStyle, int, np.random.Generator], _Element]]] = (
        (style.pours, _pour),
        (style.via_grids, _via_grid),
        (style.pad_rows, _pad_row),
        (style.buses, _bus),
        (style.nets, _net),
        (style.dots, _dot),
    )
    for count, element in plan:
        for _ in range(count):
            for _ in range(_ATTEMPTS_PER_ELEMENT):
                strokes = element(style, size_px, rng)
                if _place(strokes, fine, coarse, clearance_px=rng.uniform(*style.gap_px)):
                    break
    return fine


def coverage(mask: Mask) -> Mask:
    """Reduces a mask to frame px: uint8 [H, W], 255 where a px is all copper."""
    height, width = mask.shape
    size = (width // SUPERSAMPLING, height // SUPERSAMPLING)
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.uint8)


def _place(strokes: _Element, fine: Mask, coarse: Mask, *, clearance_px: float) -> bool:
    wanted = np.zeros_like(coarse)
    for stroke in strokes:
        if stroke.copper:
            _draw(wanted, stroke, scale=_COARSE, grow_px=clearance_px)
    if np.any(wanted & coarse):
        return False
    for stroke in strokes:
        _draw(fine, stroke, scale=SUPERSAMPLING, grow_px=0.0)
        if stroke.copper:
            _draw(coarse, stroke, scale=_COARSE, grow_px=0.0)
    return True


def _draw(mask: Mask, stroke: _Stroke, *, scale: float, grow_px: float) -> None:
    value = COPPER if stroke.copper else 0
    fixed = np.round(np.asarray(stroke.points) * scale * (1 << _SHIFT)).astype(np.int32)
    if stroke.width_px == 0.0:
        cv2.fillPoly(mask, [fixed], value, cv2.LINE_8, _SHIFT)
        if grow_px > 0.0:
            cv2.polylines(mask, [fixed], True, value, max(1, round(2 * grow_px * scale)), cv2.LINE_8, _SHIFT)
        return
    thickness = max(1, round((stroke.width_px + 2 * grow_px) * scale))
    cv2.polylines(mask, [fixed], False, value, thickness, cv2.LINE_8, _SHIFT)


def _bus(style: ArtworkStyle, size_px: int, rng: np.random.Generator) -> _Element:
    """Parallel tracks that turn together by 45 degrees."""
    width, gap = rng.uniform(*style.track_px), rng.uniform(*style.gap_px)
    spine = _walk(size_px, rng, legs=int(rng.integers(1, 5)), leg_px=(60, 320))
    count = int(rng.integers(2, 9))
    offsets = (np.arange(count) - (count - 1) / 2) * (width + gap)
    return [_Stroke(_offset(spine, float(offset)), width) for offset in offsets]


def _net(style: ArtworkStyle, size_px: int, rng: np.random.Generator) -> _Element:
    """One track with a pad, a plated hole or nothing at each end."""
    path = _walk(size_px, rng, legs=int(rng.integers(1, 4)), leg_px=(25, 160))
    strokes = [_Stroke(path, rng.uniform(*style.track_px))]
    for end in (path[0], path[-1]):
        strokes += _termination(style, end, rng)
    return strokes


def _pad_row(style: ArtworkStyle, size_px: int, rng: np.random.Generator) -> _Element:
    """A row of rounded rectangles, some with a track that leaves them."""
    width, length = rng.uniform(*style.pad_px), rng.uniform(*style.pad_px) * rng.uniform(1.0, 2.5)
    pitch = width + rng.uniform(*style.gap_px)
    along = _DIRECTIONS[2 * int(rng.integers(0, 4))]
    across = (-along[1], along[0])
    x, y = rng.uniform(0, size_px, 2)
    radius = rng.uniform(0.1, 0.5) * width
    strokes: _Element = []
    for index in range(int(rng.integers(1, 9))):
        centre = (x + along[0] * pitch * index, y + along[1] * pitch * index)
        strokes += _rounded(centre, along, across, (width / 2, length / 2), radius)
        if rng.random() < 0.4:
            reach = length / 2 + rng.uniform(15, 60)
            end = (centre[0] + across[0] * reach, centre[1] + across[1] * reach)
            strokes.append(_Stroke((centre, end), min(width, rng.uniform(*style.track_px))))
    return strokes


def _via_grid(style: ArtworkStyle, size_px: int, rng: np.random.Generator) -> _Element:
    """Plated holes on a grid."""
    outer = rng.uniform(*style.pad_px)
    inner = outer * rng.uniform(0.3, 0.6)
    pitch = outer + rng.uniform(*style.gap_px)
    x, y = rng.uniform(0, size_px, 2)
    columns, rows = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    centres = [(x + column * pitch, y + row * pitch) for column in range(columns) for row in range(rows)]
    rings = [_Stroke(_circle(centre, outer / 2), 0.0) for centre in centres]
    return rings + [_Stroke(_circle(centre, inner / 2), 0.0, copper=False) for centre in centres]


def _pour(style: ArtworkStyle, size_px: int, rng: np.random.Generator) -> _Element:
    """A copper area with cut corners, clearance holes and slots; sometimes round."""
    x, y = rng.uniform(-0.1 * size_px, size_px, 2)
    width, height = rng.uniform(50, 0.45 * size_px, 2)
    if rng.random() < 0.2:
        outline = _circle((x, y), max(width, height) / 2)
    else:
        cut = rng.uniform(0, 0.4, 4) * min(width, height)
        outline = (
            (x + cut[0], y),
            (x + width - cut[1], y),
            (x + width, y + cut[1]),
            (x + width, y + height - cut[2]),
            (x + width - cut[2], y + height),
            (x + cut[3], y + height),
            (x, y + height - cut[3]),
            (x, y + cut[0]),
        )
    strokes = [_Stroke(outline, 0.0)]
    for _ in range(int(rng.integers(0, 4))):
        centre = (x + rng.uniform(0.1, 0.9) * width, y + rng.uniform(0.1, 0.9) * height)
        strokes.append(_Stroke(_circle(centre, rng.uniform(5, 18)), 0.0, copper=False))
    for _ in range(int(rng.integers(0, 3))):
        slot = _walk(size_px, rng, legs=2, leg_px=(40, 200), start=(x + width / 2, y + height / 2))
        strokes.append(_Stroke(slot, rng.uniform(*style.gap_px), copper=False))
    return strokes


def _dot(style: ArtworkStyle, size_px: int, rng: np.random.Generator) -> _Element:
    x, y = rng.uniform(0, size_px, 2)
    return [_Stroke(_circle((x, y), rng.uniform(*style.pad_px) / 2), 0.0)]


def _termination(style: ArtworkStyle, end: Point, rng: np.random.Generator) -> Iterator[_Stroke]:
    kind, size = rng.integers(0, 4), rng.uniform(*style.pad_px)
    if kind in (0, 1):
        yield _Stroke(_circle(end, size / 2), 0.0)
    if kind == 1:
        yield _Stroke(_circle(end, size / 2 * rng.uniform(0.3, 0.55)), 0.0, copper=False)
    if kind == 2:
        yield from _rounded(end, (1.0, 0.0), (0.0, 1.0), (size / 2, size / 2 * rng.uniform(0.7, 1.5)), 0.1 * size)


_DIRECTIONS = tuple((math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)) for k in range(8))


def _walk(
    size_px: int, rng: np.random.Generator, *, legs: int, leg_px: tuple[float, float], start: Point | None = None
) -> tuple[Point, ...]:
    """A path of straight legs that turns by 45 degrees, as board routers lay tracks."""
    x, y = start if start is not None else rng.uniform(0, size_px, 2)
    heading = 2 * int(rng.integers(0, 4)) + int(rng.random() < 0.25)
    points = [(float(x), float(y))]
    for _ in range(legs):
        length = rng.uniform(*leg_px)
        dx, dy = _DIRECTIONS[heading % 8]
        x, y = x + dx * length, y + dy * length
        points.append((float(x), float(y)))
        heading += int(rng.choice((-1, 1)))
    return tuple(points)


def _offset(path: Sequence[Point], distance_px: float) -> tuple[Point, ...]:
    """The path moved sideways by `distance_px`, with mitred corners."""
    points = np.asarray(path)
    legs = np.diff(points, axis=0)
    legs = legs / np.linalg.norm(legs, axis=1, keepdims=True)
    normals = np.stack((-legs[:, 1], legs[:, 0]), 1)
    before, after = np.vstack((normals[:1], normals)), np.vstack((normals, normals[-1:]))
    mitre = (before + after) / (1 + np.sum(before * after, axis=1, keepdims=True))
    return tuple((float(x), float(y)) for x, y in points + distance_px * mitre)


def _circle(centre: Point, radius_px: float) -> tuple[Point, ...]:
    angles = np.linspace(0, 2 * math.pi, max(12, round(2 * radius_px)), endpoint=False)
    return tuple((centre[0] + radius_px * math.cos(a), centre[1] + radius_px * math.sin(a)) for a in angles)


def _rounded(centre: Point, along: Point, across: Point, half: tuple[float, float], radius: float) -> Iterator[_Stroke]:
    """A rectangle with rounded corners: its inset outline, filled, and drawn with a round pen."""
    width, length = half[0] - radius, half[1] - radius
    corners = tuple(
        (
            centre[0] + along[0] * a * width + across[0] * b * length,
            centre[1] + along[1] * a * width + across[1] * b * length,
        )
        for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    )
    yield _Stroke(corners, 0.0)
    yield _Stroke((*corners, corners[0]), 2 * radius)
