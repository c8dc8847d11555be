"""Pixels as a camera's driver or a decoder gives them, made into the encoded picture that travels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2

from gateways.picture_source import CaptureFailed
from schemas.plant import Camera

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def encoded(pixels: NDArray[np.uint8], *, camera: Camera, jpeg_quality: int | None) -> bytes:
    """`pixels` (uint8 [H, W] grey or [H, W, 3] BGR) as JPEG of `jpeg_quality`, or as PNG, lossless, where that is None.

    Raises `CaptureFailed` where the result is larger than `camera.max_image_bytes`.
    """
    suffix: str = ".png" if jpeg_quality is None else ".jpg"
    # OpenCV's own settings for PNG (run lengths of differences) are quicker than any compression level that is set
    settings: list[Any] = [] if jpeg_quality is None else [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
    done, buffer = cv2.imencode(suffix, pixels, settings)
    if not done:
        raise CaptureFailed(f"a picture of shape {pixels.shape} could not be encoded")
    if len(buffer) > camera.max_image_bytes:
        raise CaptureFailed(
            f"{len(buffer)} bytes as {suffix[1:].upper()}, more than {camera.max_image_bytes} (max_image_bytes)"
        )
    return bytes(buffer)


def refuse_size(width_px: int, height_px: int, *, camera: Camera) -> None:
    """Raises `CaptureFailed` for a size above the camera's limits, before its pixels are taken."""
    if width_px > camera.max_width_px or height_px > camera.max_height_px:
        raise CaptureFailed(
            f"{width_px}x{height_px} px; camera {camera.name} may send {camera.max_width_px}x{camera.max_height_px}"
        )
