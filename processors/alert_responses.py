"""What people did about alerts: which episodes are acknowledged, and what is silenced at a moment."""

from __future__ import annotations

from collections import OrderedDict
from itertools import product

from schemas.alerts import Alert
from schemas.notifications import AlertResponse, ResponseKind

EVERY_RULE = "*"
REMEMBERED_EPISODES = 10_000


class Responses:
    """Responses in the order of their topic; one that comes twice changes nothing."""

    def __init__(self) -> None:
        self._acknowledged: OrderedDict[str, AlertResponse] = OrderedDict()
        self._silences: dict[tuple[str, str], AlertResponse] = {}

    def take(self, response: AlertResponse) -> None:
        """Takes note of a response. The first acknowledgement of an episode holds, and the newest silence of a rule and subject."""
        place = (response.rule, response.subject)
        match response.kind:
            case ResponseKind.ACKNOWLEDGED:
                self._acknowledged.setdefault(response.episode, response)
                if len(self._acknowledged) > REMEMBERED_EPISODES:
                    self._acknowledged.popitem(last=False)
            case ResponseKind.SILENCED | ResponseKind.UNSILENCED:
                known = self._silences.get(place)
                if known is None or response.at_ns >= known.at_ns:
                    self._silences[place] = response
            case ResponseKind.APPROVED | ResponseKind.CLOSED:
                pass  # what follows from them is on `commands` and `alerts`

    def acknowledged(self, episode: str) -> AlertResponse | None:
        """Who acknowledged the episode."""
        return self._acknowledged.get(episode)

    def silence_of(self, alert: Alert, *, now_ns: int) -> AlertResponse | None:
        """The silence that holds for the alert now: of its rule or of every rule, for its subject or for every one."""
        for place in product((alert.rule, EVERY_RULE), (alert.subject, "")):
            found = self._silences.get(place)
            if found is not None and found.kind is ResponseKind.SILENCED and now_ns < found.until_at_ns:
                return found
        return None

    def silences(self, *, now_ns: int) -> list[AlertResponse]:
        """All that hold now."""
        return [
            found
            for found in self._silences.values()
            if found.kind is ResponseKind.SILENCED and now_ns < found.until_at_ns
        ]

    def forget_expired(self, *, now_ns: int) -> None:
        """Silences that are over are not needed any more."""
        self._silences = {
            place: found
            for place, found in self._silences.items()
            if found.kind is ResponseKind.SILENCED and now_ns < found.until_at_ns
        }
