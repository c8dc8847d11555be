"""Latencies between messages about the same thing, and their percentiles."""

from __future__ import annotations

import random
from array import array
from collections import OrderedDict

import msgspec
import numpy as np

from processors.part_state import PartVisit

LARGEST_SAMPLE = 200_000
MOST_UNDER_WAY = 100_000
PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}


class Latencies:
    """Latencies in ms. Exact up to 200,000 values; beyond, an even sample of all (algorithm R, Vitter 1985) and the true maximum."""

    def __init__(self) -> None:
        self._values = array("d")
        self._count = 0
        self._most = 0.0
        self._random = random.Random(0)

    def add(self, from_ns: int, to_ns: int) -> None:
        """A latency between two moments, ns UTC. Clocks that disagree a little do not make it negative."""
        value_ms = max(0.0, (to_ns - from_ns) / 1e6)
        self._count += 1
        self._most = max(self._most, value_ms)
        if len(self._values) < LARGEST_SAMPLE:
            self._values.append(value_ms)
        elif (at := self._random.randrange(self._count)) < LARGEST_SAMPLE:
            self._values[at] = value_ms

    @property
    def values_ms(self) -> list[float]:
        """What was measured, or the even sample of it, in ms, in no order."""
        return list(self._values)

    def percentiles(self) -> dict[str, float | None]:
        """`p50`, `p95`, `p99` and `max` in ms, to the microsecond; None where nothing was measured."""
        if not self._values:
            return dict.fromkeys(PERCENTILES)
        found = np.percentile(np.frombuffer(self._values), list(PERCENTILES.values()))
        figures = {name: round(float(value), 3) for name, value in zip(PERCENTILES, found, strict=True)}
        return {**figures, "max": round(self._most, 3)}


class _Times(msgspec.Struct, kw_only=True):
    triggered_ns: int | None = None
    decided_ns: int | None = None
    acknowledged_ns: int | None = None


class PartLatencies:
    """From a part's trigger to its verdict and to the PLC's acknowledgement; the three may come in any order."""

    def __init__(self) -> None:
        self.to_verdict = Latencies()
        self.to_acknowledgement = Latencies()
        self._under_way: OrderedDict[PartVisit, _Times] = OrderedDict()

    def triggered(self, visit: PartVisit, at_ns: int) -> None:
        """The part arrived."""
        times = self._times(visit)
        times.triggered_ns = at_ns
        if times.decided_ns is not None:
            self.to_verdict.add(at_ns, times.decided_ns)
        if times.acknowledged_ns is not None:
            self.to_acknowledgement.add(at_ns, times.acknowledged_ns)
        self._forget_finished(visit, times)

    def decided(self, visit: PartVisit, at_ns: int) -> None:
        """The part has its verdict."""
        times = self._times(visit)
        times.decided_ns = at_ns
        if times.triggered_ns is not None:
            self.to_verdict.add(times.triggered_ns, at_ns)
        self._forget_finished(visit, times)

    def acknowledged(self, visit: PartVisit, at_ns: int) -> None:
        """The PLC took the verdict."""
        times = self._times(visit)
        times.acknowledged_ns = at_ns
        if times.triggered_ns is not None:
            self.to_acknowledgement.add(times.triggered_ns, at_ns)
        self._forget_finished(visit, times)

    def _times(self, visit: PartVisit) -> _Times:
        times = self._under_way.setdefault(visit, _Times())
        if len(self._under_way) > MOST_UNDER_WAY:
            self._under_way.popitem(last=False)
        return times

    def _forget_finished(self, visit: PartVisit, times: _Times) -> None:
        if None not in (times.triggered_ns, times.decided_ns, times.acknowledged_ns):
            self._under_way.pop(visit, None)
