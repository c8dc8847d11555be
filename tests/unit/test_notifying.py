"""Receivers are told of what matters, once, and no more than they can read; what they are not told is on the record, with its reason."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from told_receivers import (
    ALERT,
    CLEARED,
    DIGEST,
    HOUR,
    MINUTE,
    REPEATED,
    WITHHELD,
    S,
    alert,
    plant,
    receiver,
)  # fmt: skip

from processors.notifying import Notifying
from schemas.alerts import Alert
from schemas.notifications import AlertResponse, Notification, ResponseKind, WithheldReason
from schemas.receivers import AnyReceiver


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


@pytest.mark.parametrize(
    ("rule", "subject", "quiet"),
    [
        ("rate", "aoi-1", True),
        ("rate", "", True),
        ("*", "aoi-1", True),
        ("*", "", True),
        ("*", "end", False),
        ("camera", "", False),
    ],
)
def test_a_silence_is_of_a_rule_or_all_for_a_subject_or_all(rule: str, subject: str, quiet: bool) -> None:
    system = notifying()
    respond(system, ResponseKind.SILENCED, 0, rule=rule, subject=subject, until_at_ns=HOUR)
    assert told(take(system, alert(at=S))) == [("shift", "silenced" if quiet else "raised")]


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
        (("broker", "line-1"), ("station", "aoi-1", "aoi-1")),
        (("broker", "line-1"), ("camera", "end-top", "end")),
        (("broker", "line-1"), ("frames", "aoi-1-top", "aoi-1")),
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
        (("broker", "line-1"), ("rate", "aoi-1", "aoi-1")),  # about the product
        (("broker", "line-1"), ("heartbeat", "aoi-1", "aoi-1")),  # a gateway sees its PLC without the broker
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


def test_what_was_raised_before_the_broker_went_and_on_another_line_is_not_explained_by_it() -> None:
    system = notifying()
    respond(system, ResponseKind.SILENCED, 0, rule="station", subject="aoi-1", until_at_ns=10 * MINUTE)
    take(system, alert("station", "aoi-1", at=MINUTE))
    take(system, alert("broker", "line-1", at=5 * MINUTE, since=4 * MINUTE))
    (late,) = system.tick(11 * MINUTE)
    assert (late.kind, late.alerts[0].rule) == (ALERT, "station")
    elsewhere = msgspec.structs.replace(alert("camera", "aoi-2-top", at=6 * MINUTE, station="aoi-2"), line="line-2")
    assert told(take(system, elsewhere)) == [("shift", "raised")]


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


def test_what_is_over_for_more_than_an_hour_when_it_could_be_decided_is_told_to_nobody() -> None:
    before = notifying(receiver("lead", minimum_severity="critical"))
    record = take(before, alert("heartbeat", "end", at=S, severity="critical"))
    warnings = [alert(at=MINUTE), alert(state=CLEARED, at=2 * MINUTE, since=MINUTE), alert(subject="aoi-2", at=MINUTE)]
    recent = [alert(at=9 * HOUR), alert(state=CLEARED, at=9 * HOUR + S, since=9 * HOUR)]
    for each in warnings:
        assert take(before, each) == []
    system = Notifying(plant=plant(receiver("lead")))  # from now on it is told of warnings, too
    for notification in record:
        system.recall(notification)
    now = 9 * HOUR + MINUTE
    system.begin(now)
    assert [told(take(system, each, now=now)) for each in warnings] == [[], [], []]
    assert [told(take(system, each, now=now)) for each in recent] == [[("lead", "raised")], [("lead", "cleared")]]
    assert told(system.tick(now)) == [("lead", "raised")], "aoi-2 is still open"


def test_a_new_receiver_is_told_what_is_open_and_not_what_is_over() -> None:
    system = Notifying(plant=plant(receiver()))
    system.begin(HOUR)
    assert take(system, alert(at=S), now=HOUR) == []
    assert take(system, alert(state=CLEARED, at=MINUTE, since=S), now=HOUR) == []
    assert take(system, alert("camera", "end-top", at=S, station="end"), now=HOUR) == []
    assert told(system.tick(HOUR + S)) == [("shift", "raised")]
