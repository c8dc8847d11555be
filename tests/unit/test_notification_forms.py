"""Notifications reach receivers as they are meant: signatures that hold, labels that stay, lights that show the worst; names are data."""

from __future__ import annotations

import hashlib
import hmac
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.options import one_line
from processors.notification_forms import alertmanager_alerts, andon_command, signature
from schemas.alerts import Alert, AlertState
from schemas.notifications import Notification, NotificationKind
from schemas.receivers import AndonReceiver
from topologies.http_post import header_value

S = 1_000_000_000
HOSTILE = [
    '"}],"x":[{"',
    "<script>alert(1)</script>",
    "{{ .Labels.alertname }} {{7*7}} ${HOME}",
    "line\r\nX-Injected: 1",
    "\x1b[2J\x1b[31mgone",
    "%s%n",
    "\u202egnp.exe",
    "' OR 1=1 --",
]


def alert(subject: str = "aoi-1", state: AlertState = AlertState.RAISED, *, summary: str = "", at_s: int = 60) -> Alert:
    return Alert(
        id=f"rate/{subject}/1/{state.value}/0",
        line="line-1",
        rule="rate",
        subject=subject,
        severity="critical",
        state=state,
        episode=f"rate/{subject}/1",
        since_at_ns=S,
        at_ns=at_s * S,
        summary=summary or f"of {subject}",
        value=0.25,
        evidence=(subject,),
    )


def notification(*alerts: Alert, open_severity: str = "critical", kind: str = "alert") -> Notification:
    return Notification(
        id=f"shift/{alerts[0].id}",
        receiver="shift",
        kind=NotificationKind(kind),
        at_ns=60 * S,
        alerts=alerts,
        open_severity=open_severity,
    )


def test_a_receiver_checks_the_signature_with_the_standard_library() -> None:
    body = msgspec.json.encode(notification(alert()))
    expected = hmac.new(b"a shared secret", b"1700000000." + body, hashlib.sha256).hexdigest()
    assert signature(body, secret="a shared secret", at_s=1_700_000_000) == f"v1={expected}"


def test_another_time_body_or_secret_has_another_signature() -> None:
    first = signature(b"{}", secret="a", at_s=1)
    assert first not in {
        signature(b"{}", secret="a", at_s=2),
        signature(b"{ }", secret="a", at_s=1),
        signature(b"{}", secret="b", at_s=1),
        signature(b"1.{}", secret="a", at_s=1),
    }


def test_an_alertmanager_hears_of_the_same_alert_firing_and_resolved() -> None:
    (firing,) = alertmanager_alerts(notification(alert()), plant="works")
    (resolved,) = alertmanager_alerts(notification(alert(state=AlertState.CLEARED, at_s=120)), plant="works")
    assert firing["labels"] == resolved["labels"]
    assert firing["startsAt"] == resolved["startsAt"] == "1970-01-01T00:00:01+00:00"
    assert (firing["endsAt"], resolved["endsAt"]) == ("1970-01-08T00:01:00+00:00", "1970-01-01T00:02:00+00:00")


def test_an_alertmanager_hears_of_every_episode_of_a_digest() -> None:
    digest = notification(alert("a"), alert("b", AlertState.CLEARED), kind="digest")
    assert [each["labels"]["subject"] for each in alertmanager_alerts(digest, plant="works")] == ["a", "b"]


@pytest.mark.parametrize(("severity", "light"), [("", 0), ("info", 1), ("warning", 2), ("critical", 3)])
def test_an_andon_shows_the_worst_that_is_open(severity: str, light: int) -> None:
    tower = AndonReceiver(name="tower", station="aoi-1", parameter="lamp")
    command, audit = andon_command(notification(alert(), open_severity=severity), receiver=tower, now_ns=70 * S)
    assert (command.station, command.parameter, command.value) == ("aoi-1", "lamp", light)
    assert command.valid_until_ns == 80 * S
    assert audit.subject == "aoi-1"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_a_value_for_an_alertmanager_and_nothing_else(name: str) -> None:
    sent = json.loads(msgspec.json.encode(alertmanager_alerts(notification(alert(name)), plant="works")))
    (only,) = sent
    assert only["labels"]["subject"] == name
    assert set(only["labels"]) == {"alertname", "severity", "plant", "line", "subject"}
    assert set(only) == {"labels", "annotations", "startsAt", "endsAt"}


@given(st.text())
def test_no_text_ends_a_header_or_a_line_of_the_terminal(text: str) -> None:
    for shown in (header_value(text), one_line(text)):
        assert shown.isprintable()
    if text.isprintable():
        assert header_value(text) == one_line(text) == text
