"""A video file as a camera: trigger count n shows its n-th group of frames."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import cv2

from gateways.picture_encoding import encoded, refuse_size
from gateways.picture_source import CaptureFailed, Picture, Trigger
from schemas.plant import Camera, VideoSource


class VideoCamera:
    """Frames of a video file, bound by counter: `(trigger count - 1) * frames_per_part` plus the place of the view among the camera's.

    The file is read forward, frame by frame: seeking lands on the nearest key frame in many formats. A frame that lies far
    ahead may not be reached within `timeout_ms`; the next attempt goes on from there.
    """

    def __init__(self, *, camera: Camera, source: VideoSource, plant_dir: Path) -> None:
        self._camera = camera
        self._source = source
        self._path = plant_dir / source.path
        self._reading = asyncio.Lock()
        self._file: cv2.VideoCapture | None = None
        self._next = 0
        self._frames: int | None = None  # known once the end has been reached

    @property
    def keeps_triggers(self) -> bool:
        """Each frame can be had again."""
        return True

    async def run(self) -> None:
        """Nothing to keep: the file is read when a picture is asked for."""

    def triggered(self, trigger: Trigger, *, wanted: bool) -> None:
        """Nothing to note: frames are found by their numbers."""

    async def capture(self, *, view: str, trigger: Trigger) -> Picture:
        """The frame, encoded as the source says."""
        asked_at_ns = time.time_ns()
        number = (trigger.count - 1) * self._source.frames_per_part + self._camera.views.index(view)
        if number < 0:
            raise CaptureFailed(f"{self._path}: trigger counts begin at 1, not at {trigger.count}")
        deadline_s = time.monotonic() + self._source.timeout_ms / 1000
        async with self._reading:
            return Picture(await asyncio.to_thread(self._frame, number, deadline_s), asked_at_ns)

    def _frame(self, number: int, deadline_s: float) -> bytes:
        """Frame `number`, from 0; with `repeat` the count begins again at the end of the file."""
        while not self._reach(self._wrapped(number), deadline_s):
            if not self._source.repeat or not self._frames:
                raise CaptureFailed(f"{self._path}: no frame {number} (from 0), the file has {self._frames}")
        file = self._opened()
        done, pixels = file.retrieve()
        if not done:
            raise CaptureFailed(f"{self._path}: frame {number} cannot be decoded")
        return encoded(pixels, camera=self._camera, jpeg_quality=self._source.jpeg_quality)

    def _wrapped(self, number: int) -> int:
        return number % self._frames if self._source.repeat and self._frames else number

    def _reach(self, number: int, deadline_s: float) -> bool:
        """Reads on until frame `number` is the one that `retrieve` gives; False where the file ends before it."""
        if self._frames is not None and number >= self._frames:
            return False
        if number < self._next - 1:
            self._file = None
        file = self._opened()
        while self._next <= number:
            if time.monotonic() > deadline_s:
                raise CaptureFailed(f"{self._path}: frame {number} not reached within {self._source.timeout_ms} ms")
            if not file.grab():
                self._frames = self._next
                self._file = None
                return False
            self._next += 1
        return True

    def _opened(self) -> cv2.VideoCapture:
        if self._file is None:
            if not self._path.is_file():
                raise CaptureFailed(f"{self._path}: no such file")
            file = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
            if not file.isOpened():
                raise CaptureFailed(f"{self._path}: no video that FFmpeg can read")
            refuse_size(
                int(file.get(cv2.CAP_PROP_FRAME_WIDTH)), int(file.get(cv2.CAP_PROP_FRAME_HEIGHT)), camera=self._camera
            )
            self._file, self._next = file, 0
        return self._file
