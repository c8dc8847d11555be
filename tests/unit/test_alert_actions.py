"""What an alert asks of the machine, at once or with approval; and how often an open alert is repeated."""

from __future__ import annotations

from msgspec.structs import replace

from processors.alert_actions import AlertStep, command_of
from processors.alert_subjects import every_key
from processors.alerting import Alerting
from schemas.alert_rules import DefectRateRule
from schemas.interlocks import Interlocks, Parameter
from schemas.plant import Line, Plant, Plc, Station
from schemas.reasons import CommandKind, FailSafe, VerdictValue
from schemas.verdicts import Verdict

S = 1_000_000_000
NOT_OK = VerdictValue.NOT_OK
RATE = DefectRateRule(
    name="rate", raise_ratio=0.3, clear_ratio=0.1, window_ms=20_000, minimum_parts=10, action="stop_line"
)


def alerting(rule: DefectRateRule, *, interlocks: Interlocks | None = None) -> Alerting:
    station = Station(name="aoi", cameras=(), plc="plc-1", interlocks=interlocks or Interlocks())
    plant = Plant(
        plant="test",
        lines=(Line(name="line-1", stations=(station,)),),
        recipes=(),
        plcs=(Plc(name="plc-1", endpoint="opc.tcp://127.0.0.1:4840/", security="none"),),
        alerts=(rule,),
    )
    return Alerting(plant=plant, owns=every_key)


def bad_parts(system: Alerting) -> list[AlertStep]:
    """Ten parts NOT_OK, one per second."""
    steps = []
    for number in range(10):
        verdict = Verdict(
            id=f"aoi/{number}/1/1",
            station="aoi",
            line="line-1",
            part_id=str(number),
            visit=1,
            revision=1,
            verdict=NOT_OK,
            action=FailSafe.REJECT,
            arrived_at_ns=number * S,
            decided_at_ns=number * S,
            recipe="board@1",
        )
        steps += system.take(verdict, at_ns=number * S, now_ns=number * S)
    return steps


def test_the_pauses_between_repetitions_double_up_to_a_bound_also_over_a_restart() -> None:
    rule = replace(RATE, repeat_after_ms=60_000, longest_repeat_ms=300_000)
    system = alerting(rule)
    (raised,) = bad_parts(system)
    at_ns, told_at_s, record = raised.alert.at_ns, [], [raised.alert]
    for second in range(1, 1_300):
        if second == 200:  # another process, which reads back what is on the topic
            system = alerting(rule)
            for alert in record:
                system.recall_alert(alert, now_ns=at_ns + second * S)
        for step in system.tick(at_ns + second * S):
            record.append(step.alert)
            told_at_s.append(second)
    assert told_at_s == [60, 60 + 120, 180 + 240, 420 + 300, 720 + 300]


def test_an_action_sets_the_parameter_of_its_name_where_the_interlocks_know_it() -> None:
    lane = Parameter(name="divert", node="s=Lane", low=0, high=1)
    rule = replace(RATE, action="divert")
    (step,) = bad_parts(alerting(rule, interlocks=Interlocks(parameters=(lane,))))
    assert step.command is not None
    assert step.audit is not None
    assert (step.command.kind, step.command.parameter, step.command.value) == (CommandKind.PARAMETER, "divert", 1.0)
    assert (step.alert.action, step.audit.action) == ("divert", "divert")
    (step,) = bad_parts(alerting(rule))
    assert (step.command, step.audit, step.alert.action) == (None, None, None)


def test_an_action_that_needs_approval_is_asked_for_and_not_carried_out() -> None:
    (step,) = bad_parts(alerting(replace(RATE, approval="required")))
    assert step.command is None
    assert step.audit is not None
    assert (step.alert.action, step.alert.approval, step.alert.station) == ("stop_line", "required", "aoi")
    assert step.audit.action == "ask_stop_line"
    command = command_of(step.alert, signals=(*RATE.signals, "a person"), issued_at_ns=5 * S)
    assert (command.id, command.station, command.valid_until_ns) == (f"alert/{step.alert.episode}", "aoi", 15 * S)
    again = command_of(step.alert, signals=(), issued_at_ns=5 * S, approved_at_ns=5 * S)
    assert again.id == f"alert/{step.alert.episode}/{5 * S}"
    assert command.signals == ("verdicts", "a person")
