"""Finds where the part lies in the frame, and lays the frame over its reference.

Inverse compositional least squares (Baker & Matthews, "Lucas-Kanade 20 years on", IJCV 2004) from coarse to fine, on the
px of the reference that show most structure. The motion is a shift, a turn and a slight stretch: a line-scan camera whose
line rate does not fit the belt's speed stretches boards by a per cent. Gain, offset and a linear fall of the light over
the frame are solved together with the motion, so lighting does not pull at it. What depends on the reference only is
prepared once; a frame then costs a few thousand samples per step.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from processors.golden.reduction import REDUCTION, reduced

Image = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]

_LEVELS = (8, 4, 2)
"""Reductions, coarse first: 7 px at the corners (3 px and 0.5 degrees at 640 px) are less than one px at the first."""
_STEPS_PER_LEVEL = (6, 5, 4)
_POINTS_PER_LEVEL = 2000
_SETTLED_PX = 0.02
"""A step that moves nothing by more, in px of its level, is the last one."""
_LEAST_STRUCTURE_RATIO = 0.015
"""A motion that the structure tells less clearly than the clearest one, by this ratio, is mostly held still."""
_LEAST_SLOPE_GREY = 3.0
_LEAST_POINTS = 60
"""A reference with fewer px of such a slope (grey levels per px, at half size) has nothing that could be aligned."""
_TINY = 1e-3
_MOTIONS = 6
"""Rows of the model that move the picture; the rest light it."""
_LEAST_GAIN = 0.05
_MOST_STRAIN_PER_STEP = 0.1
_MOST_STRETCH_RATIO = 0.04
_GAIN_IN_QUALITY = 0.002
"""A motion must explain this much more of the frame than no motion does; otherwise the frame stays as it is."""
_WORTH_MOVING_PX = 0.15


class AlignmentFailed(Exception):
    """The frame does not show what the reference shows, or lies further off than allowed."""


@dataclass(frozen=True, slots=True)
class Motion:
    """From px of the reference to px of the frame: a turn and a stretch about the image's centre, then a shift.

    Attributes:
        dx_px, dy_px: shift in px, x to the right, y down.
        turn: 2x2 matrix by rows; a pure turn, clockwise on the screen, is (cos, -sin, sin, cos).
        centre_px: x and y of the point that is turned about.
    """

    dx_px: float
    dy_px: float
    turn: tuple[float, float, float, float]
    centre_px: tuple[float, float]

    @classmethod
    def rigid(
        cls, *, dx_px: float = 0.0, dy_px: float = 0.0, angle_rad: float = 0.0, frame_shape: tuple[int, int]
    ) -> "Motion":
        """A turn about the middle of a frame of (height, width), then a shift; no motion by default."""
        cos, sin = math.cos(angle_rad), math.sin(angle_rad)
        return cls(dx_px, dy_px, (cos, -sin, sin, cos), _centre(frame_shape))

    @property
    def angle_rad(self) -> float:
        """The turn that comes closest, clockwise on the screen."""
        xx, xy, yx, yy = self.turn
        return math.atan2(yx - xy, xx + yy)

    @property
    def stretch_ratio(self) -> float:
        """How much longer or shorter the frame shows any line than the reference, at most."""
        singular = np.linalg.svd(np.reshape(self.turn, (2, 2)), compute_uv=False)
        return float(np.abs(singular - 1.0).max())

    def matrix(self) -> npt.NDArray[np.float64]:
        """float64 [2, 3], maps (x, y, 1) of the reference to (x, y) of the frame."""
        turn, centre = np.reshape(self.turn, (2, 2)), np.asarray(self.centre_px)
        return np.column_stack((turn, centre - turn @ centre + (self.dx_px, self.dy_px)))

    def at_half_size(self) -> "Motion":
        """The same motion of pictures that were `reduced`."""
        x, y = ((centre - (REDUCTION - 1) / 2) / REDUCTION for centre in self.centre_px)
        return Motion(self.dx_px / REDUCTION, self.dy_px / REDUCTION, self.turn, (x, y))

    def reach_px(self) -> float:
        """The most that any px of the image may move."""
        strain = float(np.abs(np.reshape(self.turn, (2, 2)) - np.eye(2)).sum(1).max())
        return math.hypot(self.dx_px, self.dy_px) + strain * math.hypot(*self.centre_px)

    def map_box(self, box: Box, *, width_px: int, height_px: int) -> Box:
        """The half-open box of the frame that holds a box of the reference, cut to the frame, never empty."""
        x1, y1, x2, y2 = box
        # px centres are whole numbers, so a half-open box reaches from x1 - 0.5 to x2 - 0.5
        corners = np.array(((x1, y1, 1), (x2, y1, 1), (x2, y2, 1), (x1, y2, 1)), np.float64) - (0.5, 0.5, 0)
        mapped = corners @ self.matrix().T + 0.5
        (left, top), (right, bottom) = np.round(mapped.min(0)).astype(int), np.round(mapped.max(0)).astype(int)
        left, top = min(max(left, 0), width_px - 1), min(max(top, 0), height_px - 1)
        return (
            int(left),
            int(top),
            int(min(max(right, left + 1), width_px)),
            int(min(max(bottom, top + 1), height_px)),
        )


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a frame lies over its reference.

    Attributes:
        motion: the motion that was applied; none where it would not have helped.
        quality: share of the reference's structure that the frame shows, 1 for a perfect match, and for a reference
            without structure, which leaves nothing to align.
    """

    motion: Motion
    quality: float


