"""Laws of who is told: the same whatever restarts, never more than a receiver takes, and nothing left out of the record."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from told_receivers import ALERT, CLEARED, DIGEST, HOUR, MINUTE, REPEATED, WITHHELD, S, alert, plant, receiver

from processors import notification_digest
from processors.notifying import Notifying
from schemas.alerts import Alert
from schemas.notifications import AlertResponse, Notification, ResponseKind, WithheldReason

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
WAITS = (WithheldReason.FLAPPING, WithheldReason.BOUNDED)
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
        waited = sum(found.reason in WAITS for found in mine)
        assert sum(sum(found.counts.values()) for found in mine if found.kind is DIGEST) == waited


@given(events=histories())
def test_who_is_told_that_an_alert_is_over_was_told_that_it_began(events: list[Event]) -> None:
    told_of: set[tuple[str, str]] = set()
    for found in record_of(events):
        for step in found.alerts:
            if found.kind is ALERT and step.state is CLEARED:
                assert (found.receiver, step.episode) in told_of
            if found.kind is not WITHHELD or found.reason in WAITS:
                told_of.add((found.receiver, step.episode))


@settings(deadline=None)
@given(events=histories(), restarts=st.frozensets(st.integers(1, 60), max_size=3), shown=st.integers(1, 3))
def test_every_end_of_what_was_told_and_everything_that_is_open_comes_in_a_digest_however_few_it_shows(
    events: list[Event], restarts: frozenset[int], shown: int
) -> None:
    hours = [at_of(events[-1]) + number * HOUR // 2 for number in range(1, 60)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(notification_digest, "SHOWN_EPISODES", shown)
        record = record_of([*events, *hours], restarts=restarts)
    assert len({each.id for each in record}) == len(record)
    over = {step.episode for step in events if isinstance(step, Alert) and step.state is CLEARED}
    for each in RECEIVERS:
        heard, ended, waited = set[str](), set[str](), set[str]()
        for found in (found for found in record if found.receiver == each.name):
            waited |= {step.episode for step in found.alerts if found.reason in WAITS}
            for step in found.alerts if found.kind is not WITHHELD else ():
                (ended if step.state is CLEARED else heard).add(step.episode)
        assert heard & over <= ended
        assert waited - over <= heard
