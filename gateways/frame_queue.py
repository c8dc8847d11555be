"""Frames on their way from the thread that receives them to the one that binds them to parts."""

from __future__ import annotations

import queue
from typing import Generic, TypeVar

WAITING_FRAMES = 8

Frame = TypeVar("Frame")


class Connected:
    """The camera was connected anew: frame ids begin anew behind it."""


class FrameQueue(Generic[Frame]):
    """Holds `WAITING_FRAMES` frames: one that finds no room is a lost one, which the binding finds out by the ids.

    That ids begin anew is never lost, or frames of two connections would be counted as one row.
    """

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Frame | Connected] = queue.SimpleQueue()

    def begin(self) -> None:
        """The camera is connected."""
        self._events.put(Connected())

    def put(self, frame: Frame) -> bool:
        """Takes a frame; False where there is no room."""
        if self._events.qsize() >= WAITING_FRAMES:
            return False
        self._events.put(frame)
        return True

    def get(self, *, within_s: float) -> Frame | Connected | None:
        """What came first; None where nothing comes in time."""
        try:
            return self._events.get(timeout=within_s) if within_s > 0 else self._events.get_nowait()
        except queue.Empty:
            return None
