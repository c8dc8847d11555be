"""What the PLC gateway knows of its former life, what it may commit, and when a heart stands still."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.arrivals import Departure, RingNews
from gateways.handshake import StationHandshake
from gateways.heartbeats import HeartbeatWatch, OwnHeart, exchange_heartbeats
from gateways.opcua_session import REQUEST_TIMEOUT_S, NodeFault, PlcAway, Reading
from gateways.outbox import Fate
from gateways.plc_history import REMEMBERED, StationHistory
from gateways.plc_link import pause_before
from gateways.plc_report import StationReport
from gateways.sampled_channel import why_unusable
from gateways.station_metrics import StationMetrics
from gateways.station_nodes import station_nodes, writable_nodes
from schemas.codec import encode
from schemas.plant import Plant, PlcNodes
from schemas.plc_events import (
    LineMode,
    LineStateChanged,
    PartArrived,
    PartLeft,
    PlcEvent,
    PlcFault,
    RecipeChanged,
    RejectConfirmed,
)
from schemas.reasons import HandshakeCode
from schemas.telemetry import Stage
from schemas.topics import PLC_EVENTS


def arrived(
    part_id: str, *, plc_session: str = "a", visit: int = 1, count: int = 1, occurred_at_ns: int = 1
) -> PartArrived:
    return PartArrived(
        id=f"s/{part_id}/{visit}/arrived",
        station="s",
        part_id=part_id,
        visit=visit,
        recipe="r@1",
        expected_views=(),
        trigger_count=count,
        occurred_at_ns=occurred_at_ns,
        plc_session=plc_session,
    )


def left(part_id: str, *, occurred_at_ns: int = 1) -> PartLeft:
    return PartLeft(
        id=f"s/{part_id}/1/left",
        station="s",
        part_id=part_id,
        visit=1,
        lane="good",
        by_fail_safe=False,
        occurred_at_ns=occurred_at_ns,
    )


def rejected(part_id: str) -> RejectConfirmed:
    return RejectConfirmed(
        id=f"s/{part_id}/1/reject_confirmed", station="s", part_id=part_id, visit=1, occurred_at_ns=1
    )


def line(mode: LineMode) -> LineStateChanged:
    return LineStateChanged(id="l", station="s", mode=mode, cause="", occurred_at_ns=1)


def recipe(name: str) -> RecipeChanged:
    return RecipeChanged(id="r", station="s", recipe=name, occurred_at_ns=1)


def fault(code: str, *, cleared: bool = False) -> PlcFault:
    return PlcFault(id="f", station="s", code=code, detail="", occurred_at_ns=1, cleared=cleared)


def test_what_was_told_is_no_news_and_everything_else_is() -> None:
    history = StationHistory()
    told: list[PlcEvent] = [
        arrived("p1"),
        left("p1"),
        rejected("p1"),
        line(LineMode.RUNNING),
        recipe("r@1"),
        fault("away"),
    ]
    for event in told:
        assert history.is_news(event)
        history.note(event)
        assert not history.is_news(event)
    for event in (
        arrived("p2"),
        arrived("p1", visit=2),
        left("p2"),
        line(LineMode.STOPPED),
        recipe("r@2"),
        fault("away", cleared=True),
        fault("other"),
    ):
        assert history.is_news(event)


def test_a_fault_that_never_was_is_not_cleared() -> None:
    assert not StationHistory().is_news(fault("away", cleared=True))


def test_the_same_serials_in_a_new_plc_session_are_new_parts() -> None:
    history = StationHistory()
    for event in (arrived("p1"), left("p1")):
        history.note(event)
    again = arrived("p1", plc_session="b")
    assert history.is_news(again)
    history.note(again)
    assert history.is_news(left("p1"))


def test_arrivals_that_nobody_told_of_are_counted_also_across_a_restart_of_the_gateway() -> None:
    history = StationHistory()
    history.note(arrived("p1", count=7))
    assert history.missed_before(arrived("p2", count=8)) == 0
    assert history.missed_before(arrived("p5", count=11)) == 3
    assert history.missed_before(arrived("p1", count=3, plc_session="b")) == 0, "the PLC began anew"
    assert history.missed_before(arrived("p3", count=2)) == 0, "it counts anew"
    history.note(arrived("p9", count=4, plc_session=""))
    assert history.missed_before(arrived("p10", count=9, plc_session="")) == 0, "nobody knows"


def test_each_time_that_arrivals_were_missed_is_told() -> None:
    history = StationHistory()
    for _ in range(2):
        missed = fault("arrivals_missed", cleared=True)
        assert history.is_news(missed)
        history.note(missed)


def test_the_history_is_bounded() -> None:
    history = StationHistory()
    for number in range(REMEMBERED + 10):
        history.note(arrived(str(number)))
    assert history.is_news(arrived("0"))
    assert not history.is_news(arrived(str(REMEMBERED)))
    assert len(history._told) == len(history._session_of) == REMEMBERED


def test_a_heart_is_lost_when_it_stands_still_for_long_enough_and_back_with_its_next_beat() -> None:
    watch = HeartbeatWatch(lost_after_s=1.0)
    readings = [(5, 0.0, False), (5, 1.0, False), (5, 1.1, True), (5, 9.0, True), (6, 9.1, False), (6, 10.0, False)]
    for value, now_s, lost in readings:
        assert watch.is_lost(value, now_s=now_s) is lost


@pytest.mark.parametrize("value", [math.nan, "beat", None, 1.5])
def test_what_is_no_whole_number_is_no_heartbeat(value: object) -> None:
    watch = HeartbeatWatch(lost_after_s=1.0)
    assert not watch.is_lost(1, now_s=0.0)
    assert not watch.is_lost(value, now_s=1.0)
    assert watch.is_lost(value, now_s=1.1)


@pytest.mark.parametrize(
    ("reading", "why"),
    [
        (Reading(1.5, "Good"), ""),
        (Reading(7, "Good"), ""),
        (Reading(math.nan, "Good"), "not_a_number"),
        (Reading(-math.inf, "Good"), "not_a_number"),
        (Reading(None, "Good"), "wrong_type"),
        (Reading("1", "Good"), "wrong_type"),
        (Reading([1.0], "Good"), "wrong_type"),
        (Reading(True, "Good"), "wrong_type"),
        (Reading(1.5, "BadSensorFailure"), "bad_quality"),
    ],
)
def test_only_finite_numbers_that_the_plc_vouches_for_are_samples(reading: Reading, why: str) -> None:
    assert why_unusable(reading.value, good=reading.good, in_blocks=False) == why


def test_only_mailbox_handshake_and_heartbeat_are_ever_written() -> None:
    nodes = station_nodes(PlcNodes(), "aoi-1")
    written = set(writable_nodes(nodes))
    assert "s=aoi-1.Heartbeat.Gateway" in written
    groups = ("s=aoi-1.Mailbox.", "s=aoi-1.Handshake.", "s=aoi-1.Heartbeat.Gateway")
    assert all(node.startswith(groups) for node in written)
    assert not any("Ack" in node or "Reset" in node for node in written)
    assert "{station}" not in "".join(getattr(nodes, role) or "" for role in nodes.__struct_fields__)


@given(st.integers(1, 100_000))
def test_a_plc_that_accepted_and_did_not_answer_is_asked_again_within_three_seconds(attempt: int) -> None:
    """So that the line is normal within 5 s of its return, however long it was away: the rest is for the session and TriggerReady."""
    assert REQUEST_TIMEOUT_S + pause_before(attempt) <= 3.0


def test_a_plc_that_begins_anew_under_its_old_session_is_not_taken_for_what_was_told() -> None:
    """Parts without a serial have the same names then, and the same counts."""
    history = StationHistory()
    for event in (arrived("s:a:1"), left("s:a:1")):
        history.note(event)
    for again, anew in (
        (arrived("s:a:1"), arrived("s:a:1", occurred_at_ns=9)),
        (left("s:a:1"), left("s:a:1", occurred_at_ns=9)),
    ):
        assert not history.is_news(anew)
        assert history.is_double(anew)
        assert not history.is_double(again), "the ring is read again after every start"
    assert not history.is_double(left("s:a:2"))


# --- what the station reports --------------------------------------------------------------------------------------


class Published:
    """In place of the publisher: what it was given is on the topic."""

    def __init__(self) -> None:
        self.events: list[PlcEvent] = []

    def submit(self, _topic: object, _key: str, event: PlcEvent, *, tell: Callable[[Fate], None]) -> None:
        self.events.append(event)
        tell(Fate.ACKNOWLEDGED)


def departure(count: int, part_id: str, *, at_ns: int = 5) -> Departure:
    return Departure(
        count=count,
        part_id=part_id,
        visit=1,
        lane="reject",
        by_fail_safe=False,
        reject_confirmed=True,
        occurred_at_ns=at_ns,
    )


async def reported(report: StationReport, published: Published) -> list[PlcEvent]:
    running = asyncio.create_task(report.run(StationHistory()))
    await asyncio.wait_for(report.settled(), 5)
    running.cancel()
    return published.events


def station_report(published: Published, stage: Stage) -> StationReport:
    return StationReport(
        station="s",
        plant=Plant(plant="p", lines=(), recipes=()),
        publisher=published,  # type: ignore[arg-type]
        stage=stage,
        handshake=StationHandshake(station="s", recipes=()),
        metrics=StationMetrics(stage),
    )


async def test_departures_that_name_no_part_are_a_fault_and_never_one_part_that_left_again_and_again() -> None:
    published, stage = Published(), Stage("plc_gateway")
    report = station_report(published, stage)
    news = (departure(1, ""), departure(2, "p2"), departure(3, ""))
    await report.left(RingNews("a", news, 0, True))
    fault, gone, confirmed = await reported(report, published)
    assert isinstance(fault, PlcFault)
    assert (fault.code, fault.cleared) == ("departure_without_part", True)
    assert fault.detail.startswith("departures 1 to 3: 2 without a part id; expected")
    assert isinstance(gone, PartLeft)
    assert isinstance(confirmed, RejectConfirmed)
    assert (gone.part_id, confirmed.part_id) == ("p2", "p2")


async def test_what_is_read_again_is_counted_and_what_is_told_twice_is_a_fault() -> None:
    published, stage = Published(), Stage("plc_gateway")
    report = station_report(published, stage)
    for at_ns in (5, 5, 6):
        await report.left(RingNews("a", (departure(1, "p1", at_ns=at_ns),), 0, True))
    events = await reported(report, published)
    assert [type(event) for event in events] == [PartLeft, RejectConfirmed, PlcFault]
    assert isinstance(events[-1], PlcFault)
    assert events[-1].code == "double_departure"
    assert "a new Session" in events[-1].detail
    counted = stage.registry.get_sample_value("linesight_plc_gateway_events_told_before_total", {"station": "s"})
    assert counted == 3, "the departure once more, and the confirmation twice"


async def test_a_text_without_end_does_not_make_an_event_that_no_topic_takes() -> None:
    published, stage = Published(), Stage("plc_gateway")
    report, endless = station_report(published, stage), "x" * 2_000_000
    await report.line("stopped", endless)
    await report.recipe(endless)
    report.fault("node_fault", f"the mailbox holds {endless}")
    events = await reported(report, published)
    assert [type(event) for event in events] == [LineStateChanged, RecipeChanged, PlcFault]
    assert all(len(encode(PLC_EVENTS, event).value) < 2_000 for event in events)


# --- heartbeats ----------------------------------------------------------------------------------------------------

NODES = station_nodes(PlcNodes(), "s")


class Refuses:
    """A PLC's nodes, one of which takes no text above 20 characters. `over` ends the exchange."""

    lost = False

    def __init__(self, *, beats: int, error_code: int = 0) -> None:
        self.values: dict[str, Any] = {
            NODES.plc_heartbeat: 0,
            NODES.writes_allowed or "": True,
            NODES.reset_count or "": 0,
        }
        self.values |= {NODES.gateway_heartbeat: 0, NODES.error_code or "": error_code, NODES.error_text or "": "kept"}
        self._beats = beats

    async def read(self, identifiers: Sequence[str]) -> list[Any]:
        if not self._beats:
            raise PlcAway("the test is over")
        return [self.values[identifier] for identifier in identifiers]

    async def read_each(self, identifiers: Sequence[str]) -> list[Reading]:
        return [Reading(value, "Good") for value in await self.read(identifiers)]

    async def write(self, values: Mapping[str, Any]) -> None:
        if len(values.get(NODES.error_text or "", "")) > 20:
            raise NodeFault("BadOutOfRange")
        self.values |= values
        self._beats -= NODES.gateway_heartbeat in values


