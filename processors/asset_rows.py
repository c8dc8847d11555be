"""Readings of an asset's channels, one by one, as rows of all of them: one row for every `every_ms` of the sensors' clock.

The first reading of a channel within a row counts; a waveform counts as its root mean square. A row is there when every channel has
one. A row that a channel is missing from when the next but one is complete never comes: `incomplete` counts those.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.message import NS_PER_MS
from schemas.plant import Asset
from schemas.sensors import SensorReading

OPEN_ROWS = 16
"""Rows that wait for a channel: its gateway sends it a little later than the others."""


class Row(NamedTuple):
    """Values of all channels, float64 [channels], of the row that begins at `at_ns`."""

    at_ns: int
    values: npt.NDArray[np.float64]


class AssetRows:
    """Puts rows together, in order of time."""

    def __init__(self, asset: Asset, *, every_ms: int) -> None:
        self._numbers = {channel.name: number for number, channel in enumerate(asset.channels)}
        self._every_ns = every_ms * NS_PER_MS
        self._open: dict[int, dict[int, float]] = {}
        self._newest_done = -1
        self.incomplete = 0

    def take(self, reading: SensorReading) -> Row | None:
        """A reading that was not refused; gives the row that it completes. One that is no number is none."""
        value, bucket = _value(reading), reading.measured_at_ns // self._every_ns
        if value is None or bucket <= self._newest_done:
            return None
        row = self._open.setdefault(bucket, {})
        row.setdefault(self._numbers[reading.channel], value)
        if len(row) < len(self._numbers):
            self._drop_oldest()
            return None
        older = [number for number in self._open if number <= bucket]
        self.incomplete += len(older) - 1
        for number in older:
            del self._open[number]
        self._newest_done = bucket
        return Row(bucket * self._every_ns, np.array([row[number] for number in sorted(row)]))

    def _drop_oldest(self) -> None:
        while len(self._open) > OPEN_ROWS:
            oldest = min(self._open)
            del self._open[oldest]
            self._newest_done = oldest
            self.incomplete += 1


def _value(reading: SensorReading) -> float | None:
    if reading.value is not None:
        return reading.value if np.isfinite(reading.value) else None
    block = np.frombuffer(reading.waveform or b"", "<f4").astype(np.float64)
    return float(np.sqrt(np.mean(block**2))) if len(block) and np.isfinite(block).all() else None
