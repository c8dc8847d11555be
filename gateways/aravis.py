"""Aravis, the free GenICam library, through its C interface: GigE Vision and USB3 Vision cameras.

Its Python bindings (gi) belong to the system's interpreter and are not on PyPI; the C interface of 0.8 is stable, and these few
calls need nothing but the library. Names of features are those of the GenICam SFNC.
"""

from __future__ import annotations

import ctypes
import functools
import time
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LIBRARY = "libaravis-0.8.so.0"
BUFFERS = 8
"""Frames that the library may hold for us: bounds its memory."""
SOCKET_BUFFER_BYTES = 4 * 1024 * 1024
"""A GigE camera sends a frame in one burst, and the kernel's default holds a fraction of it; bounded by `net.core.rmem_max`."""
_FIXED = 0  # ARV_GV_STREAM_SOCKET_BUFFER_FIXED

MONO_8 = 0x01080001
BAYER_8 = {0x01080008: "GRBG", 0x01080009: "RGGB", 0x0108000A: "GBRG", 0x0108000B: "BGGR"}
RGB_8, BGR_8 = 0x02180014, 0x02180015
"""Pixel formats by their number in the GenICam PFNC; those that are 8 bits per channel and not packed."""

_STATUS = {
    1: "no frame was written",
    2: "its end is missing",
    3: "packets are missing",
    4: "a packet has a wrong id",
    5: "it is larger than its buffer",
    6: "it was still being filled",
    7: "the transfer was aborted",
    8: "its payload is of an unknown kind",
}


class _GError(ctypes.Structure):
    _fields_ = (("domain", ctypes.c_uint32), ("code", c_int), ("message", c_char_p))


class AravisError(Exception):
    """The camera, or the way to it, refused something; the message is the library's."""


class RawFrame(NamedTuple):
    """A frame as the camera sent it. `pixels`: uint8 [H, W] for Mono8 and Bayer, [H, W, 3] for RGB8 and BGR8, None where `damage` says why.

    `frame_id` counts from the start of the acquisition (16 bits wide in GigE Vision 1.x); `stamp_s` is the camera's own clock.
    """

    frame_id: int
    stamp_s: float
    received_s: float
    pixel_format: int
    pixels: NDArray[np.uint8] | None
    damage: str = ""


def require_aravis(camera: str) -> None:
    """Raises `ConfigurationError` where the library is not installed."""
    try:
        _library()
    except OSError:
        raise ConfigurationError(
            f"camera {camera} is `genicam`, which needs the library Aravis: install libaravis-0.8-0 "
            "(Debian, Ubuntu; `arv-tool-0.8` of aravis-tools lists the cameras it sees)"
        ) from None


