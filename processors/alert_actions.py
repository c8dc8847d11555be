"""What an alert asks of the machine: stop the line, divert parts, hold the batch; at once, or when a person approves.

An action is a command like every other: it goes through the station's interlocks, is valid for ten seconds, and has one result.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.alert_rules import AlertRule
from schemas.alerts import Alert
from schemas.commands import Command
from schemas.message import NS_PER_MS
from schemas.plant import Station
from schemas.reasons import CommandKind
from schemas.records import AuditEvent

VALID_FOR_MS = 10_000
ACTOR = "alerts"
SET = 1.0
"""What `divert` and `hold_batch` set their parameter to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertStep:
    """An alert, and the command that it asks for (with its audit entry). The command goes out first: an alert that is on the topic is
    not raised again after a restart, so what follows from it must be out before. Without a command the audit entry says that one waits
    for approval."""

    alert: Alert
    command: Command | None = None
    audit: AuditEvent | None = None


def can_act(rule: AlertRule, station: Station | None) -> bool:
    """Whether the rule's action can be carried out at the station: it has a PLC, and its interlocks know the parameter."""
    if rule.action is None or station is None or station.plc is None:
        return False
    return rule.action == "stop_line" or any(item.name == rule.action for item in station.interlocks.parameters)


def with_action(alert: Alert, rule: AlertRule) -> AlertStep:
    """The alert with its action, if it has one: a command, or the question for approval."""
    if alert.action is None:
        return AlertStep(alert=alert)
    asked = alert.approval == "required"
    action = f"ask_{alert.action}" if asked else alert.action
    return AlertStep(
        alert=alert,
        command=None if asked else command_of(alert, signals=rule.signals, issued_at_ns=alert.at_ns),
        audit=AuditEvent(
            id=f"{ACTOR}/{action}/{alert.station}/{alert.at_ns}",
            actor=ACTOR,
            action=action,
            subject=alert.station,
            at_ns=alert.at_ns,
            detail=f"{alert.episode}: {alert.summary}",
        ),
    )


def command_of(
    alert: Alert, *, signals: tuple[str, ...], issued_at_ns: int, approved_at_ns: int | None = None
) -> Command:
    """The command of a raised alert: valid for ten seconds, for a stop that comes later helps nobody.

    Each approval is a command of its own: what an interlock held back may be approved again.
    """
    is_stop = alert.action == "stop_line"
    return Command(
        id=f"alert/{alert.episode}" + (f"/{approved_at_ns}" if approved_at_ns is not None else ""),
        station=alert.station,
        kind=CommandKind.STOP_LINE if is_stop else CommandKind.PARAMETER,
        issued_at_ns=issued_at_ns,
        valid_until_ns=issued_at_ns + VALID_FOR_MS * NS_PER_MS,
        reason_code=alert.rule,
        parameter="" if is_stop else alert.action or "",
        value=0.0 if is_stop else SET,
        signals=signals if is_stop else (),
    )
