"""One law for every rule that raises alerts: a restart in the middle of anything, and another process beside, change nothing.

Each rule sees seconds in which it holds and seconds in which it does not. The process dies after one of them; what it had committed is
recalled by the next, the rest is read again. Whatever happened, the topic tells of one alert after the other, none is open when all has
been well for a while, and what happens then is told.
"""

from __future__ import annotations

import msgspec
import pytest
from alert_processes import BASELINE, LONG_S, RULES, Topic, plant_with, started
from alerting_line import S
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.alert_subjects import every_key
from processors.alerting import Alerting
from processors.asset_watches import AssetWatches
from schemas.alert_rules import (
    AssetWatchRule,
    Rule,
)
from schemas.alerts import Alert, AlertState
from schemas.notifications import AlertResponse, ResponseKind
from schemas.plant import Watch


def states(alerts: list[Alert]) -> list[AlertState]:
    return [alert.state for alert in alerts if alert.state is not AlertState.REPEATED]


stretches = st.lists(st.tuples(st.booleans(), st.integers(1, LONG_S)), min_size=1, max_size=5)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@settings(max_examples=25, deadline=None)
@given(
    history=stretches,
    crash=st.integers(1, 150),
    uncommitted=st.integers(0, 60),
    remembered_s=st.sampled_from((0, 10, 45, 150)),
)
def test_a_restart_in_the_middle_of_anything_loses_no_end_and_hides_no_beginning(
    rule: Rule, history: list[tuple[bool, int]], crash: int, uncommitted: int, remembered_s: int
) -> None:
    topic, seconds = Topic(rule), [False, *(bad for bad, length in history for _ in range(length))]
    for number, bad in enumerate(seconds):
        topic.pass_second(bad=bad)
        if number == min(crash, len(seconds) - 1):
            topic.restart(uncommitted=uncommitted, remembered_s=remembered_s)
    for _ in range(LONG_S):
        topic.pass_second(bad=False)
    assert states(topic.alerts) == [AlertState.RAISED, AlertState.CLEARED] * (len(states(topic.alerts)) // 2)
    again = [alert for _ in range(LONG_S) for alert in topic.pass_second(bad=True)]
    assert states(again) == [AlertState.RAISED]
    assert len({alert.id for alert in topic.alerts}) == len(topic.alerts)
    begun = [alert.since_at_ns for alert in topic.alerts if alert.state is AlertState.RAISED]
    assert begun == sorted(set(begun)), "receivers take an older time for an alert that they had"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@settings(max_examples=15, deadline=None)
@given(history=stretches, crash=st.integers(1, 60), uncommitted=st.integers(0, 60))
def test_what_is_read_again_is_not_told_as_something_new(
    rule: Rule, history: list[tuple[bool, int]], crash: int, uncommitted: int
) -> None:
    undisturbed, restarted = Topic(rule), Topic(rule)
    seconds = [False, *(bad for bad, length in history for _ in range(length)), *[False] * LONG_S]
    for number, bad in enumerate(seconds):
        undisturbed.pass_second(bad=bad)
        restarted.pass_second(bad=bad)
        if number == crash:
            restarted.restart(uncommitted=uncommitted)
    assert len(states(restarted.alerts)) <= len(states(undisturbed.alerts))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_process_beside_says_nothing_of_what_is_not_its_own(rule: Rule) -> None:
    topic = Topic(rule)
    for bad in (False, *[True] * LONG_S):
        topic.pass_second(bad=bad)
    beside = started(rule, owns=lambda key: False)
    for alert in topic.alerts:
        beside.recall_alert(alert, 2_000 * S)
    assert [step for hour in range(1, 50) for step in beside.tick(hour * 3_600 * S)] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_what_another_process_repeats_after_the_end_is_not_open_again(rule: Rule) -> None:
    topic = Topic(rule)
    for bad in (False, *[True] * LONG_S, *[False] * LONG_S):
        topic.pass_second(bad=bad)
    raised, cleared = (alert for alert in topic.alerts if alert.state is not AlertState.REPEATED)
    topic.alerts.append(
        msgspec.structs.replace(
            raised, id=f"{raised.episode}/repeated/9", state=AlertState.REPEATED, repeat=9, at_ns=cleared.at_ns + S
        )
    )
    topic.restart(uncommitted=0)
    assert states([alert for _ in range(LONG_S) for alert in topic.pass_second(bad=True)]) == [AlertState.RAISED]


def closed(alert: Alert, at_s: int) -> AlertResponse:
    return AlertResponse(
        id=f"keller/closed/{alert.episode}/{at_s}", kind=ResponseKind.CLOSED, by="keller", at_ns=at_s * S, rule=alert.rule,
        subject=alert.subject, episode=alert.episode, reason="the lot is scrapped",
    )  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_person_closes_an_alert_once_and_where_its_rule_still_holds_it_is_raised_again(rule: Rule) -> None:
    topic = Topic(rule)
    for bad in (False, *[True] * LONG_S):
        topic.pass_second(bad=bad)
    raised = topic.alerts[0]
    word, now_ns = closed(raised, 10**6), (topic.now_s + 1) * S  # a person whose clock is days ahead
    assert started(rule, owns=lambda key: False).close(word, now_ns) == []
    (ended,) = (step.alert for step in topic.system.close(word, now_ns))
    topic.alerts.append(ended)
    assert (ended.state, ended.episode, ended.summary) == (
        AlertState.CLEARED,
        raised.episode,
        "closed by keller: the lot is scrapped",
    )
    assert topic.system.close(word, now_ns) == []
    topic.restart(uncommitted=10)
    assert topic.system.close(word, now_ns) == [], "read again after a restart"
    assert states([alert for _ in range(LONG_S) for alert in topic.pass_second(bad=True)]) == [AlertState.RAISED]


# --- what nothing would ever clear --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_an_open_alert_ends_when_the_plant_file_does_not_know_its_subject_any_more(rule: Rule) -> None:
    elsewhere = Topic(rule)
    for bad in (False, *[True] * LONG_S):
        elsewhere.pass_second(bad=bad)
    changed = [msgspec.structs.replace(alert, subject="gone") for alert in elsewhere.alerts]
    system = started(rule)
    for alert in changed:
        system.recall_alert(alert, 2_000 * S)
    (ended,) = (step.alert for step in system.tick(2_001 * S))
    assert (ended.state, ended.episode) == (AlertState.CLEARED, changed[0].episode)
    assert ended.summary == f"the plant file has no subject gone of rule {rule.name} any more"
    assert system.tick(10**6 * S) == []


def test_an_open_alert_of_a_rule_that_is_gone_is_ended_by_who_has_its_line() -> None:
    topic = Topic(RULES[0])
    for bad in (False, *[True] * LONG_S):
        topic.pass_second(bad=bad)
    for owns, count in ((every_key, 1), (lambda key: key == "line-1", 1), (lambda key: key == "aoi", 0)):
        system = Alerting(plant=plant_with(), owns=owns)
        for alert in topic.alerts:
            system.recall_alert(alert, now_ns=2_000 * S)
        ended = [step.alert for step in system.tick(2_001 * S)]
        assert [alert.summary for alert in ended] == ["the plant file has no rule rate any more"] * count


def test_an_alert_of_an_asset_ends_when_its_normal_operation_is_learned_anew() -> None:
    rule = AssetWatchRule(name="odd", asset="pump")
    topic = Topic(rule)
    for bad in (False, *[True] * LONG_S):
        topic.pass_second(bad=bad)
    plant = plant_with(rule, watch=Watch(every_ms=1_000, learn_rows=200, revision=2))
    wiser = AssetWatches(plant=plant)
    wiser.recall_baseline(BASELINE)
    for alert in topic.alerts:
        wiser.recall_alert(alert)
    (ended,) = (step.alert for step in wiser.tick(2_000 * S))
    assert (ended.state, ended.summary) == (AlertState.CLEARED, "pump learns its normal operation anew")
