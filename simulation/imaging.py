"""What the simulated camera makes of a board: placement, light, blur, noise.

A scene is drawn larger than the frame by `BORDER_PX` on each side, so that a shifted or turned board shows what lies
beside it, as a real one does. The part lies in the fixture with an error of up to 3 px and 0.5 degrees.
"""

import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from simulation.defects import Box

FRAME_PX = 640
BORDER_PX = 16
SCENE_PX = FRAME_PX + 2 * BORDER_PX

Image = npt.NDArray[np.uint8]

_NOISE_FIELD_PX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Misregistration:
    """Where the part lies: rotation about the frame's centre, then a shift, both in the frame's px and degrees."""

    dx_px: float = 0.0
    dy_px: float = 0.0
    angle_deg: float = 0.0

    def map_box(self, box: Box) -> Box:
        """The half-open box of the turned and shifted box, cut to the frame."""
        x1, y1, x2, y2 = box
        corners = np.array(((x1, y1, 1), (x2, y1, 1), (x2, y2, 1), (x1, y2, 1)), np.float64) @ _matrix(self).T
        (left, top), (right, bottom) = np.floor(corners.min(0)), np.ceil(corners.max(0))
        return (max(int(left), 0), max(int(top), 0), min(int(right), FRAME_PX), min(int(bottom), FRAME_PX))


@dataclass(frozen=True, slots=True, kw_only=True)
class Optics:
    """The camera and its light.

    Attributes:
        shift_px, angle_deg: largest misregistration of a part, per axis and to both sides.
        gain_ratio: largest change of exposure from part to part, to both sides.
        gradient_ratio: largest difference of the light from one side of the frame to the other.
        blur_px: standard deviation of the lens's blur.
        noise_grey: standard deviation of the sensor's noise in grey levels.
    """

    shift_px: float = 3.0
    angle_deg: float = 0.5
    gain_ratio: float = 0.05
    gradient_ratio: float = 0.10
    blur_px: float = 0.7
    noise_grey: float = 3.0


OPTICS = Optics()
DRIFT_DIMMING_RATIO = 0.25
"""Share of its light that the lamp has lost at the end of the drift."""
DRIFT_GRADIENT_RATIO = 0.15
"""Difference that the drift adds between the lamp's side of the frame and the other."""
DRIFT_HAZE_GREY = 10.0
"""Stray light that the drift adds everywhere."""


@dataclass(frozen=True, slots=True)
class Capture:
    """One frame and the truth about it.

    Attributes:
        image: uint8 [640, 640].
        placement: how the part lay; maps boxes of the scene's frame into this one.
    """

    image: Image
    placement: Misregistration


def capture(
    scene: Image, *, rng: np.random.Generator, optics: Optics = OPTICS, lighting_drift_ratio: float = 0.0
) -> Capture:
    """Takes one picture of a scene.

    Args:
        scene: uint8 [672, 672], the frame with BORDER_PX around it.
        lighting_drift_ratio: how far the lamp has aged: 0 is new, 1 the end of the demo's drift; beyond it, a lamp that fails.

    Raises:
        ValueError: the scene has another shape.
    """
    if scene.shape != (SCENE_PX, SCENE_PX):
        raise ValueError(
            f"expected a scene of {SCENE_PX}x{SCENE_PX} px, got {scene.shape}; draw it with simulation.boards"
        )
    placement = Misregistration(
        dx_px=rng.uniform(-optics.shift_px, optics.shift_px),
        dy_px=rng.uniform(-optics.shift_px, optics.shift_px),
        angle_deg=rng.uniform(-optics.angle_deg, optics.angle_deg),
    )
    matrix = _matrix(placement)
    matrix[:, 2] -= matrix[:, :2] @ (BORDER_PX, BORDER_PX)
    image = cv2.warpAffine(scene, matrix, (FRAME_PX, FRAME_PX), flags=cv2.INTER_LINEAR)
    image = cv2.GaussianBlur(image, (5, 5), optics.blur_px)
    light = _light(rng, optics, lighting_drift_ratio)
    lit = cv2.multiply(image, light, dtype=cv2.CV_32F)
    noise = _noise(rng)
    lit = cv2.scaleAdd(noise, optics.noise_grey, lit)
    return Capture(cv2.convertScaleAbs(lit, alpha=1.0, beta=DRIFT_HAZE_GREY * lighting_drift_ratio), placement)


def nominal(scene: Image, *, optics: Optics = OPTICS) -> Image:
    """The frame of a part that lies perfectly under perfect light: uint8 [640, 640]."""
    frame = scene[BORDER_PX : BORDER_PX + FRAME_PX, BORDER_PX : BORDER_PX + FRAME_PX]
    return np.asarray(cv2.GaussianBlur(frame, (5, 5), optics.blur_px), np.uint8)


def _matrix(placement: Misregistration) -> npt.NDArray[np.float64]:
    """[2, 3] matrix from px of the nominal frame to px of the captured one."""
    angle = math.radians(placement.angle_deg)
    cos, sin, centre = math.cos(angle), math.sin(angle), (FRAME_PX - 1) / 2
    return np.array(
        (
            (cos, -sin, centre - cos * centre + sin * centre + placement.dx_px),
            (sin, cos, centre - sin * centre - cos * centre + placement.dy_px),
        )
    )


def _light(rng: np.random.Generator, optics: Optics, drift_ratio: float) -> npt.NDArray[np.float32]:
    """float32 [640, 640], factor of the light at each px."""
    gain = 1.0 + rng.uniform(-optics.gain_ratio, optics.gain_ratio)
    slope_x, slope_y = rng.uniform(-0.5, 0.5, 2) * optics.gradient_ratio
    level = gain * (1.0 - DRIFT_DIMMING_RATIO * drift_ratio)
    across = _ramp() * (slope_x + DRIFT_GRADIENT_RATIO * drift_ratio)
    down = _ramp() * slope_y
    return np.asarray(level * (1.0 + across[None, :] + down[:, None]), np.float32)


@cache
def _ramp() -> npt.NDArray[np.float32]:
    return np.linspace(-0.5, 0.5, FRAME_PX, dtype=np.float32)


def _noise(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A part of a fixed field of unit noise: drawing 410,000 normal numbers for a frame would cost more than the rest."""
    x, y = rng.integers(0, _NOISE_FIELD_PX - FRAME_PX, 2)
    part = _noise_field()[y : y + FRAME_PX, x : x + FRAME_PX]
    return part if rng.random() < 0.5 else part[::-1, ::-1]


@cache
def _noise_field() -> npt.NDArray[np.float32]:
    return np.random.default_rng(20).standard_normal((_NOISE_FIELD_PX, _NOISE_FIELD_PX), np.float32)
