"""The regular samples of one channel, out of what an OPC UA server reports of it: a server that samples tells what has changed.

A value that it did not report again it found unchanged (Part 4, 5.13.1.6), so the samples between two reports are the value of the first:
they are *held*, one a period, as far as the server's publications reach. A reader sees a sample per period, of a constant value as well,
and a rate of change is that between two samples. Nothing is held across what the server says it lost, nor before the first report, nor
behind a value that is none.
"""

from __future__ import annotations

from typing import NamedTuple

HELD_AT_MOST_NS = 10_000_000_000
"""Publications that lie further apart vouch for nothing in between: the PLC's clock jumped, or it stood still."""
SPARE_SAMPLES = 10.0
"""So many samples may come early, together; a server that keeps giving more than was asked for is thinned to it."""
DRIFT_PPM = 200
"""By so much the clocks of source and server may run apart."""
ACCRUAL = 1.25
"""Samples that a period gives room for: a clock that runs fast, or a server that rounds the interval down, loses none."""


class Sample(NamedTuple):
    """A value and when its source took it (ns UTC, by the PLC's clock)."""

    value: float
    at_ns: int


class SampleSeries:
    """What a channel's reports make of its samples. The clocks of its source and of the server's publications may differ."""

    def __init__(self, *, period_ms: int, publishing_ms: float) -> None:
        self._period_ns = period_ms * 1_000_000
        self._old_after_ns = self._period_ns + int(publishing_ms * 1_000_000)
        self._value: float | None = None
        self._last_at_ns = 0
        # how far the source's clock is ahead of the publications', at least: a value is published after it was taken
        self._ahead_ns = 0
        self._ahead_in_ns = 0
        self._spare = SPARE_SAMPLES
        self.thinned = 0
        """Reports that came faster than one a period for long: their values live on in the samples held next."""

    @property
    def value(self) -> float | None:
        """What the channel stands at; None where that is not known."""
        return self._value

    def report(self, value: float, *, at_ns: int, published_at_ns: int, after_loss: bool = False) -> list[Sample]:
        """The server found `value` at `at_ns` (0: it does not say when) and published it at `published_at_ns`.

        `after_loss`: what lies between this report and the one before is not known. Returns the samples that this makes, in order.
        """
        begins = self._value is None or after_loss
        # a source may give the time at which a value changed last, so the first report of a session can be days old
        if at_ns == 0 or (begins and at_ns < published_at_ns - self._old_after_ns):
            at_ns = published_at_ns
        made = [] if begins else self._held(at_ns - self._period_ns // 2 - 1)
        elapsed_ns = at_ns - self._last_at_ns
        if elapsed_ns > 0:
            self._spare = min(SPARE_SAMPLES, self._spare + ACCRUAL * elapsed_ns / self._period_ns)
        if begins or elapsed_ns < 0 or at_ns - published_at_ns > self._ahead(published_at_ns):
            self._ahead_ns, self._ahead_in_ns = at_ns - published_at_ns, published_at_ns
        self._value = value
        if not begins and self._spare < 1.0:
            self.thinned += 1
            return made
        self._spare -= 1.0
        self._last_at_ns = at_ns
        return [*made, Sample(value, at_ns)]

    def quiet(self, published_at_ns: int) -> list[Sample]:
        """The server reported nothing (more) up to its publication at `published_at_ns`: the samples held since.

        Half a period is left open, for a report that comes early.
        """
        if self._value is None:
            return []
        return self._held(published_at_ns + self._ahead(published_at_ns) - self._period_ns // 2)

    def lose(self) -> None:
        """What the channel stands at is not known any more: it has no samples until its next report."""
        self._value = None

    def restart(self, published_at_ns: int) -> None:
        """The PLC's clock jumped: a value that stands goes on from its publication at `published_at_ns`."""
        self._last_at_ns = self._ahead_in_ns = published_at_ns
        self._ahead_ns = 0

    def _ahead(self, published_at_ns: int) -> int:
        return self._ahead_ns - (published_at_ns - self._ahead_in_ns) * DRIFT_PPM // 1_000_000

    def _held(self, until_ns: int) -> list[Sample]:
        """The value once a period up to `until_ns`."""
        assert self._value is not None
        count = (until_ns - self._last_at_ns) // self._period_ns
        if count <= 0 or (count - 1) * self._period_ns > HELD_AT_MOST_NS:
            return []
        made = [Sample(self._value, self._last_at_ns + place * self._period_ns) for place in range(1, count + 1)]
        self._last_at_ns = made[-1].at_ns
        return made