class AravisCamera:
    """One camera, configured and acquiring. Raises `AravisError` from every method; `close` it in any case."""

    def __init__(self, device: str) -> None:
        self._c = _library()
        self._stream: int | None = None
        self._camera: int | None = self._call("arv_camera_new", device.encode())
        if not self._camera:
            raise AravisError(f"no camera `{device}`")

    def close(self) -> None:
        """Gives the camera back, so that another program can control it."""
        if self._camera is None:
            return
        try:
            self.stop()
        except AravisError:
            pass  # it is gone, then
        if self._stream:
            self._c.g_object_unref(self._stream)
        self._c.g_object_unref(self._camera)
        self._stream = self._camera = None

    def trigger_by(self, source: str) -> None:
        """One frame per trigger of `source`: TriggerSelector FrameStart, TriggerMode On, TriggerSource."""
        self._call("arv_camera_set_string", self._camera, b"AcquisitionMode", b"Continuous")
        self._call("arv_camera_set_trigger", self._camera, source.encode())

    def expose_for(self, exposure_time_us: float) -> None:
        """ExposureTime."""
        self._call("arv_camera_set_exposure_time", self._camera, c_double(exposure_time_us))

    def amplify(self, gain_db: float) -> None:
        """Gain."""
        self._call("arv_camera_set_gain", self._camera, c_double(gain_db))

    def send_as(self, pixel_format: str) -> None:
        """PixelFormat."""
        self._call("arv_camera_set_pixel_format_from_string", self._camera, pixel_format.encode())

    def start(self) -> None:
        """AcquisitionStart, with buffers for the camera's payload."""
        if self._stream is None:
            over_ethernet = self._c.arv_camera_is_gv_device(self._camera)
            if over_ethernet:
                self._call("arv_camera_gv_auto_packet_size", self._camera)
            self._stream = self._call("arv_camera_create_stream", self._camera, None, None)
            if not self._stream:
                raise AravisError("no stream")
            if over_ethernet:
                self._c.g_object_set(
                    c_void_p(self._stream),
                    b"socket-buffer", c_int(_FIXED), b"socket-buffer-size", c_int(SOCKET_BUFFER_BYTES), None,
                )  # fmt: skip
            payload = self._call("arv_camera_get_payload", self._camera)
            for _ in range(BUFFERS):
                self._c.arv_stream_push_buffer(self._stream, self._c.arv_buffer_new_allocate(payload))
        self._call("arv_camera_start_acquisition", self._camera)

    def stop(self) -> None:
        """AcquisitionStop."""
        if self._stream is not None:
            self._call("arv_camera_stop_acquisition", self._camera)

    def fire(self) -> None:
        """TriggerSoftware."""
        self._call("arv_camera_software_trigger", self._camera)

    def check(self) -> None:
        """Raises `AravisError` where the camera does not answer any more."""
        self._call("arv_camera_get_payload", self._camera)

    def next_frame(self, *, within_s: float) -> RawFrame | None:
        """The next frame; None where none comes in time."""
        buffer = self._c.arv_stream_timeout_pop_buffer(self._stream, int(within_s * 1e6))
        received_s = time.monotonic()
        if not buffer:
            return None
        try:
            return self._frame(buffer, received_s)
        finally:
            self._c.arv_stream_push_buffer(self._stream, buffer)

    def _frame(self, buffer: int, received_s: float) -> RawFrame:
        status = self._c.arv_buffer_get_status(buffer)
        pixel_format = self._c.arv_buffer_get_image_pixel_format(buffer) if status == 0 else 0
        pixels, damage = (None, _STATUS.get(status, f"status {status}")) if status else self._pixels(buffer)
        return RawFrame(
            frame_id=self._c.arv_buffer_get_frame_id(buffer),
            stamp_s=self._c.arv_buffer_get_timestamp(buffer) / 1e9,
            received_s=received_s,
            pixel_format=pixel_format,
            pixels=pixels,
            damage=damage,
        )

    def _pixels(self, buffer: int) -> tuple[NDArray[np.uint8] | None, str]:
        import numpy as np  # noqa: PLC0415 - only a camera's own process takes pixels

        pixel_format = self._c.arv_buffer_get_image_pixel_format(buffer)
        width = self._c.arv_buffer_get_image_width(buffer)
        height = self._c.arv_buffer_get_image_height(buffer)
        if pixel_format not in (MONO_8, RGB_8, BGR_8, *BAYER_8):
            return (
                None,
                f"pixel format 0x{pixel_format:08x}; set `pixel_format` to Mono8, BayerRG8 (GR8, GB8, BG8), RGB8 or BGR8",
            )
        shape = (height, width, 3) if pixel_format in (RGB_8, BGR_8) else (height, width)
        size = c_size_t()
        data = self._c.arv_buffer_get_data(buffer, byref(size))
        if size.value < height * width * ((len(shape) > 2 and 3) or 1):
            return None, f"{size.value} bytes for {width}x{height} px"
        # copied: the library fills the buffer again
        pixels = np.frombuffer(ctypes.string_at(data, int(np.prod(shape))), np.uint8).reshape(shape)
        return pixels, ""

    def _call(self, function: str, *arguments: Any) -> Any:
        error = POINTER(_GError)()
        result = getattr(self._c, function)(*arguments, byref(error))
        if error:
            message = (error.contents.message or b"").decode(errors="replace")
            self._c.g_error_free(error)
            raise AravisError(message)
        return result


@functools.cache
def _library() -> ctypes.CDLL:
    """The library with the types of the functions used. Raises OSError where it is not installed."""
    c = ctypes.CDLL(LIBRARY)
    error = POINTER(POINTER(_GError))
    for name, result, arguments in (
        ("arv_camera_new", c_void_p, (c_char_p, error)),
        ("arv_camera_set_string", None, (c_void_p, c_char_p, c_char_p, error)),
        ("arv_camera_set_trigger", None, (c_void_p, c_char_p, error)),
        ("arv_camera_set_exposure_time", None, (c_void_p, c_double, error)),
        ("arv_camera_set_gain", None, (c_void_p, c_double, error)),
        ("arv_camera_set_pixel_format_from_string", None, (c_void_p, c_char_p, error)),
        ("arv_camera_create_stream", c_void_p, (c_void_p, c_void_p, c_void_p, error)),
        ("arv_camera_is_gv_device", c_int, (c_void_p,)),
        ("arv_camera_gv_auto_packet_size", c_uint, (c_void_p, error)),
        ("arv_camera_get_payload", c_uint, (c_void_p, error)),
        ("arv_camera_start_acquisition", None, (c_void_p, error)),
        ("arv_camera_stop_acquisition", None, (c_void_p, error)),
        ("arv_camera_software_trigger", None, (c_void_p, error)),
        ("arv_stream_push_buffer", None, (c_void_p, c_void_p)),
        ("arv_stream_timeout_pop_buffer", c_void_p, (c_void_p, c_uint64)),
        ("arv_buffer_new_allocate", c_void_p, (c_size_t,)),
        ("arv_buffer_get_status", c_int, (c_void_p,)),
        ("arv_buffer_get_frame_id", c_uint64, (c_void_p,)),
        ("arv_buffer_get_timestamp", c_uint64, (c_void_p,)),
        ("arv_buffer_get_image_pixel_format", ctypes.c_uint32, (c_void_p,)),
        ("arv_buffer_get_image_width", c_int, (c_void_p,)),
        ("arv_buffer_get_image_height", c_int, (c_void_p,)),
        ("arv_buffer_get_data", c_void_p, (c_void_p, POINTER(c_size_t))),
        ("g_object_unref", None, (c_void_p,)),
        ("g_error_free", None, (POINTER(_GError),)),
    ):
        function = getattr(c, name)
        function.restype, function.argtypes = result, arguments
    c.g_object_set.restype = None  # takes any number of arguments
    return c
