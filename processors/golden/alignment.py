"""Finds where the part lies in the frame, and lays the frame over its reference.

Inverse compositional least squares (Baker & Matthews, "Lucas-Kanade 20 years on", IJCV 2004) over a rigid motion, from
coarse to fine, on the px of the reference that show most structure. Gain, offset and a linear fall of the light over
the frame are solved together with the motion, so lighting does not pull at it. What depends on the reference only is
prepared once; a frame then costs a few thousand samples per step.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]

_LEVELS = (8, 4, 2)
"""Reductions, coarse first: 7 px at the corners (3 px and 0.5 degrees at 640 px) are less than one px at the first."""
_STEPS_PER_LEVEL = (6, 5, 4)
_POINTS_PER_LEVEL = 4000
_SETTLED_PX = 0.02
_DAMPING_GREY2 = 4.0
"""Keeps a direction at rest that the structure cannot tell (parallel tracks only): noise over expected motion, squared."""
_GAIN_IN_QUALITY = 0.002
"""A motion must explain this much more of the frame than no motion does; otherwise the frame stays as it is."""
_WORTH_MOVING_PX = 0.15


class AlignmentFailed(Exception):
    """The frame does not show what the reference shows, or lies further off than allowed."""


@dataclass(frozen=True, slots=True)
class RigidMotion:
    """From px of the reference to px of the frame: a turn about the image's centre, then a shift.

    Attributes:
        dx_px, dy_px: shift in px, x to the right, y down.
        angle_rad: clockwise as seen on the screen.
        centre_px: x and y of the point that is turned about.
    """

    dx_px: float
    dy_px: float
    angle_rad: float
    centre_px: tuple[float, float]

    def matrix(self) -> npt.NDArray[np.float64]:
        """float64 [2, 3], maps (x, y, 1) of the reference to (x, y) of the frame."""
        cos, sin, (cx, cy) = math.cos(self.angle_rad), math.sin(self.angle_rad), self.centre_px
        return np.array(
            ((cos, -sin, cx - cos * cx + sin * cy + self.dx_px), (sin, cos, cy - sin * cx - cos * cy + self.dy_px))
        )

    def reach_px(self) -> float:
        """The most that any px of the image moves."""
        return math.hypot(self.dx_px, self.dy_px) + abs(self.angle_rad) * math.hypot(*self.centre_px)

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
        quality: share of the reference's structure that the frame shows, 1 for a perfect match.
    """

    motion: RigidMotion
    quality: float


@dataclass(frozen=True, slots=True)
class _Level:
    """The px of one reduction that are compared. N points; F = 9 things that are solved for.

    Attributes:
        points: float32 [N, 2] x, y relative to the centre, px of this level.
        model: float32 [N, F], columns: motion (x, y, angle), gain, gain over x and y, offset, offset over x and y.
        inverse: float64 [F, F], of the damped normal matrix.
        light_model, light_inverse: the same without motion, to judge the fit.
    """

    reduction: int
    shape: tuple[int, int]
    points: npt.NDArray[np.float32]
    model: npt.NDArray[np.float32]
    inverse: npt.NDArray[np.float64]
    light_inverse: npt.NDArray[np.float64]


class Aligner:
    """Aligns frames to one reference. Safe to share between threads: nothing changes after construction."""

    def __init__(self, reference: Image, *, max_shift_px: float, max_angle_deg: float, minimum_quality: float):
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
        self._centre = ((reference.shape[1] - 1) / 2, (reference.shape[0] - 1) / 2)
        self._levels = [_prepare(_reduce(reference, reduction), reduction) for reduction in _LEVELS]

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
        shift, angle = np.zeros(2), 0.0
        for level, steps in zip(self._levels, _STEPS_PER_LEVEL, strict=True):
            reduced = _reduce(frame, level.reduction)
            shift, angle = _refine(level, reduced, shift, angle, steps)
        at_rest = _quality(self._levels[-1], reduced, np.zeros(2), 0.0)
        moved = _quality(self._levels[-1], reduced, shift, angle)
        motion = RigidMotion(float(shift[0]), float(shift[1]), float(angle), self._centre)
        if moved < at_rest + _GAIN_IN_QUALITY or motion.reach_px() < _WORTH_MOVING_PX:
            motion, moved = RigidMotion(0.0, 0.0, 0.0, self._centre), at_rest
        self._refuse_unlikely(motion, moved)
        return Alignment(motion, moved)

    def _refuse_unlikely(self, motion: RigidMotion, quality: float) -> None:
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


