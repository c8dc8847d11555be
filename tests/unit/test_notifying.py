"""Receivers are told of what matters, once, and no more than they can read; what they are not told is on the record, with its reason."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.notifying import Notifying
from schemas.alert_rules import (
    AlertRule,
    DefectRateRule,
    ImageHealthRule,
    MissingFramesRule,
    PlcHeartbeatRule,
    SilentCameraRule,
    SilentStationRule,
)
from schemas.alerts import Alert, AlertState
from schemas.notifications import AlertResponse, Notification, NotificationKind, ResponseKind, WithheldReason
from schemas.plant import Camera, ExternalSource, Line, Plant, Plc, Station
from schemas.receivers import AlertmanagerReceiver, AnyReceiver

S = 1_000_000_000
MINUTE, HOUR = 60 * S, 3_600 * S
RAISED, REPEATED, CLEARED = AlertState.RAISED, AlertState.REPEATED, AlertState.CLEARED
ALERT, DIGEST, WITHHELD = NotificationKind.ALERT, NotificationKind.DIGEST, NotificationKind.WITHHELD

RULES: tuple[AlertRule, ...] = (
    DefectRateRule(name="rate", raise_ratio=0.2, clear_ratio=0.1),
    PlcHeartbeatRule(name="heartbeat", severity="critical"),
    SilentCameraRule(name="camera"),
    SilentStationRule(name="station"),
    MissingFramesRule(name="frames"),
    ImageHealthRule(name="lens", figure="sharpness_ratio", low=0.5),
)


def receiver(name: str = "shift", **settings: Any) -> AlertmanagerReceiver:
    return AlertmanagerReceiver(name=name, url="http://192.0.2.1:9093", **settings)


def plant(*receivers: AnyReceiver) -> Plant:
    def station(name: str, plc: str | None) -> Station:
        camera = Camera(name=f"{name}-top", views=(f"{name}-top",), source=ExternalSource())
        return Station(name=name, cameras=(camera,), plc=plc)

    places = (station("aoi-1", "plc-1"), station("aoi-2", "plc-1"), station("end", "plc-2"))
    return Plant(
        plant="test",
        lines=(Line(name="line-1", stations=places),),
        recipes=(),
        plcs=tuple(Plc(name=name, endpoint="opc.tcp://127.0.0.1:4840", security="none") for name in ("plc-1", "plc-2")),
        alerts=RULES,  # type: ignore[arg-type]  # every rule class is in the union
        receivers=receivers,
    )


def alert(
    rule: str = "rate",
    subject: str = "aoi-1",
    state: AlertState = RAISED,
    *,
    at: float,
    since: float | None = None,
    severity: str = "warning",
    station: str = "aoi-1",
    repeat: int = 0,
) -> Alert:
    since_ns = int(at if since is None else since)
    episode = f"{rule}/{subject}/{since_ns}"
    return Alert(
        id=f"{episode}/{state.value}/{repeat}",
        line="line-1",
        rule=rule,
        subject=subject,
        severity=severity,
        state=state,
        episode=episode,
        since_at_ns=since_ns,
        at_ns=int(at),
        summary="",
        station=station,
        repeat=repeat,
    )


def notifying(*receivers: AnyReceiver) -> Notifying:
    made = Notifying(plant=plant(*(receivers or (receiver(),))))
    made.begin(0)
    return made


def take(system: Notifying, step: Alert, *, now: float | None = None) -> list[Notification]:
    return system.take(step, now_ns=int(step.at_ns if now is None else now))


def told(notifications: list[Notification]) -> list[tuple[str, str]]:
    """(receiver, what): the state, `digest`, or why it is withheld."""
    return [
        (each.receiver, each.reason.value if each.reason else "digest" if each.kind is DIGEST else each.alerts[0].state)
        for each in notifications
    ]


def respond(system: Notifying, kind: ResponseKind, at: float, **fields: Any) -> None:
    fields = {"rule": "rate", "by": "keller", **fields}
    system.respond(AlertResponse(id=f"keller/{kind.value}/{at}", kind=kind, at_ns=int(at), **fields))


# --- one alert -------------------------------------------------------------------------------------------------------


def test_a_receiver_is_told_when_an_alert_is_raised_repeated_and_cleared() -> None:
    system = notifying()
    assert told(take(system, alert(at=S))) == [("shift", "raised")]
    assert told(take(system, alert(state=REPEATED, at=MINUTE, since=S, repeat=1))) == [("shift", "repeated")]
    assert told(take(system, alert(state=CLEARED, at=2 * MINUTE, since=S))) == [("shift", "cleared")]
    assert system.tick(HOUR) == []


def test_a_receiver_hears_of_its_rules_from_its_severity_on() -> None:
    system = notifying(receiver("lead", minimum_severity="critical"), receiver("vision", rules=("camera",)))
    assert take(system, alert(at=S)) == []
    assert told(take(system, alert("heartbeat", at=2 * S, severity="critical"))) == [("lead", "raised")]
    assert told(take(system, alert("camera", "end-top", at=3 * S, station="end"))) == [("vision", "raised")]


def test_nobody_is_reminded_of_what_somebody_acknowledged_but_everybody_hears_its_end() -> None:
    system = notifying()
    first = alert(at=S)
    take(system, first)
    respond(system, ResponseKind.ACKNOWLEDGED, 2 * S, episode=first.episode)
    (withheld,) = take(system, alert(state=REPEATED, at=MINUTE, since=S, repeat=1))
    assert (withheld.reason, withheld.because) == (WithheldReason.ACKNOWLEDGED, f"keller/acknowledged/{2 * S}")
    assert told(take(system, alert(state=CLEARED, at=2 * MINUTE, since=S))) == [("shift", "cleared")]


def test_an_alert_that_nobody_acknowledges_is_escalated_after_its_time() -> None:
    system = notifying(receiver("lead", escalate_after_ms=900_000))
    assert told(take(system, alert(at=S))) == [("lead", "waiting")]
    assert system.tick(900 * S) == []
    assert told(system.tick(901 * S)) == [("lead", "raised")]
    assert system.tick(902 * S) == []
    assert told(take(system, alert(state=CLEARED, at=HOUR, since=S))) == [("lead", "cleared")]


def test_an_alert_that_was_acknowledged_or_cleared_in_time_is_not_escalated() -> None:
    system = notifying(receiver("lead", escalate_after_ms=900_000))
    first, second = alert(at=S), alert("camera", "end-top", at=S, station="end")
    take(system, first)
    take(system, second)
    respond(system, ResponseKind.ACKNOWLEDGED, 2 * S, episode=first.episode)
    late = take(system, alert("camera", "end-top", CLEARED, at=MINUTE, since=S, station="end"))
    assert told(late) == [("lead", "not_told")]
    assert told(system.tick(2 * HOUR)) == [("lead", "acknowledged")]
    assert system.tick(3 * HOUR) == []


def test_a_silence_holds_for_its_rule_and_subject_until_its_end_and_what_is_open_then_is_told() -> None:
    system = notifying()
    respond(system, ResponseKind.SILENCED, 0, subject="aoi-1", until_at_ns=10 * MINUTE, reason="retooling")
    (withheld,) = take(system, alert(at=S))
    assert (withheld.reason, withheld.because) == (WithheldReason.SILENCED, "keller/silenced/0")
    assert told(take(system, alert(subject="aoi-2", at=2 * S))) == [("shift", "raised")]
    assert told(take(system, alert("camera", "end-top", at=3 * S, station="end"))) == [("shift", "raised")]
    assert system.tick(9 * MINUTE) == []
    assert told(system.tick(10 * MINUTE)) == [("shift", "raised")]


def test_a_silence_can_be_ended_and_an_old_word_does_not_undo_a_newer_one() -> None:
    system = notifying()
    respond(system, ResponseKind.SILENCED, 0, rule="*", until_at_ns=HOUR)
    respond(system, ResponseKind.UNSILENCED, 2, rule="*")
    respond(system, ResponseKind.SILENCED, 0, rule="*", until_at_ns=HOUR)  # the same record, read again
    assert told(take(system, alert(at=S))) == [("shift", "raised")]


# --- roots and consequences ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "consequence"),
    [
        (("heartbeat", "aoi-1"), ("station", "aoi-1", "aoi-1")),
        (("heartbeat", "aoi-1"), ("camera", "aoi-2-top", "aoi-2")),
        (("heartbeat", "aoi-1"), ("frames", "aoi-1-top", "aoi-1")),
        (("heartbeat", "aoi-1"), ("heartbeat", "aoi-2", "aoi-2")),
        (("camera", "end-top"), ("frames", "end-top", "end")),
        (("camera", "end-top"), ("lens", "end-top/end-top", "end")),
        (("station", "aoi-1"), ("station", "end", "end")),
    ],
)
def test_a_root_suppresses_its_consequence(root: tuple[str, str], consequence: tuple[str, str, str]) -> None:
    system = notifying()
    first = alert(*root, at=S, station=root[1].removesuffix("-top"))
    take(system, first)
    rule, subject, station = consequence
    (withheld,) = take(system, alert(rule, subject, at=2 * S, station=station))
    assert (withheld.kind, withheld.reason, withheld.because) == (WITHHELD, WithheldReason.SUPPRESSED, first.episode)


@pytest.mark.parametrize(
    ("root", "other"),
    [
        (("heartbeat", "end"), ("station", "aoi-1", "aoi-1")),  # another PLC
        (("heartbeat", "aoi-1"), ("rate", "aoi-1", "aoi-1")),  # about the product
        (("camera", "end-top"), ("frames", "aoi-1-top", "aoi-1")),  # another camera
        (("station", "end"), ("station", "aoi-1", "aoi-1")),  # before it on the line
        (("rate", "aoi-1"), ("camera", "aoi-1-top", "aoi-1")),  # explains nothing
    ],
)
def test_what_a_root_does_not_explain_is_told(root: tuple[str, str], other: tuple[str, str, str]) -> None:
    system = notifying()
    take(system, alert(*root, at=S, station=root[1].removesuffix("-top")))
    rule, subject, station = other
    assert told(take(system, alert(rule, subject, at=2 * S, station=station))) == [("shift", "raised")]


def test_what_is_left_when_its_root_is_over_is_told() -> None:
    system = notifying()
    take(system, alert("heartbeat", at=S))
    take(system, alert("camera", "aoi-1-top", at=2 * S))
    take(system, alert("heartbeat", state=CLEARED, at=MINUTE, since=S))
    (late,) = system.tick(2 * MINUTE)
    assert (late.kind, late.alerts[0].rule) == (ALERT, "camera")


# --- storms ----------------------------------------------------------------------------------------------------------


def storm(system: Notifying, count: int, *, severity: str = "warning") -> list[Notification]:
    return [
        each
        for number in range(count)
        for each in take(system, alert("other", f"place-{number}", at=S + number, severity=severity))
    ]


def test_a_storm_is_a_few_messages_and_one_digest_that_counts_all_of_it() -> None:
    system = notifying(receiver(max_per_hour=10))
    record = storm(system, 5_000) + system.tick(2 * MINUTE)
    assert Counter(each.kind for each in record) == {ALERT: 4, WITHHELD: 4_996, DIGEST: 1}
    digest = record[-1]
    assert digest.counts == {"other raised": 4_996}
    assert (len(digest.alerts), digest.left_out) == (50, 4_946)
    assert digest.open_severity == "warning"


def test_a_storm_of_warnings_leaves_room_for_what_is_critical() -> None:
    system = notifying(receiver(max_per_hour=10))
    storm(system, 100)
    assert told(take(system, alert("heartbeat", "end", at=MINUTE, severity="critical"))) == [("shift", "raised")]


def test_a_digest_comes_a_minute_after_the_first_and_then_twenty_minutes_apart() -> None:
    system = notifying(receiver(max_per_hour=10))
    storm(system, 100)
    assert system.tick(MINUTE) == []
    assert told(system.tick(2 * MINUTE)) == [("shift", "digest")]
    take(system, alert("other", "one more", at=3 * MINUTE))
    assert system.tick(21 * MINUTE) == []
    assert told(system.tick(22 * MINUTE)) == [("shift", "digest")]


def test_a_flapping_alert_is_told_three_times_an_hour_and_then_in_digests() -> None:
    system = notifying(receiver(max_per_hour=100))
    record = []
    for number in range(10):
        at = number * MINUTE + S
        record += take(system, alert(at=at))
        record += take(system, alert(state=CLEARED, at=at + 10 * S, since=at))
    assert told(record) == [("shift", "raised"), ("shift", "cleared")] * 3 + [("shift", "flapping")] * 14
    (digest,) = system.tick(20 * MINUTE)
    assert digest.counts == {"rate raised": 7, "rate cleared": 7}
    assert told(take(system, alert(at=3 * HOUR))) == [("shift", "raised")]


def test_a_new_receiver_is_told_what_is_open_and_not_what_is_over() -> None:
    system = Notifying(plant=plant(receiver()))
    system.begin(HOUR)
    assert take(system, alert(at=S), now=HOUR) == []
    assert take(system, alert(state=CLEARED, at=MINUTE, since=S), now=HOUR) == []
    assert take(system, alert("camera", "end-top", at=S, station="end"), now=HOUR) == []
    assert told(system.tick(HOUR + S)) == [("shift", "raised")]


# --- laws ------------------------------------------------------------------------------------------------------------

PLACES = [
    ("rate", "aoi-1", "aoi-1", "warning"),
    ("heartbeat", "aoi-1", "aoi-1", "critical"),
    ("camera", "aoi-1-top", "aoi-1", "warning"),
    ("frames", "aoi-1-top", "aoi-1", "info"),
    ("station", "end", "end", "warning"),
]
RECEIVERS = (
    receiver("all", max_per_hour=4),
    receiver("few", max_per_hour=2, minimum_severity="warning"),
    receiver("lead", minimum_severity="critical", escalate_after_ms=120_000),
)
Event = Alert | AlertResponse | int
"""An int is a tick at that time."""


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """A possible log: steps of alerts in their order, people's responses, time that passes."""
    now, opened, repeats, events = S, dict[int, Alert](), Counter[int](), list[Event]()
    for _ in range(draw(st.integers(1, 40))):
        now += draw(st.sampled_from([1, S, 30 * S, 5 * MINUTE, 40 * MINUTE]))
        place = draw(st.integers(0, len(PLACES) - 1))
        rule, subject, station, severity = PLACES[place]
        what = draw(st.sampled_from(["step", "step", "step", "repeat", "tick", "acknowledge", "silence"]))
        if what == "tick":
            events.append(now)
        elif what == "silence":
            fields = {"rule": rule, "until_at_ns": now + draw(st.sampled_from([MINUTE, HOUR]))}
            events.append(AlertResponse(id=f"k/{now}", kind=ResponseKind.SILENCED, by="k", at_ns=now, **fields))
        elif place not in opened:
            opened[place], repeats[place] = (
                alert(rule, subject, at=now, severity=severity, station=station),
                0,
            )
            events.append(opened[place])
        elif what == "acknowledge":
            episode = opened[place].episode
            kind = ResponseKind.ACKNOWLEDGED
            events.append(AlertResponse(id=f"k/{now}", kind=kind, by="k", at_ns=now, rule=rule, episode=episode))
        else:
            since, state = opened[place].since_at_ns, REPEATED if what == "repeat" else CLEARED
            repeats[place] += state is REPEATED
            number = repeats[place] if state is REPEATED else 0
            step = alert(rule, subject, state, at=now, since=since, severity=severity, station=station, repeat=number)
            events.append(step)
            if state is CLEARED:
                del opened[place]
    return [*events, now + 2 * HOUR, now + 4 * HOUR]


