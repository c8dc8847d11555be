"""An RTSP camera in its process: one thread decodes every frame, another encodes the few that belong to a part.

A frame is converted and encoded only where a part's window is open (`gateways.part_windows`); everything else costs the decoding.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from gateways.camera_child import Send
from gateways.camera_wire import Answer, Ask, Failure, Figures, Told, Triggered
from gateways.ffmpeg_stream import FfmpegStream, Grabbed, StreamFailed
from gateways.part_windows import PartWindows
from gateways.picture_encoding import encoded, refuse_size
from gateways.picture_source import CaptureFailed, TooLate, refuse_late
from gateways.stream_clock import StreamClock
from schemas.addresses import without_password
from schemas.patience import pause_s
from schemas.plant import Camera, RtspSource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONGEST_PAUSE_S = 5.0
LOOK_EVERY_S = 0.01
TELL_EVERY_S = 1.0
WAITING_PICTURES = 4


class _Shown(NamedTuple):
    part: int
    pixels: NDArray[np.uint8]
    exposed_s: float


class RtspReader:
    """One camera; see `gateways.camera_child.Reader`."""

    def __init__(self, *, camera: Camera, source: RtspSource, send: Send) -> None:
        self._camera = camera
        self._source = source
        self._send = send
        self._address = without_password(source.url)
        self._windows = PartWindows(window_s=source.window_ms / 1000)
        self._guard = threading.Lock()
        self._pictures: queue.Queue[_Shown] = queue.Queue(WAITING_PICTURES)
        self._state = "it is being connected"
        self._frames = self._connections = self._connection_frames = 0
        self._first_stamp_s = self._last_stamp_s = 0.0
        self._size: tuple[int, ...] | None = None

    def start(self) -> None:
        """Begins to connect."""
        for loop in (self._read, self._answer):
            threading.Thread(target=loop, name=loop.__name__, daemon=True).start()

    def triggered(self, trigger: Triggered) -> None:
        """Ends the window of the part before."""
        with self._guard:
            self._windows.trigger(at_s=trigger.at_s)

    def ask(self, ask: Ask) -> None:
        """Opens the window of a part, where a frame that falls into it may still come."""
        try:
            refuse_late(
                ask.at_s + self._source.latency_ms / 1000, within_ms=self._source.window_ms, setting="window_ms"
            )
        except TooLate as error:
            self._fail(ask.number, str(error), too_late=True)
            return
        with self._guard:
            self._windows.want(ask.number, at_s=ask.at_s)

    # --- the stream --------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        failed = 0
        while True:
            frames = self._frames
            try:
                self._play()
            except StreamFailed as error:
                failed = 1 if self._frames > frames else failed + 1
                self._state = str(error)
                self._send(Told(what=error.what, detail=f"{self._address}: {error}"))
            time.sleep(pause_s(failed, longest_s=LONGEST_PAUSE_S))

    def _play(self) -> None:
        stream = FfmpegStream(self._source.url, stall_after_ms=self._source.stall_after_ms)
        clock = StreamClock()
        self._connections += 1
        self._connection_frames = 0
        try:
            while True:
                grabbed = stream.grab()
                self._state = ""
                self._count(grabbed)
                exposed_s = clock.exposed_s(stamp_s=grabbed.stamp_s, received_s=grabbed.received_s)
                self._offer(stream, exposed_s - self._source.latency_ms / 1000)
        finally:
            stream.close()

    def _offer(self, stream: FfmpegStream, exposed_s: float) -> None:
        with self._guard:
            part = self._windows.frame(exposed_s=exposed_s)
        if part is None:
            return
        if stream.damage:
            self._send(Told(what="camera_frame_damaged", detail=f"{self._address}: {stream.damage}"))
            self._fail(part, f"its frame could not be decoded whole: {stream.damage}")
            return
        try:
            self._pictures.put_nowait(_Shown(part, stream.retrieve(), exposed_s))
        except queue.Full:
            self._fail(part, f"{WAITING_PICTURES} pictures wait already to be encoded")
        except StreamFailed as error:
            self._fail(part, str(error))
            raise

    def _count(self, grabbed: Grabbed) -> None:
        if self._connection_frames == 0:
            self._first_stamp_s = grabbed.stamp_s
        self._last_stamp_s = grabbed.stamp_s
        self._connection_frames += 1
        self._frames += 1

    # --- answers -----------------------------------------------------------------------------------------------------

    def _answer(self) -> None:
        told_s = time.monotonic()
        while True:
            try:
                shown = self._pictures.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                pass
            else:
                self._show(shown)
            self._close_windows()
            if time.monotonic() - told_s > TELL_EVERY_S:
                told_s = time.monotonic()
                self._send(self._figures())

    def _show(self, shown: _Shown) -> None:
        pixels = shown.pixels
        height_px, width_px = pixels.shape[:2]
        if self._size not in (None, pixels.shape):
            was = f"{self._size[1]}x{self._size[0]}" if self._size else ""
            self._send(Told(what="camera_size_changed", detail=f"{self._address}: {was} -> {width_px}x{height_px} px"))
        self._size = pixels.shape
        taken_at_ns = time.time_ns() - int(1e9 * (time.monotonic() - shown.exposed_s))
        try:
            refuse_size(width_px, height_px, camera=self._camera)
            image = encoded(pixels, camera=self._camera, jpeg_quality=self._source.jpeg_quality)
        except CaptureFailed as error:
            self._fail(shown.part, str(error))
            return
        self._send(Answer(number=shown.part, image=image, captured_at_ns=taken_at_ns))

    def _close_windows(self) -> None:
        with self._guard:
            closed = self._windows.closed(now_s=time.monotonic() - self._source.latency_ms / 1000)
        for window in closed:
            self._fail(window.part, window.why + (f"; the stream is away: {self._state}" if self._state else ""))

    def _fail(self, part: int, why: str, *, too_late: bool = False) -> None:
        self._send(Failure(number=part, why=f"{self._address}: {why}", too_late=too_late))

    def _figures(self) -> Figures:
        return Figures(
            frames=self._frames,
            connection_frames=self._connection_frames,
            stamped_s=self._last_stamp_s - self._first_stamp_s,
            connections=self._connections,
        )
