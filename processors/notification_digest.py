"""What a receiver was not told one by one, until its next digest says so."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field

from schemas.alerts import Alert

SHOWN_EPISODES = 50
KEPT_EPISODES = 1_000
"""Of those that wait for a digest; the others are counted."""


@dataclass(slots=True)
class PendingDigest:
    """Steps of alerts that wait for a digest. `first_at_ns` is when the first of them was withheld, `first_id` its alert's id."""

    first_at_ns: int
    first_id: str
    counts: Counter[str] = field(default_factory=Counter)
    episodes: int = 0
    _newest: OrderedDict[str, Alert] = field(default_factory=OrderedDict)

    def add(self, alert: Alert) -> None:
        """One more step; of an episode the newest is kept."""
        self.counts[f"{alert.rule} {alert.state.value}"] += 1
        self.episodes += alert.episode not in self._newest
        self._newest[alert.episode] = alert
        self._newest.move_to_end(alert.episode)
        if len(self._newest) > KEPT_EPISODES:
            self._newest.popitem(last=False)

    def holds(self, episode: str) -> bool:
        """Whether a step of the episode waits, among those that are kept."""
        return episode in self._newest

    def shown(self) -> tuple[Alert, ...]:
        """The newest step of each of the newest episodes."""
        return tuple(list(self._newest.values())[-SHOWN_EPISODES:])
