"""One connection to a video stream: OpenCV's FFmpeg backend, with a time limit on everything and a reason for every failure.

OpenCV says only that something failed; FFmpeg says why, and prints it. This module reads it from standard output and error, so it is
for a process that prints nothing else.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, NamedTuple

# FFmpeg's options: TCP, for UDP loses packets and shows torn pictures; no buffering of its own, which would be delay
os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay"
# what it fills up in a damaged frame, FFmpeg says as information (32)
os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "32"

import cv2

from schemas.addresses import without_password

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONNECT_TIMEOUT_MS = 5000
FFMPEG_SAYS = re.compile(rb"\[OPENCV:FFMPEG:(\d+)\] (.*)")
AN_ERROR = 16
CONCEALED = b"concealing "
SAID_BYTES = 64 * 1024


class StreamFailed(Exception):
    """The connection is of no more use; `what` is a word from a fixed list, the message says why."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(why)
        self.what = what


class Grabbed(NamedTuple):
    """A frame that was decoded and can be retrieved until the next one: arrival (monotonic) and the stream's time stamp."""

    received_s: float
    stamp_s: float


class FfmpegStream:
    """An open stream. Raises `StreamFailed`; nothing takes longer than `CONNECT_TIMEOUT_MS`, or `stall_after_ms` once it plays."""

    def __init__(self, url: str, *, stall_after_ms: int) -> None:
        self._said = _CapturedErrors()
        self._stall_after_ms = stall_after_ms
        self.damage = ""
        """Why the frame that was grabbed last is not to be trusted: what the decoder complained of since the last whole key frame."""
        self._capture = cv2.VideoCapture(
            url,
            cv2.CAP_FFMPEG,
            [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, CONNECT_TIMEOUT_MS,
                cv2.CAP_PROP_READ_TIMEOUT_MSEC, stall_after_ms,
                # one thread: more of them decode ahead, and each is a frame of delay
                cv2.CAP_PROP_N_THREADS, 1,
            ],
        )  # fmt: skip
        if not self._capture.isOpened():
            raise StreamFailed("camera_unreachable", self._said.reason() or f"no answer in {CONNECT_TIMEOUT_MS} ms")

    def close(self) -> None:
        """Ends the connection."""
        self._capture.release()

    def grab(self) -> Grabbed:
        """Waits for the next frame and decodes it."""
        began_s = time.monotonic()
        whole = self._capture.grab()
        received_s = time.monotonic()
        if whole:
            self._look_for_damage()
            return Grabbed(received_s, self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        if received_s - began_s > 0.9 * self._stall_after_ms / 1000:
            raise StreamFailed("camera_stalled", f"no frame for {self._stall_after_ms} ms")
        raise StreamFailed("camera_stream_ended", self._said.reason() or "the stream ended")

    def retrieve(self) -> NDArray[np.uint8]:
        """The pixels of the frame that was grabbed last, uint8 [H, W, 3] BGR."""
        done, pixels = self._capture.retrieve()
        if not done:
            raise StreamFailed("camera_stream_ended", self._said.reason() or "a frame could not be converted")
        return pixels  # type: ignore[no-any-return]

    def _look_for_damage(self) -> None:
        """FFmpeg shows a frame with missing pieces all the same, filled up with what lies around them, and only complains."""
        complaint = self._said.reason()
        if complaint:
            self.damage = complaint
        elif self.damage and int(self._capture.get(cv2.CAP_PROP_FRAME_TYPE)) == ord("I"):
            self.damage = ""


class _CapturedErrors:
    """What this process prints, in memory."""

    _file: int | None = None

    def __init__(self) -> None:
        if _CapturedErrors._file is None:
            _CapturedErrors._file = os.memfd_create("said")
            for said in (1, 2):
                os.dup2(_CapturedErrors._file, said)
        self.forget()

    def forget(self) -> None:
        assert self._file is not None
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)

    def reason(self) -> str:
        """FFmpeg's last error, without addresses' passwords; "" where there was none."""
        assert self._file is not None
        size = os.fstat(self._file).st_size
        if not size:
            return ""
        said = os.pread(self._file, SAID_BYTES, max(0, size - SAID_BYTES))
        self.forget()
        errors = [
            what.decode(errors="replace").strip()
            for level, what in FFMPEG_SAYS.findall(said)
            if int(level) <= AN_ERROR or what.startswith(CONCEALED)
        ]
        return without_password(errors[-1]) if errors else ""
