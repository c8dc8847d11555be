"""No event overtakes another of its key, and nothing is lost, whatever broker, disk and process do in between."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gateways import outbox
from gateways.outbox import ForSpool, Item, Outbox
from gateways.segment import Envelope
from gateways.spool import Spool
from gateways.spool_lane import Lane
from schemas.settings import SpoolSettings
from schemas.topics import BY_NAME, FRAMES, PLC_EVENTS

VALUE_BYTES = 1_000
SETTINGS = SpoolSettings(max_mib=1, keep_free_percent=0, sync_ms=0, drain_mib_per_s=1)


class Line:
    """An outbox with a spool, driven by hand; `log` is what the broker has, in order, repetitions included."""

    def __init__(self, folder: Path, *, budget_bytes: int = 10 * VALUE_BYTES) -> None:
        self.folder = folder
        self.budget_bytes = budget_bytes
        self.now_s = 100.0
        self.attempt = 1
        self.log: list[tuple[str, bytes, bytes]] = []
        self.flying: list[Item] = []
        self.batch: list[ForSpool] | None = None
        self.numbers: list[int] | None = None
        self.open()

    def open(self) -> None:
        self.spool = Spool(self.folder, settings=SETTINGS)
        self.outbox = Outbox(budget_bytes=self.budget_bytes, spool=self.spool)
        self.flying, self.batch, self.numbers = [], None, None

    def put(self, topic: str, key: bytes, number: int) -> list[Item]:
        value = number.to_bytes(4, "big") + bytes(VALUE_BYTES)
        item = Item(BY_NAME[topic], key, value, [], topic == FRAMES.name, lambda _fate: None, 1, since_s=self.now_s)
        return self.outbox.put(item)

    def send(self) -> Item | None:
        chosen = self.outbox.next(now_s=self.now_s)
        if isinstance(chosen, Lane):
            taken = self.spool.take(chosen)
            assert taken is not None, "a lane that is to be read has something to read"
            record, value = taken.record
            chosen = Item(
                BY_NAME[record.topic], record.key, value, [], chosen is self.spool.droppable, lambda _fate: None, 1,
                settled=True, number=taken.number,
            )  # fmt: skip
        if chosen is not None:
            self.outbox.hand_over(chosen, attempt=self.attempt, now_s=self.now_s)
            self.flying.append(chosen)
        return chosen

    def arrives(self, item: Item) -> None:
        self.log.append((item.topic.name, item.key, item.value[:4]))

    def acknowledge(self) -> None:
        item = self.flying.pop(0)
        self.arrives(item)
        assert self.outbox.acknowledge(item, attempt=self.attempt)

    def die(self, arrived: int) -> None:
        """The producer ends; the first of what was under way have arrived, and nobody knows."""
        for item in self.flying[:arrived]:
            self.arrives(item)
        self.flying = []
        self.attempt += 1
        self.outbox.take_back()

    def spool_begin(self) -> None:
        self.batch = self.outbox.take_for_spool() if self.outbox.must_spool(now_s=self.now_s) else []

    def spool_write(self, fails_after: int = 1000) -> None:
        assert self.batch is not None
        self.numbers = [
            self.spool.append(
                Envelope(item.topic.name, item.key, [], 1), item.value, droppable=item.droppable,
                attempted=item.attempt > 0, flying=flying,
            )
            for item, flying in self.batch[:fails_after]
        ]  # fmt: skip

    def spool_end(self) -> None:
        assert self.batch is not None
        assert self.numbers is not None
        written, failed = self.batch[: len(self.numbers)], self.batch[len(self.numbers) :]
        self.outbox.spool_fails = bool(failed)
        with self.outbox.condition:
            self.outbox.spooled(written, self.numbers, failed)
        self.batch = self.numbers = None

    def spool_all(self) -> None:
        """One tick of the keeper."""
        self.spool_begin()
        self.spool_write()
        self.spool_end()

    def settle(self) -> None:
        """Everything is sent and acknowledged."""
        if self.batch is not None and self.numbers is None:
            self.spool_write()
        if self.batch is not None:
            self.spool_end()
        while True:
            self.now_s += 1
            while self.send() is not None:
                pass
            if self.flying:
                self.acknowledge()
            elif not (
                self.outbox.kept or self.outbox.droppable or self.spool.kept.unread or self.spool.droppable.unread
            ):
                return
            self.spool_all()

    def close(self) -> None:
        self.spool.close()


class OutboxLaw(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(outbox, "IN_FLIGHT_BYTES", 6 * VALUE_BYTES)
        self._folder = tempfile.TemporaryDirectory()

    @initialize()
    def begin(self) -> None:
        self.line = Line(Path(self._folder.name))
        self.count = 0
        self.owed: dict[tuple[str, bytes, bytes], None] = {}

    @rule(topic=st.sampled_from([PLC_EVENTS.name, FRAMES.name]), key=st.sampled_from([b"a", b"b"]))
    def put(self, topic: str, key: bytes) -> None:
        self.count += 1
        self.owed[topic, key, self.count.to_bytes(4, "big")] = None
        for item in self.line.put(topic, key, self.count):
            subject = (item.topic.name, item.key, item.value[:4])
            assert item.droppable
            assert subject not in self.line.log
            del self.owed[subject]

    @rule()
    def send(self) -> None:
        self.line.send()

    @precondition(lambda self: self.line.flying)
    @rule()
    def acknowledge(self) -> None:
        self.line.acknowledge()

    @rule(arrived=st.integers(0, 6))
    def die(self, arrived: int) -> None:
        self.line.die(arrived)

    @rule(seconds=st.sampled_from([0.1, 2.0]))
    def wait(self, seconds: float) -> None:
        self.line.now_s += seconds

    @precondition(lambda self: self.line.batch is None)
    @rule()
    def spool_begin(self) -> None:
        self.line.spool_begin()

    @precondition(lambda self: self.line.batch is not None and self.line.numbers is None)
    @rule(fails_after=st.sampled_from([0, 1, 2, 1000, 1000]))
    def spool_write(self, fails_after: int) -> None:
        self.line.spool_write(fails_after)

    @precondition(lambda self: self.line.numbers is not None)
    @rule()
    def spool_end(self) -> None:
        self.line.spool_end()

    @precondition(lambda self: self.line.batch is None)
    @rule()
    def kill(self) -> None:
        """A kill -9: what was only in memory and had not arrived is gone."""
        gone = {(item.topic.name, item.key, item.value[:4]) for item in self.line.outbox.left()}
        for subject in gone - set(self.line.log):
            self.owed.pop(subject, None)
        os.close(self.line.spool._lock_file)
        self.line.open()

    def teardown(self) -> None:
        self.line.settle()
        assert set(self.owed) <= set(self.line.log), "nothing is lost"
        for key in (b"a", b"b"):
            told = [n for topic, k, n in dict.fromkeys(self.line.log) if (topic, k) == (PLC_EVENTS.name, key)]
            assert told == sorted(told), "no event overtakes another of its key"
        assert self.line.outbox.bytes == 0
        self.line.close()
        self.patch.undo()
        self._folder.cleanup()


TestOutboxLaw = OutboxLaw.TestCase


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(outbox, "IN_FLIGHT_BYTES", 10 * VALUE_BYTES)
    line = Line(tmp_path, budget_bytes=5 * VALUE_BYTES)
    yield line
    line.close()


def to_disk(line: Line) -> None:
    line.now_s += 2
    line.spool_all()


def numbers(line: Line) -> list[int]:
    return [int.from_bytes(number, "big") for _, _, number in line.log]


def test_beside_a_long_backlog_live_frames_go_first_and_the_backlog_at_its_rate(line: Line) -> None:
    for number in range(30):
        line.put(FRAMES.name, b"c", number)
        to_disk(line)
    assert line.send() is not None, "of the backlog"
    line.acknowledge()
    line.put(FRAMES.name, b"c", 99)
    assert line.send() is not None
    line.acknowledge()
    assert line.send() is None, "the backlog waits for its turn"
    line.now_s += 1
    assert line.send() is not None
    line.acknowledge()
    assert numbers(line) == [0, 99, 1]


def test_behind_a_short_backlog_frames_keep_their_order(line: Line) -> None:
    for number in range(4):
        line.put(FRAMES.name, b"c", number)
        to_disk(line)
    line.put(FRAMES.name, b"c", 99)
    line.settle()
    assert numbers(line) == [0, 1, 2, 3, 99]


@given(waiting=st.integers(0, 30))
def test_a_live_frame_waits_for_no_more_of_a_backlog_than_may_be_under_way_at_once(waiting: int) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(outbox, "IN_FLIGHT_BYTES", 10 * VALUE_BYTES)
        line = Line(Path(folder))
        for number in range(waiting):
            line.put(FRAMES.name, b"c", number)
            to_disk(line)
        line.put(FRAMES.name, b"c", 99)
        line.settle()
        line.close()
    before = numbers(line).index(99)
    assert before * VALUE_BYTES <= 10 * VALUE_BYTES
    assert [number for number in numbers(line) if number != 99] == list(range(waiting)), "the backlog is in order"


def test_readings_keep_their_order_behind_any_backlog(line: Line) -> None:
    for number in range(30):
        item = Item(BY_NAME["sensors"], b"press", number.to_bytes(4, "big") + bytes(VALUE_BYTES), [], True,
                    lambda _fate: None, 1, since_s=line.now_s)  # fmt: skip
        line.outbox.put(item)
        to_disk(line) if number < 29 else None
    line.settle()
    assert numbers(line) == list(range(30))


def test_a_broker_that_takes_everything_in_time_costs_no_disk(line: Line) -> None:
    for number in range(30):
        line.put(FRAMES.name, b"c", number)
        line.put(PLC_EVENTS.name, b"s", number)
        line.now_s += 0.3
        line.spool_all()
        while line.send() is not None:
            line.acknowledge()
    assert line.spool.kept.next_number == line.spool.droppable.next_number == 0


def test_over_the_memory_budget_frames_go_to_disk_at_once_and_without_a_disk_the_oldest_are_given_up(
    line: Line,
) -> None:
    for number in range(8):
        assert line.put(FRAMES.name, b"c", number) == []
    line.spool_begin()
    assert line.batch is not None
    assert len(line.batch) == 8
    line.spool_write(fails_after=0)
    line.spool_end()
    dropped = line.put(FRAMES.name, b"c", 8)
    assert [item.value[3] for item in dropped] == list(range(len(dropped)))
    assert len(line.outbox.droppable) == 9 - len(dropped)
    assert line.outbox.bytes <= 5 * VALUE_BYTES


def test_what_was_acknowledged_before_it_was_on_disk_is_not_sent_again_and_hides_nothing_behind_it(line: Line) -> None:
    line.put(PLC_EVENTS.name, b"s", 1)
    line.send()
    line.put(PLC_EVENTS.name, b"s", 2)
    line.now_s += 2
    line.spool_begin()
    line.acknowledge()
    line.spool_write()
    line.spool_end()
    line.settle()
    assert numbers(line) == [1, 2]


def test_a_producer_that_dies_between_write_and_its_number_leaves_no_count_that_is_not_there(line: Line) -> None:
    line.put(PLC_EVENTS.name, b"s", 1)
    line.send()
    line.now_s += 2
    line.spool_begin()
    line.acknowledge()
    line.spool_write()
    line.die(arrived=0)
    line.spool_end()
    assert line.spool.kept.unread == 0
    line.put(PLC_EVENTS.name, b"s", 2)
    line.settle()
    assert numbers(line) == [1, 2]


def test_frames_cost_events_nothing_and_events_cost_frames_nothing(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "KEPT_BYTES", 4 * VALUE_BYTES)
    line.outbox.spool_fails = True
    for number in range(3):
        assert line.put(FRAMES.name, b"c", number) == []
        assert line.put(PLC_EVENTS.name, b"s", number) == []
    (oldest_event,) = line.put(PLC_EVENTS.name, b"s", 3)
    assert (oldest_event.topic, oldest_event.value[3]) == (PLC_EVENTS, 0), "only above its own bound, the oldest"
    assert line.put(FRAMES.name, b"c", 3) == []
    (oldest_frame,) = line.put(FRAMES.name, b"c", 4)
    assert (oldest_frame.topic, oldest_frame.value[3]) == (FRAMES, 0)


def test_an_event_that_may_have_arrived_is_not_given_up(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "KEPT_BYTES", 3 * VALUE_BYTES)
    line.put(PLC_EVENTS.name, b"s", 0)
    line.send()
    line.die(arrived=0)
    line.put(PLC_EVENTS.name, b"s", 1)
    assert [item.value[3] for item in line.put(PLC_EVENTS.name, b"s", 2)] == [1]
    line.settle()
    assert numbers(line) == [0, 2]