def lay_over(frame: Image, motion: RigidMotion) -> Image:
    """The frame as it would look had the part lain like its reference: uint8 [H, W]; beyond the frame its edge repeats."""
    if motion.reach_px() == 0.0:
        return frame
    height, width = frame.shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(frame, motion.matrix(), (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _reduce(image: Image, reduction: int) -> npt.NDArray[np.float32]:
    height, width = image.shape
    small = cv2.resize(image, (width // reduction, height // reduction), interpolation=cv2.INTER_AREA)
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
    px, py = points[:, 0] / width, points[:, 1] / height
    turn = (gy * points[:, 0] - gx * points[:, 1]) / width
    one = np.ones_like(grey)
    model = np.stack((gx, gy, turn, grey, grey * px, grey * py, one, px, py), 1).astype(np.float32)
    normal = model.T.astype(np.float64) @ model
    damping = np.diag([_DAMPING_GREY2 * 4] * 3 + [1e-3] * 6)
    return _Level(
        reduction=reduction,
        shape=(height, width),
        points=points.astype(np.float32),
        model=model,
        inverse=np.asarray(np.linalg.inv(normal + damping), np.float64),
        light_inverse=np.asarray(np.linalg.inv(normal[3:, 3:] + damping[3:, 3:]), np.float64),
    )


def _sample(
    level: _Level, image: npt.NDArray[np.float32], shift_px: npt.NDArray[np.float64], angle_rad: float
) -> npt.NDArray[np.float32]:
    """float32 [N], the frame at the points of the reference moved by the motion (in px of full size)."""
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    height, width = level.shape
    x, y = level.points[:, 0], level.points[:, 1]
    at_x = (cos * x - sin * y + np.float32((width - 1) / 2 + shift_px[0] / level.reduction)).astype(np.float32)
    at_y = (sin * x + cos * y + np.float32((height - 1) / 2 + shift_px[1] / level.reduction)).astype(np.float32)
    sampled = cv2.remap(image, at_x[:, None], at_y[:, None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled[:, 0], np.float32)


def _refine(
    level: _Level, image: npt.NDArray[np.float32], shift_px: npt.NDArray[np.float64], angle_rad: float, steps: int
) -> tuple[npt.NDArray[np.float64], float]:
    width = level.shape[1]
    for _ in range(steps):
        solved = level.inverse @ (level.model.T @ _sample(level, image, shift_px, angle_rad)).astype(np.float64)
        gain = solved[3]
        if gain < 0.05:  # the frame does not resemble the reference; the quality will say so
            break
        step = solved[:2] / gain * level.reduction
        turn = solved[2] / gain / width
        # compose with the inverse of the step that would have moved the reference onto the frame
        angle_rad -= turn
        cos, sin = math.cos(angle_rad), math.sin(angle_rad)
        shift_px = shift_px - np.array((cos * step[0] - sin * step[1], sin * step[0] + cos * step[1]))
        if abs(step[0]) + abs(step[1]) + abs(turn) * width * level.reduction < _SETTLED_PX:
            break
    return shift_px, angle_rad


def _quality(
    level: _Level, image: npt.NDArray[np.float32], shift_px: npt.NDArray[np.float64], angle_rad: float
) -> float:
    """Correlation between the frame and the reference under the light that fits best, at the compared points."""
    sampled = _sample(level, image, shift_px, angle_rad)
    light = level.model[:, 3:]
    fitted = light @ (level.light_inverse @ (light.T @ sampled).astype(np.float64)).astype(np.float32)
    spread = float(np.var(sampled))
    if spread < 1.0:
        return 0.0
    explained = 1.0 - float(np.mean((sampled - fitted) ** 2)) / spread
    return math.sqrt(max(explained, 0.0))