class WrittenTwice(Refuses):
    """Beside ours a second gateway beats in the same node, while `others` says so of the number of our beats."""

    def __init__(self, *, beats: int, others: range) -> None:
        super().__init__(beats=beats)
        self._others, self._ours, self._other = others, 0, OwnHeart(0)

    async def write(self, values: Mapping[str, Any]) -> None:
        await super().write(values)
        self._ours += NODES.gateway_heartbeat in values
        if self._ours in self._others and NODES.gateway_heartbeat in values:
            self._other.shared(self.values[NODES.gateway_heartbeat])
            self.values[NODES.gateway_heartbeat] = self._other.next()


@pytest.mark.parametrize(
    ("others", "told"), [(range(0), []), (range(5, 6), []), (range(5, 40), [False]), (range(5, 20), [False, True])]
)
async def test_a_second_gateway_on_the_same_plc_is_a_fault_until_it_is_gone(others: range, told: list[bool]) -> None:
    published, stage = Published(), Stage("plc_gateway")
    report, handshake = station_report(published, stage), StationHandshake(station="s", recipes=())
    with pytest.raises(PlcAway):
        await exchange_heartbeats(
            WrittenTwice(beats=40, others=others), nodes=NODES, report=report, handshake=handshake, heartbeat_ms=1,  # type: ignore[arg-type]
            observe=False,
        )  # fmt: skip
    faults = [event for event in await reported(report, published) if isinstance(event, PlcFault)]
    shared = [event for event in faults if event.code == "second_writer"]
    assert [event.cleared for event in shared] == told
    assert all("another gateway (a line started twice?)" in event.detail for event in shared if not event.cleared)


