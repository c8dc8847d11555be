"""Samples of one channel that travel together: regular ones, so that the first one's time and the rate tell the time of each."""

from __future__ import annotations

import struct
from typing import NamedTuple

LARGEST = 3.4e38
"""What a float32 holds."""


class Block(NamedTuple):
    """Consecutive samples; the first of them taken at `first_at_ns` (ns UTC)."""

    first_at_ns: int
    values: tuple[float, ...]

    def as_waveform(self) -> bytes:
        """Little-endian float32, as `SensorReading.waveform` has it. No value may be above `LARGEST`."""
        return struct.pack(f"<{len(self.values)}f", *self.values)


class SampleBlocks:
    """Cuts the samples of a channel into blocks of `length`. One that comes half a period early or late begins another block."""

    def __init__(self, *, length: int, period_ms: int) -> None:
        self._length = length
        self._period_ns = period_ms * 1_000_000
        self._first_at_ns = 0
        self._values: list[float] = []

    def take(self, value: float, *, at_ns: int) -> list[Block]:
        """Takes a sample; returns the blocks that it finished."""
        finished = []
        due_ns = self._first_at_ns + len(self._values) * self._period_ns
        if self._values and abs(at_ns - due_ns) > self._period_ns // 2:
            finished += self.cut()
        if not self._values:
            self._first_at_ns = at_ns
        self._values.append(value)
        return finished + (self.cut() if len(self._values) >= self._length else [])

    def cut(self) -> list[Block]:
        """Ends the block that was begun, and returns it if there is one."""
        found = [Block(self._first_at_ns, tuple(self._values))] if self._values else []
        self._values = []
        return found
