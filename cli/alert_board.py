"""What is open, who acknowledged it, what is silenced and who was told: as the topics say it now."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from cli.exits import NotSo
from cli.following import Follower
from processors.alert_responses import Responses
from processors.open_alerts import OpenAlerts
from schemas.alerts import Alert
from schemas.notifications import AlertResponse, Notification, NotificationKind, ResponseKind
from schemas.plant import Plant
from schemas.reasons import CommandOutcome
from schemas.settings import KafkaSettings
from schemas.topics import ALERT_RESPONSES, ALERTS, NOTIFICATIONS


@dataclass(slots=True)
class AlertBoard:
    """Open alerts by episode, as they were raised. `approved` are those whose action the machine took; `told` and `withheld` are receivers,
    by episode, the latter with the last reason."""

    open_alerts: dict[str, Alert] = field(default_factory=dict)
    responses: Responses = field(default_factory=Responses)
    approved: dict[str, AlertResponse] = field(default_factory=dict)
    told: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    withheld: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))

    def find(self, key: str) -> Alert:
        """The open alert of that episode, or of that `rule/subject`. Raises NotSo, with what is open."""
        for alert in self.open_alerts.values():
            if key in (alert.episode, f"{alert.rule}/{alert.subject}"):
                return alert
        known = ", ".join(f"{alert.rule}/{alert.subject}" for alert in self.open_alerts.values()) or "nothing"
        raise NotSo(f"no open alert {key!r}; open: {known}")


def read_board(plant: Plant, kafka: KafkaSettings) -> AlertBoard:
    """Reads the three topics whole: alerts are few. Raises ServiceAway, and ConfigurationError for topics that are not there."""
    board, steps = AlertBoard(), OpenAlerts()
    for topic in (ALERTS, ALERT_RESPONSES, NOTIFICATIONS):
        with Follower(plant=plant, settings=kafka, topics=(topic,), from_beginning=True) as follower:
            for seen in follower.drain():
                match seen.message:
                    case Alert():
                        steps.take(seen.message)
                    case AlertResponse():
                        _response(board, seen.message)
                    case Notification():
                        _notification(board, seen.message)
        if topic is ALERTS:
            board.open_alerts = {each.raised.episode: each.raised for each in steps}
    return board


def _response(board: AlertBoard, response: AlertResponse) -> None:
    board.responses.take(response)
    if response.kind is ResponseKind.APPROVED and response.reason == CommandOutcome.ACKNOWLEDGED:
        board.approved.setdefault(response.episode, response)


def _notification(board: AlertBoard, notification: Notification) -> None:
    for alert in notification.alerts:
        if alert.episode not in board.open_alerts:
            continue
        if notification.kind is NotificationKind.WITHHELD and notification.reason is not None:
            board.withheld[alert.episode][notification.receiver] = notification.reason.value
        else:
            board.told[alert.episode].add(notification.receiver)
