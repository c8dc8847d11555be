"""What all alert rules have in common: a watch is told every message and every tick, and says what it finds.

A watch keeps what it needs to judge, not whether an alert is open: it says again and again that its rule holds, or does not
(`alert_episodes` turns that into alerts). Event times come with the messages, so a replay finds the same; the clock only says
how long nothing came, counted from when the watch saw the last message, so that a backlog after a restart is no silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from processors.alert_episodes import Finding
from schemas.charts import ChartPoint
from schemas.inspections import Inspection
from schemas.plc_events import PlcEvent
from schemas.verdicts import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOutage:
    """A time without contact with the broker that is over, ns since the epoch. No message: nobody could have sent it."""

    lost_at_ns: int
    back_at_ns: int


AlertInput = Verdict | Inspection | PlcEvent | ChartPoint | BrokerOutage


class Watch(Protocol):
    """One rule over all stations that are ours."""

    def see(self, message: AlertInput, *, at_ns: int, now_ns: int) -> list[Finding]:
        """A message; `at_ns` is its record's time, `now_ns` when we see it."""

    def remember(self, message: AlertInput, *, at_ns: int, now_ns: int) -> None:
        """A message from before we began: what is judged from now on may need it."""

    def tick(self, now_ns: int) -> list[Finding]:
        """Time has passed."""

    def resume(self, subject: str, now_ns: int) -> None:
        """An alert for `subject` was open before we began."""