def at_of(event: Event) -> int:
    return event if isinstance(event, int) else event.at_ns


def record_of(events: list[Event], *, restarts: frozenset[int] = frozenset(), lost: int = 0) -> list[Notification]:
    """All notifications of a history. Before each event in `restarts` the process is another one, which reads everything back;
    of what the last one decided at the end, `lost` never reached the topic."""
    record: list[Notification] = []
    system = Notifying(plant=plant(*RECEIVERS))
    system.begin(0)
    for index, event in enumerate(events):
        if index in restarts:
            del record[len(record) - min(lost, len(record)) :]
            system = Notifying(plant=plant(*RECEIVERS))
            for notification in [*record, *record[-3:]]:
                system.recall(notification)
            system.begin(0)
            for known in events[:index]:
                if isinstance(known, AlertResponse):
                    system.respond(known)
            for known in events[:index]:
                if isinstance(known, Alert):
                    record += system.take(known, now_ns=at_of(events[index - 1]))
        if isinstance(event, int):
            record += system.tick(event)
        elif isinstance(event, AlertResponse):
            system.respond(event)
        else:
            record += system.take(event, now_ns=event.at_ns)
            assert system.take(event, now_ns=event.at_ns) == [], "the same record again"
    return record


@given(events=histories(), restarts=st.frozensets(st.integers(1, 40)))
def test_whatever_restarts_the_same_is_told_once(events: list[Event], restarts: frozenset[int]) -> None:
    undisturbed = record_of(events)
    assert record_of(events, restarts=restarts) == undisturbed
    assert len({each.id for each in undisturbed}) == len(undisturbed)


