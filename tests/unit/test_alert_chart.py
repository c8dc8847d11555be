"""A chart's signal as an alert: every turn reaches people, and what it asks of the machine is about the line as it is now."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from alerting_line import S
from alerting_line import plant as line_plant
from told_receivers import receiver

from processors.alert_actions import AlertStep
from processors.alert_subjects import every_key
from processors.alerting import Alerting
from processors.notifying import Notifying
from schemas.alert_rules import ChartRule
from schemas.alerts import Alert, AlertState
from schemas.chart_settings import Chart, NotOk
from schemas.charts import ChartPoint, CusumSums
from schemas.plant import Plant
from schemas.statistics_settings import StatisticsSettings

RAISED, CLEARED = AlertState.RAISED, AlertState.CLEARED
HOUR_S = 3_600
GRACE_S, IDLE_S = 20, 40
RULE = ChartRule(name="control", chart="share", clear_after_points=2, action="stop_line")


def plant() -> Plant:
    return msgspec.structs.replace(
        line_plant(RULE),
        statistics=StatisticsSettings(
            windows_ms=(HOUR_S * 1000,),
            grace_ms=GRACE_S * 1000,
            idle_timeout_ms=IDLE_S * 1000,
            charts=(Chart(name="share", figure=NotOk(), chart="p", window_ms=HOUR_S * 1000),),
        ),
        receivers=(receiver(max_per_hour=100),),
    )


def alerting() -> Alerting:
    return Alerting(plant=plant(), owns=every_key)


def point(hour: int, value: float, *, revision: int = 1, **fields: Any) -> ChartPoint:
    return ChartPoint(
        id=f"share/station/aoi/{hour}/{revision}", chart="share", kind="p", subject="station/aoi", line="line-1",
        start_at_ns=hour * HOUR_S * S, end_at_ns=(hour + 1) * HOUR_S * S, revision=revision, phase=2, value=value,
        centre=0.1, lower=0.02, upper=0.2, outside=not 0.02 <= value <= 0.2, **fields,
    )  # fmt: skip


def told_after(system: Alerting, at: ChartPoint, *, s: float = GRACE_S) -> list[AlertStep]:
    """The point is told so long after its window's end."""
    at_ns = at.end_at_ns + int(s * S)
    return system.take(at, at_ns=at_ns, now_ns=at_ns)


CORRECTED = ((5, 0.1, 1), (6, 0.1, 1), (7, 0.5, 1), (7, 0.1, 2), (7, 0.4, 3), (8, 0.1, 1), (9, 0.1, 1))


@pytest.mark.parametrize("restarted_before", range(len(CORRECTED)))
def test_a_point_that_is_corrected_and_signals_again_is_told_again_to_people_and_to_the_machine(
    restarted_before: int,
) -> None:
    system, topic, points = alerting(), list[AlertStep](), list[ChartPoint]()
    for number, (hour, value, revision) in enumerate(CORRECTED):
        if number == restarted_before:
            system = alerting()
            for step in topic:
                system.recall_alert(step.alert, now_ns=0)
            for past, each in enumerate(points):
                system.recall(each, at_ns=each.end_at_ns + (GRACE_S + past) * S, now_ns=0)
        points.append(point(hour, value, revision=revision))
        topic += told_after(system, points[-1], s=GRACE_S + number)
    assert [step.alert.state for step in topic] == [RAISED, CLEARED, RAISED, CLEARED]
    assert len({step.alert.id for step in topic}) == 4
    assert len({step.command.id for step in topic if step.command}) == 2, "the gateway executes an id once"
    notifying = Notifying(plant=plant())
    notifying.begin(0)
    said = [note for step in topic for note in notifying.take(step.alert, now_ns=step.alert.at_ns)]
    assert [note.alerts[0].state for note in said] == [RAISED, CLEARED, RAISED, CLEARED]


def test_an_action_is_valid_from_the_moment_in_which_its_point_is_told() -> None:
    (step,) = told_after(alerting(), point(7, 0.5), s=GRACE_S + IDLE_S)
    assert step.command is not None
    assert step.command.issued_at_ns == step.alert.at_ns == (8 * HOUR_S + GRACE_S + IDLE_S) * S
    assert step.command.valid_until_ns == step.alert.at_ns + 10 * S
    assert step.alert.since_at_ns == 8 * HOUR_S * S


def test_no_action_follows_from_a_point_that_was_kept_back_and_the_alert_does_not_claim_it() -> None:
    system = alerting()
    (late,) = told_after(system, point(7, 0.5), s=GRACE_S + IDLE_S + 61)
    assert (late.alert.state, late.alert.action, late.command, late.audit) == (RAISED, None, None, None)
    ended, fresh = told_after(system, point(8, 0.5))
    assert (ended.alert.state, ended.alert.episode) == (CLEARED, late.alert.episode)
    assert ended.alert.summary.startswith("goes on, and stop_line is asked for")
    assert fresh.command is not None
    assert told_after(system, point(9, 0.5)) == [], "once per episode"


@pytest.mark.parametrize("sums", [None, CusumSums(upper=0.0, lower=6.0, upper_since=0, lower_since=9)])
def test_fewer_bad_parts_than_usual_are_an_alert_and_stop_no_line(sums: CusumSums | None) -> None:
    system = alerting()
    good = point(7, 0.01) if sums is None else point(7, 6.0, sums=sums)
    (step,) = told_after(system, good)
    assert (step.alert.state, step.alert.action, step.command) == (RAISED, None, None)
    assert told_after(system, point(8, 0.01)) == []
    assert [(each.alert.state, each.alert.action) for each in told_after(system, point(9, 0.5))] == [
        (CLEARED, None),
        (RAISED, "stop_line"),
    ]


def test_an_episode_that_acted_stays_one_when_the_rate_falls_below_its_limits() -> None:
    system = alerting()
    told_after(system, point(7, 0.5))
    assert [told_after(system, point(hour, value)) for hour, value in ((8, 0.01), (9, 0.5))] == [[], []]


def test_a_clock_of_the_line_that_is_ahead_of_the_broker_keeps_no_alert_open() -> None:
    system, steps = alerting(), list[Alert]()
    for number, value in enumerate((0.5, 0.1, 0.1)):
        at_ns = (1_000 + number) * S  # hours before the windows' ends
        steps += [step.alert for step in system.take(point(7 + number, value), at_ns=at_ns, now_ns=at_ns)]
    assert [alert.state for alert in steps] == [RAISED, CLEARED]
    assert steps[0].since_at_ns == steps[0].at_ns
