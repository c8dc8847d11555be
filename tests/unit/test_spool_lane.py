"""A lane gives back what was appended, in order, whatever was acknowledged, killed or cut off in between."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateways import segment
from gateways.segment import Envelope
from gateways.spool_lane import Lane

HOUR_NS = 3_600_000_000_000


def envelope(at_ns: int = 1) -> Envelope:
    return Envelope("plc-events", b"s", [], at_ns)


class LaneLaw(RuleBasedStateMachine):
    """A lane of tiny segments against a list. `sent` is what was taken; `safe` what the last saved position covers."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self.written = 0

    @initialize()
    def begin(self) -> None:
        self.pending: dict[int, bytes] = {}  # by number, not acknowledged
        self.answered: dict[int, bytes] = {}  # acknowledged: may come back after a crash, and then in its place
        self.out: list[int] = []
        self.acknowledged, self.claimed = 0, frozenset[int]()
        self.open()

    def open(self) -> None:
        self.lane = Lane(
            self.folder,
            "kept",
            segment_bytes=150,
            span_ns=HOUR_NS,
            acknowledged=self.acknowledged,
            claimed=self.claimed,
        )
        self.out = []

    @rule(size=st.integers(0, 90))
    def append(self, size: int) -> None:
        self.written += 1
        value = self.written.to_bytes(4, "big") + bytes(size)
        self.pending[self.lane.append(envelope(), value)] = value

    @rule()
    def take(self) -> None:
        taken = self.lane.take()
        waiting = sorted(set(self.pending) - set(self.out))
        if taken is None:
            assert not waiting
            return
        assert [number for number in waiting if number < taken.number] == [], "nothing is passed over"
        assert taken.number not in self.out
        assert taken.record.value == {**self.answered, **self.pending}[taken.number]
        self.out.append(taken.number)

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 20))
    def acknowledge(self, which: int) -> None:
        number = self.out.pop(which % len(self.out))
        self.lane.acknowledge(number)
        if number in self.pending:
            self.answered[number] = self.pending.pop(number)

    @rule()
    def rewind(self) -> None:
        self.lane.rewind()
        self.out = []

    @rule()
    def reclaim(self) -> None:
        self.lane.reclaim()

    @rule()
    def save(self) -> None:
        self.lane.sync()
        self.acknowledged, self.claimed = self.lane.acknowledged, frozenset(self.lane.claimed)

    @rule(times=st.integers(1, 2))
    def sync_fails(self, times: int) -> None:
        """The disk fails so often in a row; the first time it loses what was not synced, and the kernel says so this once."""
        before, left = self.lane._active, times

        def fails(file: int) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                return
            if before is not None and file == before._file:
                lost = sum(len(record.value) for record in before.unsynced)
                os.pwrite(file, b"\xff" * lost, before.end - lost)
            raise OSError(5, "Input/output error")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(segment.os, "fdatasync", fails)
            with suppress(OSError):
                self.lane.sync()

    @precondition(lambda self: not self.lane._failing)
    @rule(cut=st.integers(0, 120))
    def crash(self, cut: int) -> None:
        """A kill, or with `cut` a power cut that took the end of the newest segment."""
        self.lane.close()
        newest = max(self.folder.glob("*.seg"), default=None)
        if newest is not None and cut:
            os.truncate(newest, max(0, newest.stat().st_size - cut))
        self.open()
        found = [record.value for record in self.lane.waiting()]
        expected = [value for _, value in sorted(self.pending.items())]
        known = [value for _, value in sorted({**self.answered, **self.pending}.items())]
        assert [value for value in found if value in expected] == expected[: sum(value in expected for value in found)]
        assert [value for value in known if value in found] == found, "in order, and nothing invented"
        if not cut:
            assert set(expected) <= set(found)
        self.pending = {number: value for number, value in {**self.answered, **self.pending}.items() if value in found}
        self.answered = {}

    @invariant()
    def counts(self) -> None:
        assert self.lane.records == len(self.pending)
        assert self.lane.unread == len(set(self.pending) - set(self.out))
        assert (self.lane.unread_bytes > 0) == (self.lane.unread > 0) or self.lane.records > self.lane.unread

    def teardown(self) -> None:
        self.lane.close()
        self._folder.cleanup()


TestLaneLaw = LaneLaw.TestCase
