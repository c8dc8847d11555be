"""When the triggers that are read from a station's ring were, without believing the PLC's clock.

What is read late looks like what just happened. The PLC stamps its arrivals, and the stamp that waited least tells how its clock lies to
ours (`gateways.stream_clock`), whatever time it shows: what waited longer was read so much later. A bound stands beside it that needs
no clock of the PLC's: an arrival was not there when the ring was read before.

A PLC's clock that is set back makes arrivals look late, by the time since the reading before at most, for a minute at most.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import NamedTuple, Self

from gateways.arrivals import Arrival, RingNews
from gateways.picture_source import Trigger
from gateways.stream_clock import StreamClock
from schemas.plant import Camera, GenicamSource, HttpSource, RtspSource

LOOKS_IN_TIME = 5
"""So often the ring is looked at in the time within which an arrival has to be seen, until one was."""
LEAST_LOOK_S = 0.02


class Moment(NamedTuple):
    """A moment by both clocks of the gateway: monotonic (s) and UTC (ns)."""

    monotonic_s: float
    utc_ns: int

    @classmethod
    def now(cls) -> Self:
        """This one."""
        return cls(time.monotonic(), time.time_ns())


def prompt_within_s(cameras: Iterable[Camera]) -> float:
    """How late an arrival may be at most to be the one that others are measured by; infinite where no camera's picture depends on it.

    As late as a picture may be begun for the camera that allows least: those that follow may be as much later than this one. For a
    wired camera frame and trigger of two parts are further apart than that (`gateways.trigger_binding`).
    """
    limits_ms = [math.inf]
    for camera in cameras:
        match camera.source:
            case HttpSource(url=url, expose_within_ms=within_ms) if "{trigger}" not in url:
                limits_ms.append(within_ms)
            case GenicamSource(trigger="software", expose_within_ms=within_ms):
                limits_ms.append(within_ms)
            case GenicamSource(window_ms=window_ms) | RtspSource(window_ms=window_ms):
                limits_ms.append(window_ms)
            case _:
                pass
    return min(limits_ms) / 1000


class TriggerTimes:
    """The triggers of one station.

    `taken_for_ms`: arrivals that are older at the first reading are not taken. `prompt_within_s`: as the function says.
    """

    def __init__(self, *, taken_for_ms: int, prompt_within_s: float) -> None:
        self._taken_for_ns = taken_for_ms * 1_000_000
        self._prompt_within_s = prompt_within_s
        self._measured = math.isinf(prompt_within_s)
        self._clock = StreamClock()
        self._plc_session = ""
        self._before: Moment | None = None
        self._last_at_s = float("-inf")

    def look_within_s(self, longest_s: float) -> float:
        """When the ring should be read again, at most `longest_s` from now: often, while no arrival was shown to be prompt."""
        if self._measured:
            return longest_s
        return min(longest_s, max(LEAST_LOOK_S, self._prompt_within_s / LOOKS_IN_TIME))

    def of(self, news: RingNews[Arrival], *, asked: Moment, answered: Moment, reconnected: bool) -> list[Trigger]:
        """The triggers of `news`, which the PLC was `asked` for and `answered`, in its order; to be called for every reading.

        `reconnected`: it is the first reading of a connection, and how long its entries waited for it is not known.
        """
        if news.went_back or news.plc_session != self._plc_session:
            self._clock = StreamClock()
            self._plc_session = news.plc_session
            self._measured = math.isinf(self._prompt_within_s)
        before = self._before or Moment(float("-inf"), asked.utc_ns - self._taken_for_ns)
        self._before = asked
        if news.entries and answered.monotonic_s - before.monotonic_s <= self._prompt_within_s:
            self._measured = True
        triggers = []
        for arrival in news.entries:
            newest = arrival is news.entries[-1]
            # after a standstill hundreds come at once; those behind by more than the way to the gate must not delay the others
            behind_s = max(0, news.entries[-1].occurred_at_ns - arrival.occurred_at_ns) / 1e9
            at_s = self._clock.exposed_s(stamp_s=arrival.occurred_at_ns / 1e9, received_s=answered.monotonic_s)
            # whatever the PLC's clock does, triggers follow each other
            at_s = min(at_s, answered.monotonic_s)
            self._last_at_s = max(at_s, before.monotonic_s, math.nextafter(self._last_at_s, math.inf))
            triggers.append(
                Trigger(
                    count=arrival.count,
                    seen_s=answered.monotonic_s - behind_s,
                    at_s=self._last_at_s,
                    fresh=newest and not reconnected and self._measured,
                    not_before_ns=before.utc_ns,
                )
            )
        return triggers
