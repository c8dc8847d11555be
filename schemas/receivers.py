"""What a plant file may say about who is told of alerts: how, from which severity on, how often at most."""

from __future__ import annotations

from typing import Literal

from schemas.addresses import without_password
from schemas.section import Section

SEVERITIES = ("info", "warning", "critical")
"""In their order; an andon shows 1, 2 or 3, and 0 when nothing is open."""


def severity_level(severity: str) -> int:
    """Its place in that order; of a severity that is none of ours: that of a warning."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else SEVERITIES.index("warning")


class Webhook(Section, frozen=True, kw_only=True):
    """Every alert, as it is on the topic: POST as JSON, unsigned, without a bound. People are told by `receivers`."""

    url: str
    timeout_ms: int = 2000
    max_tries: int = 5


class Receiver(Section, frozen=True, kw_only=True):
    """What all receivers share.

    Told of alerts of `rules` (empty: all) from `minimum_severity` on; with `escalate_after_ms` only of those that are open for so long
    and that nobody acknowledged. At most `max_per_hour` messages in any hour: what comes above stands in a digest.
    """

    name: str
    minimum_severity: Literal["info", "warning", "critical"] = "info"
    rules: tuple[str, ...] = ()
    escalate_after_ms: int | None = None
    max_per_hour: int = 10


class WebhookReceiver(Receiver, tag_field="type", tag="webhook", frozen=True, kw_only=True):
    """POST of the notification as JSON, signed with HMAC-SHA256 over time and body. `secret` comes from the environment:
    `secret: ${ALERTS_SECRET}`. `timeout_ms` is for one try, everything included."""

    url: str
    secret: str
    timeout_ms: int = 5000
    max_tries: int = 8

    def __repr__(self) -> str:
        """Without the secret: descriptions end up in logs."""
        return f"WebhookReceiver(name={self.name!r}, url={without_password(self.url)!r}, secret=...)"


class AlertmanagerReceiver(Receiver, tag_field="type", tag="alertmanager", frozen=True, kw_only=True):
    """A Prometheus Alertmanager (API v2) at `url`. What it was told of as firing, it is told of as resolved."""

    url: str
    timeout_ms: int = 5000
    max_tries: int = 8


class AndonReceiver(Receiver, tag_field="type", tag="andon", frozen=True, kw_only=True):
    """A light at a station, set through the PLC: `parameter` (named under the station's interlocks) becomes 3 while something critical
    is open, 2 for a warning, 1 for an info, 0 when nothing is."""

    station: str
    parameter: str = "andon"
    max_per_hour: int = 60


AnyReceiver = WebhookReceiver | AlertmanagerReceiver | AndonReceiver
