"""Defects drawn into good parts, for the `anomaly` family: what is recognised is that something does not belong there.

Four kinds, because no single one generalises: a patch from elsewhere (CutPaste: Li et al., CVPR 2021), one that fades into its surroundings
(NSA: Schlueter et al., ECCV 2022), a region of another texture or brightness under a noise mask (DRAEM: Zavrtanik et al., ICCV
2021), and thin curves, dark or light (cracks and scratches).
"""

import cv2
import numpy as np
import numpy.typing as npt

from processors.learned.form import Picture

_LEAST_CHANGE_GREY = 6
"""Less than this cannot be told from noise and is not marked."""
_MOST_DEFECTS = 3
_USUAL_CROP_PX = 256


class SyntheticDefects:
    """Puts one to three defects into the picture's channels of a crop; a reference behind it stays as it is."""

    def __init__(self, *, paired: bool) -> None:
        self._pictures = 2 if paired else 1

    def __call__(self, crop: Picture, generator: np.random.Generator) -> tuple[Picture, Picture]:
        """(crop with defects, mask of what changed), uint8 [h, w, c] and [h, w]."""
        channels = crop.shape[2] // self._pictures
        before = crop[..., :channels]
        shown = before.astype(np.float32)
        spread = max(float(before.std()), 12.0)
        for _ in range(int(generator.integers(1, _MOST_DEFECTS + 1))):
            alpha = _shape(shown.shape[:2], generator)[..., None]
            content = _content(shown, spread, generator)
            shown = shown * (1 - alpha) + content * alpha
        after = np.clip(shown, 0, 255).astype(np.uint8)
        changed = np.abs(after.astype(np.int16) - before).max(2) >= _LEAST_CHANGE_GREY
        mask = cv2.morphologyEx(changed.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        return np.concatenate([after, crop[..., channels:]], axis=2), np.asarray(mask, np.uint8)


def _shape(size: tuple[int, ...], generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """Where, and how strongly: float32 [h, w], 0 to 1."""
    height, width = size
    mask = np.zeros((height, width), np.uint8)
    share = min(1.0, min(height, width) / _USUAL_CROP_PX)  # a defect that fills a small picture teaches nothing
    kind = generator.random()
    if kind < 0.4:
        _curve(mask, generator)
    elif kind < 0.75:
        centre = (int(generator.integers(width)), int(generator.integers(height)))
        axes = tuple(int(v) for v in np.exp(generator.uniform(np.log(2), np.log(max(40 * share, 3)), 2)))
        cv2.ellipse(mask, centre, axes, float(generator.uniform(0, 180)), 0, 360, 1, -1)
    else:
        blob = smooth_noise(
            (height, width), float(np.exp(generator.uniform(np.log(2), np.log(max(24 * share, 3))))), generator
        )
        x, y = int(generator.integers(width)), int(generator.integers(height))
        reach = int(generator.uniform(12, 80) * share) + 2
        window = np.zeros((height, width), np.uint8)
        cv2.circle(window, (x, y), reach, 1, -1)
        mask[(blob > 0.4) & (window > 0)] = 1
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), float(generator.uniform(0.4, 2.0)))
    return np.asarray(soft * generator.uniform(0.4, 1.0), np.float32)


def _curve(mask: npt.NDArray[np.uint8], generator: np.random.Generator) -> None:
    height, width = mask.shape
    at = np.array([generator.uniform(0, width), generator.uniform(0, height)])
    angle, points = generator.uniform(0, 2 * np.pi), []
    for _ in range(int(generator.integers(3, 25))):
        points.append(at.copy())
        angle += generator.normal(0, 0.5)
        at = at + generator.uniform(3, 9) * np.array([np.cos(angle), np.sin(angle)])
    line = np.rint(np.array(points)).astype(np.int32)
    cv2.polylines(mask, [line], False, 1, int(generator.integers(1, 5)))


def _content(shown: npt.NDArray[np.float32], spread: float, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """What stands there instead: float32 as `shown`."""
    kind = generator.random()
    if kind < 0.35:  # the picture itself, from elsewhere
        return np.roll(_turned(shown, generator), tuple(int(v) for v in generator.integers(12, 200, 2)), (0, 1))
    sign = 1.0 if generator.random() < 0.5 else -1.0
    change = sign * generator.uniform(0.5, 3.0) * spread
    if kind < 0.75:  # darker or lighter
        return np.asarray(shown + np.float32(change), np.float32)
    texture = smooth_noise(shown.shape[:2], float(generator.uniform(0.7, 6)), generator)[..., None]
    colour = generator.uniform(0, 255, (1, 1, shown.shape[2])).astype(np.float32)
    flat = colour if kind < 0.87 else shown.mean((0, 1), keepdims=True) + np.float32(change)
    return np.asarray(flat + texture * np.float32(spread), np.float32) * np.ones_like(shown)


def _turned(shown: npt.NDArray[np.float32], generator: np.random.Generator) -> npt.NDArray[np.float32]:
    if shown.shape[0] != shown.shape[1]:
        return np.asarray(shown[::-1, ::-1], np.float32)
    return np.asarray(np.rot90(shown, int(generator.integers(4))), np.float32)


def smooth_noise(size: tuple[int, ...], grain_px: float, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """Noise of unit spread whose grains are about so large: float32 [h, w]."""
    noise = cv2.GaussianBlur(generator.standard_normal(size, np.float32), (0, 0), grain_px)
    return np.asarray((noise - noise.mean()) / max(float(noise.std()), 1e-6), np.float32)
