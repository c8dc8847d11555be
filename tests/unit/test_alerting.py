"""Alerts are few and right: raised once, repeated as configured, cleared with hysteresis, the same after a restart."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from alerting_line import (
    CAMERA,
    NOT_OK,
    OK,
    OPEN,
    RATE,
    STATION,
    S,
    alerting,
    arrival,
    fault,
    inspection,
    plant,
    take,
    verdict,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from told_receivers import receiver

from processors.alert_actions import AlertStep
from processors.alert_defect_rate import DefectRate
from processors.alerting import Alerting
from processors.notifying import Notifying
from schemas.alert_rules import (
    DefectRateRule,
    MissingFramesRule,
    PlcHeartbeatRule,
    SensorLimitRule,
    SilentCameraRule,
    SilentStationRule,
)
from schemas.alerts import AlertState
from schemas.reasons import CommandKind, VerdictValue


def feed_rate(system: Alerting, values: list[VerdictValue], *, first: int = 0) -> list[AlertStep]:
    steps = []
    for number, value in enumerate(values, start=first):
        steps += take(system, verdict(number, value), at_s=number)
    return steps


def test_a_defect_rate_is_raised_once_and_cleared_with_hysteresis() -> None:
    system = alerting(RATE)
    steps = feed_rate(system, [OK] * 20 + [NOT_OK] * 10 + [OK] * 30)
    assert [step.alert.state for step in steps] == [AlertState.RAISED, AlertState.CLEARED]
    raised, cleared = steps
    # 6 of the last 20 are 0.3; it is cleared when fewer than 2 of the last 20 are left
    assert (raised.alert.value, raised.alert.threshold) == (0.3, 0.3)
    assert raised.alert.episode == f"rate/aoi/{25 * S + S // 10}" == cleared.alert.episode
    assert cleared.alert.value == pytest.approx(1 / 20)
    assert raised.alert.evidence == tuple(f"aoi/{n}/1/1" for n in range(20, 26))


def test_few_parts_prove_nothing_and_undecided_ones_do_not_count() -> None:
    assert feed_rate(alerting(RATE), [NOT_OK] * 9) == []
    assert feed_rate(alerting(RATE), [NOT_OK] * 5 + [OPEN] * 15) == []
    assert len(feed_rate(alerting(RATE), [NOT_OK] * 10)) == 1


def test_parts_leave_the_window_by_event_time_whatever_the_clock_says() -> None:
    system = alerting(RATE)
    feed_rate(system, [NOT_OK] * 9)
    assert take(system, verdict(100, NOT_OK, at_s=100), at_s=9) == []


def test_a_duplicate_counts_once_and_a_review_replaces_the_lines_verdict() -> None:
    system = alerting(RATE)
    feed_rate(system, [OK] * 7 + [NOT_OK] * 2)
    for _ in range(5):
        assert take(system, verdict(8, NOT_OK), at_s=9) == []
    assert take(system, verdict(8, OK, revision=2), at_s=9) == []
    assert take(system, verdict(8, NOT_OK), at_s=9) == []
    assert take(system, verdict(9, NOT_OK), at_s=9) == [], "two of ten: the line's verdict of part 8 was overtaken"
    assert take(system, verdict(8, NOT_OK), at_s=9) == []
    (raised,) = take(system, verdict(8, NOT_OK, revision=3), at_s=10)
    assert raised.alert.value == 0.3


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 60), st.integers(1, 3), st.sampled_from([OK, NOT_OK, OPEN])))
)
def test_the_rate_is_that_of_the_parts_in_the_window_whatever_their_order_and_however_often_they_are_reviewed(
    told_of: list[tuple[int, int, int, VerdictValue]],
) -> None:
    rule = DefectRateRule(name="rate", raise_ratio=0.5, clear_ratio=0.5, window_ms=20_000, minimum_parts=1)
    watch = DefectRate(rule, stations=frozenset({"aoi"}))
    arrived: dict[int, int] = {}
    newest: dict[int, tuple[int, VerdictValue]] = {}
    for part, first_at_s, revision, value in told_of:
        at_s = arrived.setdefault(part, first_at_s)
        found = watch.see(verdict(part, value, at_s=at_s, revision=revision), at_ns=0, now_ns=0)
        if part in newest and revision <= newest[part][0]:
            assert found == []
            continue
        newest[part] = revision, value
        begin_s = max(arrived.values()) - 20
        newest = {part: known for part, known in newest.items() if arrived[part] > begin_s}
        inside = [value for _, value in newest.values() if value is not OPEN]
        bad = inside.count(NOT_OK)
        told_it = f"{bad} of {len(inside)} parts NOT_OK at aoi within 20 s"
        assert [each.summary for each in found] == ([told_it] if inside else [])
        assert [each.value for each in found] == ([bad / len(inside)] if inside else [])


def test_a_line_stop_goes_out_with_the_alert_valid_for_ten_seconds_and_audited() -> None:
    (step,) = feed_rate(alerting(RATE), [NOT_OK] * 10)
    assert step.command is not None
    assert step.audit is not None
    assert step.command.id == f"alert/{step.alert.episode}"
    assert (step.command.kind, step.command.station) == (CommandKind.STOP_LINE, "aoi")
    assert step.command.valid_until_ns - step.command.issued_at_ns == 10 * S
    assert step.audit.subject == "aoi"
    assert step.alert.action == "stop_line"


def test_without_a_plc_nothing_can_be_stopped_and_the_alert_does_not_claim_it() -> None:
    (step,) = feed_rate(alerting(RATE, plc=None), [NOT_OK] * 10)
    assert (step.command, step.audit, step.alert.action) == (None, None, None)


def test_an_open_alert_is_repeated_as_configured_without_stopping_the_line_again() -> None:
    system = alerting(DefectRateRule(**{**_fields(RATE), "repeat_after_ms": 60_000, "longest_repeat_ms": 60_000}))
    (raised,) = feed_rate(system, [NOT_OK] * 10)
    at_ns = raised.alert.at_ns
    assert system.tick(at_ns + 59 * S) == []
    (first,) = system.tick(at_ns + 60 * S)
    assert system.tick(at_ns + 61 * S) == []
    (second,) = system.tick(at_ns + 120 * S)
    assert [first.alert.id, second.alert.id] == [f"{raised.alert.episode}/repeated/{n}" for n in (1, 2)]
    assert first.command is None


def test_an_alert_that_is_said_once_is_not_repeated() -> None:
    system = alerting(DefectRateRule(**{**_fields(RATE), "repeat_after_ms": None}))
    feed_rate(system, [NOT_OK] * 10)
    assert system.tick(10**9 * S) == []


def _fields(rule: Any) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in rule.__struct_fields__}


values = st.lists(st.sampled_from([OK, OK, NOT_OK, OPEN]), min_size=20, max_size=120)


@settings(max_examples=150, deadline=None)
@given(values, st.integers(0, 120), st.integers(0, 120))
def test_after_a_restart_anywhere_the_same_alerts_stand_on_the_topic(
    line: list[VerdictValue], crash: int, committed: int
) -> None:
    """The process dies after `crash` verdicts, of which `committed` were committed; the rest is read again."""
    verdicts = [verdict(number, value) for number, value in enumerate(line)]
    undisturbed = [
        step.alert for item in [alerting(RATE)] for v in verdicts for step in item.take(v, at_ns=0, now_ns=0)
    ]
    crash = min(crash, len(verdicts))
    committed = min(committed, crash)
    before, topic = alerting(RATE), []
    for item in verdicts[:crash]:
        topic += [step.alert for step in before.take(item, at_ns=0, now_ns=0)]
    after = alerting(RATE)
    for alert in topic:
        after.recall_alert(alert, now_ns=0)
    for item in verdicts[:committed]:
        after.recall(item, at_ns=0, now_ns=0)
    for item in verdicts[committed:]:
        topic += [step.alert for step in after.take(item, at_ns=0, now_ns=0)]
    assert topic == undisturbed


@pytest.mark.parametrize("is_restarted", [False, True])
def test_an_alert_by_a_clock_that_is_behind_the_one_before_reaches_people_all_the_same(is_restarted: bool) -> None:
    system = alerting(RATE)
    steps = feed_rate(system, [NOT_OK] * 10 + [OK] * 40)
    if is_restarted:
        system = alerting(RATE)
        for step in steps:
            system.recall_alert(step.alert, now_ns=0)
    later = [verdict(number, NOT_OK) for number in range(100, 140)]
    behind = [msgspec.structs.replace(each, decided_at_ns=each.decided_at_ns - 105 * S) for each in later]
    steps += [step for each in behind for step in take(system, each, at_s=each.arrived_at_ns / S)]
    assert [step.alert.state for step in steps] == [AlertState.RAISED, AlertState.CLEARED, AlertState.RAISED]
    notifying = Notifying(plant=msgspec.structs.replace(plant(RATE), receivers=(receiver(),)))
    notifying.begin(0)
    assert len([note for step in steps for note in notifying.take(step.alert, now_ns=step.alert.at_ns)]) == 3


def test_messages_of_stations_that_are_not_ours_raise_nothing() -> None:
    rules = (RATE, CAMERA, STATION, MissingFramesRule(name="gap"), PlcHeartbeatRule(name="plc"))
    system = Alerting(plant=plant(*rules), owns=lambda key: False)
    messages = [inspection(1, gap=True), arrival(1), fault("plc_away"), *(verdict(n, NOT_OK) for n in range(20))]
    assert [step for message in messages for step in take(system, message, at_s=1)] == []
    assert system.tick(10**6 * S) == []


def test_rules_that_see_the_same_are_one_signal() -> None:
    vibration = SensorLimitRule(name="v", asset="press", channel="vibration", high=1)
    heat = SensorLimitRule(name="t", asset="press", channel="temperature", high=1)
    silent = SilentCameraRule(name="c")
    assert RATE.signals == DefectRateRule(name="other", raise_ratio=0.9, clear_ratio=0.1).signals
    assert silent.signals == MissingFramesRule(name="m").signals
    assert len({rule.signals for rule in (RATE, silent, vibration, heat, SilentStationRule(name="s"))}) == 5