@dataclass(frozen=True, slots=True)
class _Placement:
    """A motion while it is looked for: shift in px of full size, 2x2 turn about the centre."""

    shift_px: npt.NDArray[np.float64]
    turn: npt.NDArray[np.float64]


_AT_REST = _Placement(np.zeros(2), np.eye(2))


@dataclass(frozen=True, slots=True)
class _Level:
    """The px of one reduction that are compared. N points; F = 12 things that are solved for.

    Attributes:
        points: float32 [2, N] x, y relative to the centre, px of this level.
        model: float32 [F, N], rows: shift (2), strain (4), gain, gain over x and y, offset, offset over x and y.
        inverse: float64 [F, F], of the normal matrix, see _steadied_inverse.
        light_inverse: the same without motion, to judge the fit.
        steep_points: how many px show a clear edge.
    """

    reduction: int
    shape: tuple[int, int]
    points: npt.NDArray[np.float32]
    model: npt.NDArray[np.float32]
    inverse: npt.NDArray[np.float64]
    light_inverse: npt.NDArray[np.float64]
    steep_points: int


class Aligner:
    """Aligns frames to one reference. Safe to share between threads: nothing changes after construction."""

    def __init__(self, reference: Image, *, max_shift_px: float, max_angle_deg: float, minimum_quality: float) -> None:
        """Prepares the reference.

        Args:
            reference: uint8 [H, W].
            max_shift_px, max_angle_deg: a part further off than this is refused.
            minimum_quality: a frame that shows less of the reference than this (0 to 1) is refused.

        Raises:
            ValueError: not a grey image of 64 px or more a side.
        """
        if reference.ndim != 2 or min(reference.shape) < 64 or reference.dtype != np.uint8:
            raise ValueError(
                f"expected a uint8 reference [H, W] of at least 64x64 px, got {reference.dtype} {reference.shape}"
            )
        self._shape = reference.shape
        self._max_shift_px = max_shift_px
        self._max_angle_rad = math.radians(max_angle_deg)
        self._minimum_quality = minimum_quality
        half = reduced(reference)
        self._half_shape = half.shape
        self._levels = [_prepare(_level_image(half, reduction), reduction) for reduction in _LEVELS]
        self._has_structure = self._levels[-1].steep_points >= _LEAST_POINTS

    def align(self, frame: Image) -> Alignment:
        """Finds the motion of the part.

        Args:
            frame: uint8 [H, W], the size of the reference.

        Raises:
            AlignmentFailed: the frame differs too much from the reference, or the part lies too far off.
            ValueError: the frame has another size than the reference.
        """
        if frame.shape != self._shape:
            raise ValueError(f"expected a frame of the reference's size {self._shape}, got {frame.shape}")
        return self.align_half(reduced(frame))

    def align_half(self, half: Image) -> Alignment:
        """As `align`, for a frame that is `reduced` already; the motion is that of the whole frame."""
        if half.shape != self._half_shape:
            raise ValueError(f"expected a reduced frame of size {self._half_shape}, got {half.shape}")
        if not self._has_structure:
            return Alignment(Motion.rigid(frame_shape=self._shape), 1.0)
        images = [_level_image(half, level.reduction) for level in self._levels]
        at_rest = _quality(self._levels[-1], images[-1], _AT_REST)
        placement = _AT_REST
        for level, image, steps in zip(self._levels, images, _STEPS_PER_LEVEL, strict=True):
            placement = _refine(level, image, placement, steps)
        moved = _quality(self._levels[-1], images[-1], placement)
        (xx, xy), (yx, yy) = placement.turn.tolist()
        dx, dy = placement.shift_px.tolist()
        motion = Motion(dx, dy, (xx, xy, yx, yy), _centre(self._shape))
        if moved < at_rest + _GAIN_IN_QUALITY or motion.reach_px() < _WORTH_MOVING_PX:
            motion, moved = Motion.rigid(frame_shape=self._shape), at_rest
        self._refuse_unlikely(motion, moved)
        return Alignment(motion, moved)

    def _refuse_unlikely(self, motion: Motion, quality: float) -> None:
        if quality < self._minimum_quality:
            raise AlignmentFailed(
                f"the frame matches its reference with quality {quality:.2f}, at least {self._minimum_quality:.2f} is "
                "expected; check that the part, the view and the recipe belong together"
            )
        shift_px = math.hypot(motion.dx_px, motion.dy_px)
        if shift_px > self._max_shift_px or abs(motion.angle_rad) > self._max_angle_rad:
            raise AlignmentFailed(
                f"the part lies {shift_px:.1f} px and {math.degrees(motion.angle_rad):.2f} degrees off, at most "
                f"{self._max_shift_px:g} px and {math.degrees(self._max_angle_rad):g} degrees are allowed"
            )
        if motion.stretch_ratio > _MOST_STRETCH_RATIO:
            raise AlignmentFailed(
                f"the frame shows the part stretched by {motion.stretch_ratio:.1%}, at most {_MOST_STRETCH_RATIO:.0%} is "
                "believed; check the distance of the camera, or the line rate of a line-scan camera"
            )