@given(events=histories(), restart=st.integers(1, 40), lost=st.integers(1, 5))
def test_what_was_decided_and_never_written_is_decided_again(events: list[Event], restart: int, lost: int) -> None:
    record = record_of(events, restarts=frozenset({restart}), lost=lost)
    assert len({each.id for each in record}) == len(record)
    assert missing_from(record, events) == []


@given(events=histories(), restarts=st.frozensets(st.integers(1, 40)))
def test_no_receiver_gets_more_messages_in_any_hour_than_it_takes(
    events: list[Event], restarts: frozenset[int]
) -> None:
    record = record_of(events, restarts=restarts)
    for each in RECEIVERS:
        sent = [found.at_ns for found in record if found.receiver == each.name and found.kind is not WITHHELD]
        for at_ns in sent:
            assert sum(at_ns - HOUR < other <= at_ns for other in sent) <= each.max_per_hour


def missing_from(record: list[Notification], events: list[Event]) -> list[tuple[str, str]]:
    """Steps of alerts that concern a receiver, and of which the record says nothing."""
    levels = ["info", "warning", "critical"]
    said = {(each.receiver, step.id) for each in record if each.kind is not DIGEST for step in each.alerts}
    return [
        (each.name, step.id)
        for step in events
        if isinstance(step, Alert)
        for each in RECEIVERS
        if levels.index(step.severity) >= levels.index(each.minimum_severity) and (each.name, step.id) not in said
    ]


@given(events=histories())
def test_the_record_leaves_no_step_out_and_digests_count_every_step_that_waited_for_them(events: list[Event]) -> None:
    record = record_of(events)
    assert missing_from(record, events) == []
    for each in RECEIVERS:
        mine = [found for found in record if found.receiver == each.name]
        waited = sum(found.reason in (WithheldReason.FLAPPING, WithheldReason.BOUNDED) for found in mine)
        assert sum(sum(found.counts.values()) for found in mine if found.kind is DIGEST) == waited


@given(events=histories())
def test_who_is_told_that_an_alert_is_over_was_told_that_it_began(events: list[Event]) -> None:
    told_of: set[tuple[str, str]] = set()
    for found in record_of(events):
        for step in found.alerts:
            if found.kind is ALERT and step.state is CLEARED:
                assert (found.receiver, step.episode) in told_of
            if found.kind is not WITHHELD or found.reason in (WithheldReason.FLAPPING, WithheldReason.BOUNDED):
                told_of.add((found.receiver, step.episode))
