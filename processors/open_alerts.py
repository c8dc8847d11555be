"""Which alerts are open: the one place that knows, from the steps of alerts in their order, as they are made or as the topic has them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.alerts import Alert, AlertState

Place = tuple[str, str]
"""Rule and subject: of each at most one alert is open."""

REMEMBERED_ENDS = 20_000
"""Places of which the last end is known; those that ended longest ago are let go of first. What is open is never let go of."""


@dataclass(slots=True)
class OpenAlert:
    """An alert as it was raised, how often it was repeated, and when it was told last, ns UTC."""

    raised: Alert
    repeats: int
    told_at_ns: int


class OpenAlerts:
    """Open alerts by rule and subject, and the last end of each.

    Only what is raised opens an alert. A repetition does where nothing else is known of its place: the topic has forgotten the beginning.
    A step of an episode that is over, or that another one followed, changes nothing: somebody told it who had not heard.
    """

    def __init__(self) -> None:
        self._open: dict[Place, OpenAlert] = {}
        self._ended: OrderedDict[Place, Alert] = OrderedDict()

    def take(self, alert: Alert) -> None:
        """One more step."""
        place = (alert.rule, alert.subject)
        known, ended = self._open.get(place), self._ended.get(place)
        is_same = known is not None and known.raised.episode == alert.episode
        match alert.state:
            case AlertState.CLEARED:
                if known is not None and not is_same:
                    return
                self._open.pop(place, None)
                self._end(place, alert)
            case AlertState.RAISED:
                if not is_same and (ended is None or ended.episode != alert.episode):
                    self._open[place] = OpenAlert(raised=alert, repeats=0, told_at_ns=alert.at_ns)
            case AlertState.REPEATED:
                if known is None and (ended is None or ended.since_at_ns < alert.since_at_ns):
                    self._open[place] = OpenAlert(raised=alert, repeats=alert.repeat, told_at_ns=alert.at_ns)
                elif known is not None and is_same and alert.repeat > known.repeats:
                    known.repeats, known.told_at_ns = alert.repeat, alert.at_ns

    def of(self, place: Place) -> OpenAlert | None:
        """The open alert of a rule and subject."""
        return self._open.get(place)

    def last_end(self, place: Place) -> Alert | None:
        """The end of the last alert of a rule and subject that is over."""
        return self._ended.get(place)

    def __iter__(self) -> Iterator[OpenAlert]:
        return iter(self._open.values())

    def _end(self, place: Place, alert: Alert) -> None:
        self._ended[place] = alert
        self._ended.move_to_end(place)
        if len(self._ended) > REMEMBERED_ENDS:
            self._ended.popitem(last=False)
