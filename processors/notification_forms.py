"""A notification as each kind of receiver takes it. Names of parts, places and classes are data in all of them: values, never text that
somebody interprets."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

from processors.alert_actions import ACTOR, VALID_FOR_MS
from schemas.alerts import Alert, AlertState
from schemas.commands import Command
from schemas.message import NS_PER_MS, NS_PER_S
from schemas.notifications import Notification, NotificationKind
from schemas.reasons import CommandKind
from schemas.receivers import SEVERITIES, AndonReceiver
from schemas.records import AuditEvent

SIGNATURE_VERSION = "v1"
FIRES_FOR = timedelta(days=7)
"""How long an Alertmanager keeps an alert that nobody resolves; each repetition says it again. Its own default is five minutes."""


def signature(body: bytes, *, secret: str, at_s: int) -> str:
    """`v1=<hex>`: HMAC-SHA256 (RFC 2104) with the shared secret over `<seconds since the epoch>.<body>`. The time is under the
    signature, so that what was sent once cannot be sent again later."""
    signed = f"{at_s}.".encode() + body
    return f"{SIGNATURE_VERSION}={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def alertmanager_alerts(notification: Notification, *, plant: str) -> list[dict[str, Any]]:
    """The body of a POST to `/api/v2/alerts`: of a digest one entry for each of its episodes.

    Labels are the same from raised to cleared; an Alertmanager takes an alert for the same by them.
    """
    return [_alertmanager_alert(alert, plant) for alert in notification.alerts]


def _alertmanager_alert(alert: Alert, plant: str) -> dict[str, Any]:
    at = _time(alert.at_ns)
    ends_at = at if alert.state is AlertState.CLEARED else at + FIRES_FOR
    annotations = {
        "summary": alert.summary,
        "episode": alert.episode,
        "value": "" if alert.value is None else f"{alert.value:g}",
        "threshold": "" if alert.threshold is None else f"{alert.threshold:g}",
        "evidence": ", ".join(alert.evidence),
    }
    return {
        "labels": {
            "alertname": alert.rule,
            "severity": alert.severity,
            "plant": plant,
            "line": alert.line,
            "subject": alert.subject,
        },
        "annotations": {name: text for name, text in annotations.items() if text},
        "startsAt": _time(alert.since_at_ns).isoformat(),
        "endsAt": ends_at.isoformat(),
    }


def _time(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns / NS_PER_S, UTC)


def andon_command(
    notification: Notification, *, receiver: AndonReceiver, now_ns: int, again_at_ns: int | None = None
) -> tuple[Command, AuditEvent]:
    """The light as it is to be now: the number of the highest severity that is open, 0 for none. `again_at_ns`: when it is asked for once
    more, as a command of its own."""
    severity = notification.open_severity
    level = SEVERITIES.index(severity) + 1 if severity in SEVERITIES else int(bool(severity))
    digest = notification.kind is NotificationKind.DIGEST
    command = Command(
        id=f"andon/{notification.id}" + (f"/{again_at_ns}" if again_at_ns is not None else ""),
        station=receiver.station,
        kind=CommandKind.PARAMETER,
        issued_at_ns=now_ns,
        valid_until_ns=now_ns + VALID_FOR_MS * NS_PER_MS,
        reason_code="digest" if digest else notification.alerts[0].rule,
        parameter=receiver.parameter,
        value=float(level),
    )
    audit = AuditEvent(
        id=f"{ACTOR}/{command.id}/{notification.at_ns}",
        actor=ACTOR,
        action="andon",
        subject=receiver.station,
        at_ns=now_ns,
        detail=f"{receiver.parameter} = {level} for {receiver.name}: {notification.id}",
    )
    return command, audit
