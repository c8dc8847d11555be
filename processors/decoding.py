"""From the bytes of a frame to its pixels, within the limits of its camera: every check that can come first comes first."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import numpy.typing as npt

from processors.whole_image import check_whole, header_of
from schemas.errors import Refused
from schemas.frames import Frame, ImageEncoding
from schemas.image_header import ImageHeader
from schemas.plant import Camera
from schemas.reasons import RefusalReason

Image = npt.NDArray[np.uint8]

# A camera's picture is judged as the sensor saw it, whatever an EXIF tag says about how to hold it.
_GREY = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
_COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def decode_frame(frame: Frame, content: bytes, *, camera: Camera) -> Image:
    """The pixels of a frame: uint8 [H, W], grey. `content` is the image as it came, inline or from the object store.

    Raises Refused: `image_too_large` (bytes, or px by the header, before decoding), `size_mismatch` (bytes, digest or px are
    not what the frame says), `undecodable_image`.

    What is unusual, and what becomes of it:

        JPEG, progressive or with restart marks    its pixels; more than 32 scans are refused, each costs a whole pass
        JPEG or PNG with an EXIF rotation          as the sensor saw it, not turned
        anything after the end (padding, a ZIP)    not looked at
        PNG of more data than its pixels           refused: a few kB may inflate to GB of nothing
        PNG of 16 bits                             the upper 8 bits
        PNG with alpha                             the colour alone, alpha is not looked at
        animated PNG (APNG)                        its default image, as the standard asks of who shows one picture
        JPEG of 4 components (CMYK), GIF, others   refused `undecodable_image`, whatever follows inside
        no end, or other data amid the pixels      refused `undecodable_image`
        JPEG cut short, but with an end mark       grey from there on: the format has no checksum; the frame's digest is
                                                   what tells a picture that was damaged on its way, and
                                                   `missing_rows` one that its camera sent so
    """
    _check_bytes(frame, content, camera)
    if frame.encoding is ImageEncoding.RAW:
        return _grey_of(_raw(frame, content, camera))
    return decode_grey(content, _checked_header(frame, content, camera))


def decode_frame_in_colour(frame: Frame, content: bytes, *, camera: Camera) -> Image:
    """As `decode_frame`, but a picture in colour keeps it: uint8 [H, W, 3], blue first. One without is uint8 [H, W]."""
    _check_bytes(frame, content, camera)
    if frame.encoding is ImageEncoding.RAW:
        return _raw(frame, content, camera)
    return decode_in_colour(content, _checked_header(frame, content, camera))


def _checked_header(frame: Frame, content: bytes, camera: Camera) -> ImageHeader:
    header = header_of(content)
    if header.encoding is not frame.encoding:
        raise Refused(
            RefusalReason.UNDECODABLE_IMAGE,
            f"the image is a {header.encoding.value}, the frame says {frame.encoding.value}",
        )
    _check_px(frame, (header.width_px, header.height_px), camera)
    check_whole(content, header)
    return header


def decode_in_colour(content: bytes, header: ImageHeader) -> Image:
    """An encoded image as uint8 [H, W, 3], blue first, or [H, W] where it has no colour. Raises Refused `undecodable_image`."""
    if header.channels == 1:
        return decode_grey(content, header)  # a third of the work, and the same values
    try:
        image = decode_bgr(content)
    except ValueError as error:
        raise Refused(RefusalReason.UNDECODABLE_IMAGE, str(error)) from error
    _check_decoded(image, header)
    return image


def decode_bgr(content: bytes) -> Image:
    """An encoded image of any kind that the decoder knows as uint8 [H, W, 3], blue first. Raises ValueError.

    The one place where pictures are decoded for trained models, on the line and from files. An EXIF rotation is not followed.
    """
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), _COLOUR)
    except cv2.error as error:
        raise ValueError(f"the decoder refuses it: {error}") from error
    if image is None:
        raise ValueError(f"the decoder cannot read these {len(content)} bytes")
    return np.asarray(image, np.uint8)


def decode_grey(content: bytes, header: ImageHeader) -> Image:
    """An encoded image as uint8 [H, W] grey. Raises Refused `undecodable_image`."""
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), _GREY)
    except cv2.error as error:
        raise Refused(RefusalReason.UNDECODABLE_IMAGE, f"the decoder refuses it: {error}") from error
    if image is None:
        raise Refused(RefusalReason.UNDECODABLE_IMAGE, f"the decoder cannot read these {len(content)} bytes")
    _check_decoded(np.asarray(image, np.uint8), header)
    return np.asarray(image, np.uint8)


def _check_decoded(image: Image, header: ImageHeader) -> None:
    if image.shape[:2] != (header.height_px, header.width_px):
        raise Refused(
            RefusalReason.UNDECODABLE_IMAGE,
            f"the header says {header.width_px}x{header.height_px} px, the decoder found {image.shape[1]}x{image.shape[0]} px",
        )


def check_limit_bytes(size_bytes: int, camera: Camera) -> None:
    """Raises Refused `image_too_large` for an image that the camera may not send."""
    if size_bytes > camera.max_image_bytes:
        raise Refused(
            RefusalReason.IMAGE_TOO_LARGE,
            f"{size_bytes} bytes; camera {camera.name} may send {camera.max_image_bytes} (max_image_bytes)",
        )


def _check_bytes(frame: Frame, content: bytes, camera: Camera) -> None:
    check_limit_bytes(len(content), camera)
    if len(content) != frame.size_bytes:
        raise Refused(RefusalReason.SIZE_MISMATCH, f"{len(content)} bytes, the frame says {frame.size_bytes}")
    found = hashlib.sha256(content).hexdigest()
    if found != frame.sha256:
        raise Refused(RefusalReason.SIZE_MISMATCH, f"sha256 of the image is {found}, the frame says {frame.sha256}")


def check_limits_px(size_px: tuple[int, int], camera: Camera) -> None:
    """Raises Refused `image_too_large` for a width and height that the camera may not send."""
    width_px, height_px = size_px
    if width_px > camera.max_width_px or height_px > camera.max_height_px:
        raise Refused(
            RefusalReason.IMAGE_TOO_LARGE,
            f"{width_px}x{height_px} px; camera {camera.name} may send {camera.max_width_px}x{camera.max_height_px}",
        )


def _check_px(frame: Frame, size_px: tuple[int, int], camera: Camera) -> None:
    check_limits_px(size_px, camera)
    width_px, height_px = size_px
    if width_px < 1 or height_px < 1:
        raise Refused(RefusalReason.SIZE_MISMATCH, f"{width_px}x{height_px} px; expected at least 1x1 px")
    if size_px != (frame.width_px, frame.height_px):
        raise Refused(
            RefusalReason.SIZE_MISMATCH,
            f"the image is {width_px}x{height_px} px, the frame says {frame.width_px}x{frame.height_px}",
        )


def _raw(frame: Frame, content: bytes, camera: Camera) -> Image:
    """Raw pixels, one channel or three (RGB): uint8 [H, W], or [H, W, 3] with blue first."""
    _check_px(frame, (frame.width_px, frame.height_px), camera)
    if frame.channels not in (1, 3):
        raise Refused(RefusalReason.UNDECODABLE_IMAGE, f"raw image of {frame.channels} channels; expected 1 or 3 (RGB)")
    expected = frame.width_px * frame.height_px * frame.channels
    if len(content) != expected:
        raise Refused(
            RefusalReason.SIZE_MISMATCH,
            f"{len(content)} bytes; {frame.width_px}x{frame.height_px} px of {frame.channels} channels are {expected}",
        )
    pixels = np.frombuffer(content, np.uint8)
    if frame.channels == 1:
        return pixels.reshape(frame.height_px, frame.width_px)
    colour = pixels.reshape(frame.height_px, frame.width_px, 3)
    return np.asarray(cv2.cvtColor(colour, cv2.COLOR_RGB2BGR), np.uint8)


def _grey_of(image: Image) -> Image:
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
