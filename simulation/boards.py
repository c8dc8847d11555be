"""The products of the simulated line: bare boards of several designs, each seen in three views.

Everything follows from the names: the same design and view give the same picture in every process.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from simulation.defects import Box, DefectKind, Ground, place, survey
from simulation.drawing import ArtworkStyle, Mask, coverage, draw_artwork
from simulation.imaging import BORDER_PX, SCENE_PX, Image, nominal

VIEWS: tuple[str, ...] = ("left", "centre", "right")

DESIGNS: dict[str, ArtworkStyle] = {
    "controller": ArtworkStyle(
        track_px=(5, 10), gap_px=(8, 14), pad_px=(16, 34), pours=2, buses=6, nets=16, pad_rows=7, via_grids=4, dots=5
    ),
    "power": ArtworkStyle(
        track_px=(9, 18), gap_px=(10, 18), pad_px=(22, 48), pours=6, buses=3, nets=10, pad_rows=3, via_grids=3, dots=6
    ),
    "sensor": ArtworkStyle(
        track_px=(5, 8), gap_px=(9, 16), pad_px=(14, 28), pours=1, buses=3, nets=22, pad_rows=4, via_grids=6, dots=8
    ),
    "backplane": ArtworkStyle(
        track_px=(5, 9), gap_px=(7, 11), pad_px=(18, 30), pours=1, buses=12, nets=8, pad_rows=4, via_grids=5, dots=4
    ),
}

SUBSTRATE_GREY = 62
COPPER_GREY = 178
_DEFECT_BORDER_PX = 16
"""Distance from the frame's border, so that a shifted or turned part still shows the whole defect."""


@dataclass(frozen=True, slots=True)
class TrueDefect:
    """A defect that was drawn. `box` is half-open, in px of the nominal frame (not yet shifted or turned)."""

    kind: DefectKind
    box: Box


@dataclass(frozen=True, slots=True)
class DrawnView:
    """One view of one part, before the camera.

    Attributes:
        scene: uint8 [672, 672] for simulation.imaging.capture: the frame and 16 px around it.
        defects: the truth.
    """

    scene: Image
    defects: tuple[TrueDefect, ...]


def reference(design: str, view: str) -> Image:
    """The golden picture of a view: uint8 [640, 640], perfectly placed and lit, without noise.

    Raises:
        ValueError: unknown design or view.
    """
    return nominal(_clean_scene(design, view))


def draw_part(*, design: str, defects: Sequence[DefectKind], rng: np.random.Generator) -> dict[str, DrawnView]:
    """Draws one part with these defects, each in a view chosen by `rng` that has room for it.

    Returns:
        One drawn view per name in VIEWS.

    Raises:
        ValueError: unknown design, or no view has room for one of the defects.
    """
    by_view: dict[str, list[DefectKind]] = {view: [] for view in VIEWS}
    for kind in defects:
        by_view[VIEWS[int(rng.integers(len(VIEWS)))]].append(kind)
    return {view: _draw_view(design, view, kinds, rng) for view, kinds in by_view.items()}


def _draw_view(design: str, view: str, kinds: Sequence[DefectKind], rng: np.random.Generator) -> DrawnView:
    if not kinds:
        return DrawnView(_clean_scene(design, view), ())
    ground = _ground(design, view)
    mask = ground.mask.copy()
    boxes: list[Box] = []
    for kind in kinds:
        box = place(mask, ground, kind, keep_clear=boxes, border_px=BORDER_PX + _DEFECT_BORDER_PX, rng=rng)
        if box is None:
            raise ValueError(f"no room for {kind.value!r} in view {view!r} of design {design!r}; ask for fewer defects")
        boxes.append(box)
    shifted = [(x1 - BORDER_PX, y1 - BORDER_PX, x2 - BORDER_PX, y2 - BORDER_PX) for x1, y1, x2, y2 in boxes]
    truth = tuple(TrueDefect(kind, box) for kind, box in zip(kinds, shifted, strict=True))
    return DrawnView(_render(mask), truth)


def _render(mask: Mask) -> Image:
    share = coverage(mask).astype(np.float32) / 255.0
    return np.asarray(np.round(SUBSTRATE_GREY + (COPPER_GREY - SUBSTRATE_GREY) * share), np.uint8)


@cache
def _ground(design: str, view: str) -> Ground:
    if design not in DESIGNS or view not in VIEWS:
        raise ValueError(
            f"expected a design of {sorted(DESIGNS)} and a view of {list(VIEWS)}, got {design!r}, {view!r}"
        )
    rng = np.random.default_rng(zlib.crc32(f"{design}/{view}".encode()))
    return survey(draw_artwork(DESIGNS[design], size_px=SCENE_PX, rng=rng))


@cache
def _clean_scene(design: str, view: str) -> Image:
    scene = _render(_ground(design, view).mask)
    scene.flags.writeable = False
    return scene