async def test_a_text_that_the_plc_refuses_ends_no_session_and_is_told_once() -> None:
    published, stage = Published(), Stage("plc_gateway")
    report, handshake = station_report(published, stage), StationHandshake(station="s", recipes=())
    handshake.fail(HandshakeCode.LOST_TRIGGER, "a text that is too long for it")
    plc = Refuses(beats=4)
    with pytest.raises(PlcAway):
        await exchange_heartbeats(
            plc, nodes=NODES, report=report, handshake=handshake, heartbeat_ms=1, observe=False  # type: ignore[arg-type]
        )  # fmt: skip
    assert plc.values[NODES.error_code or ""] == HandshakeCode.LOST_TRIGGER
    faults = [event for event in await reported(report, published) if isinstance(event, PlcFault)]
    assert [(event.code, event.cleared) for event in faults] == [("error_text_refused", False)]


@pytest.mark.parametrize(("stood", "shown"), [(21, 21), (3, 1), (99, 1), (0, 1)])
async def test_a_gateway_that_starts_again_goes_on_showing_what_waits_for_a_person(stood: int, shown: int) -> None:
    published, stage = Published(), Stage("plc_gateway")
    handshake = StationHandshake(station="s", recipes=())
    plc = Refuses(beats=2, error_code=stood)
    with pytest.raises(PlcAway):
        await exchange_heartbeats(
            plc, nodes=NODES, report=station_report(published, stage), handshake=handshake, heartbeat_ms=1, observe=False,  # type: ignore[arg-type]
        )  # fmt: skip
    assert plc.values[NODES.error_code or ""] == shown
    assert (plc.values[NODES.error_text or ""] == "kept") is (shown == 21)