def lay_over(frame: Image, motion: Motion) -> Image:
    """The frame as it would look had the part lain like its reference: uint8 [H, W]; beyond the frame its edge repeats."""
    if motion.reach_px() == 0.0:
        return frame
    height, width = frame.shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(frame, motion.matrix(), (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _level_image(half: Image, reduction: int) -> npt.NDArray[np.float32]:
    """A reduced picture, reduced further to `reduction` and smoothed."""
    height, width = half.shape
    further = reduction // REDUCTION
    small = cv2.resize(half, (width // further, height // further), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small.astype(np.float32), (3, 3), 0.8), np.float32)


def _prepare(image: npt.NDArray[np.float32], reduction: int) -> _Level:
    slope_x = cv2.Sobel(image, cv2.CV_32F, 1, 0, scale=1 / 8)
    slope_y = cv2.Sobel(image, cv2.CV_32F, 0, 1, scale=1 / 8)
    strength = np.hypot(slope_x, slope_y)
    border = 2
    strength[:border], strength[-border:], strength[:, :border], strength[:, -border:] = 0, 0, 0, 0
    count = min(_POINTS_PER_LEVEL, strength.size // 4)
    threshold = np.partition(strength, -3 * count, axis=None)[-3 * count]
    candidates = np.flatnonzero(strength >= max(float(threshold), 1e-3))
    if len(candidates) == 0:
        candidates = np.arange(strength.size)
    # every k-th of three times as many keeps the points spread over the frame instead of on its strongest edge
    chosen = candidates[:: max(1, len(candidates) // count)]
    y, x = np.unravel_index(chosen, strength.shape)
    height, width = strength.shape
    points = np.stack((x - (width - 1) / 2, y - (height - 1) / 2), 1)
    grey, gx, gy = image[y, x], slope_x[y, x], slope_y[y, x]
    px, py = points[:, 0] / width, points[:, 1] / width
    one = np.ones_like(grey)
    model = np.stack((gx, gy, gx * px, gx * py, gy * px, gy * py, grey, grey * px, grey * py, one, px, py)).astype(
        np.float32
    )
    normal = model.astype(np.float64) @ model.T
    light_normal = normal[_MOTIONS:, _MOTIONS:]
    light_inverse = np.asarray(np.linalg.inv(light_normal + _TINY * np.eye(len(light_normal))), np.float64)
    return _Level(
        reduction=reduction,
        shape=(height, width),
        points=np.ascontiguousarray(points.T, np.float32),
        model=model,
        inverse=_steadied_inverse(normal, light_inverse),
        light_inverse=light_inverse,
        steep_points=int(np.sum(strength > _LEAST_SLOPE_GREY)),
    )


def _steadied_inverse(
    normal: npt.NDArray[np.float64], light_inverse: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The inverse of the normal matrix with motions held still that the structure cannot tell.

    Where there are parallel tracks only, roughness would drive the part along them. The motions' block is inverted in
    its own axes (Schur complement, strains scaled to px at the frame's edge), each weighed by how much structure there is
    along it compared with the clearest one.
    """
    cross = normal[:_MOTIONS, _MOTIONS:]
    scale = np.array([1.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    told = (normal[:_MOTIONS, :_MOTIONS] - cross @ light_inverse @ cross.T) * np.outer(scale, scale)
    strength, axes = np.linalg.eigh(told)
    strength = np.maximum(strength, _TINY)
    weight = strength**2 / (strength**2 + (_LEAST_STRUCTURE_RATIO * strength.max()) ** 2)
    motions = (axes * (weight / strength)) @ axes.T * np.outer(scale, scale)
    onto_light = -motions @ cross @ light_inverse
    light = light_inverse + light_inverse @ cross.T @ motions @ cross @ light_inverse
    return np.asarray(np.block([[motions, onto_light], [onto_light.T, light]]), np.float64)


def _sample(level: _Level, image: npt.NDArray[np.float32], placement: _Placement) -> npt.NDArray[np.float32]:
    """float32 [N], the frame at the points of the reference moved by the placement."""
    height, width = level.shape
    at = placement.turn.astype(np.float32) @ level.points
    at += (np.array(((width - 1) / 2, (height - 1) / 2)) + placement.shift_px / level.reduction).astype(np.float32)[
        :, None
    ]
    # one row of points: the same points as a column take seven times as long
    sampled = cv2.remap(image, at[:1], at[1:], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled[0], np.float32)


def _refine(level: _Level, image: npt.NDArray[np.float32], placement: _Placement, steps: int) -> _Placement:
    width = level.shape[1]
    for _ in range(steps):
        solved = (level.inverse @ _projected(level.model, _sample(level, image, placement))).tolist()
        gain = solved[_MOTIONS]
        if gain < _LEAST_GAIN:  # the frame does not resemble the reference; the quality will say so
            break
        step = [value / gain * level.reduction for value in solved[:2]]
        xx, xy, yx, yy = strain = [value / gain / width for value in solved[2:_MOTIONS]]
        if max(map(abs, strain)) > _MOST_STRAIN_PER_STEP:
            break
        # compose with the inverse of the motion that would have moved the reference onto the frame
        area = (1 + xx) * (1 + yy) - xy * yx
        turn = placement.turn @ np.array(((1 + yy, -xy), (-yx, 1 + xx))) / area
        placement = _Placement(placement.shift_px - turn @ np.array(step), turn)
        if sum(map(abs, step)) + sum(map(abs, strain)) * width * level.reduction < _SETTLED_PX * level.reduction:
            break
    return placement


def _quality(level: _Level, image: npt.NDArray[np.float32], placement: _Placement) -> float:
    """Correlation between the frame and the reference under the light that fits best, at the compared points."""
    sampled = _sample(level, image, placement)
    light = level.model[_MOTIONS:]
    share = level.light_inverse @ _projected(light, sampled)
    fitted = np.einsum("f,fn->n", share.astype(np.float32), light)
    spread = float(np.var(sampled))
    if spread < 1.0:
        return 0.0
    explained = 1.0 - float(np.mean((sampled - fitted) ** 2)) / spread
    return math.sqrt(max(explained, 0.0))


def _projected(rows: npt.NDArray[np.float32], sampled: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """float64 [F] of rows [F, N]. Not by matrix product: BLAS would start threads for so little work."""
    return np.asarray(np.einsum("fn,n->f", rows, sampled), np.float64)


def _centre(shape: tuple[int, ...]) -> tuple[float, float]:
    return ((shape[1] - 1) / 2, (shape[0] - 1) / 2)
