"""What a receiver was not told one by one, until its digests say so.

A digest counts every step that waited for it, and shows some episodes. Two things are owed to a receiver and wait until a digest has shown
them, however many there are: the end of what it was told of, and what is open. Of an episode that is over and that it never heard of it
needs to know the number only.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from operator import attrgetter

from schemas.alerts import Alert, AlertState
from schemas.receivers import severity_level

SHOWN_EPISODES = 50
OWED_EPISODES = 20_000
"""A plant has fewer rules and subjects. Of more, those that wait longest are counted only."""

_Place = tuple[str, str]  # rule and subject
_Steps = OrderedDict[_Place, Alert]


@dataclass(slots=True)
class PendingDigest:
    """Steps of alerts that wait for a digest, of a rule and subject the newest.

    `first_at_ns` is when the first of them was withheld, or when the digest before was sent that could not show all that is owed;
    `first_id` is the id of the first withheld alert, and `part` counts the digests that follow from it.
    """

    first_at_ns: int
    first_id: str
    part: int = 1
    counts: Counter[str] = field(default_factory=Counter)
    _ends: _Steps = field(default_factory=OrderedDict)
    _open: _Steps = field(default_factory=OrderedDict)
    _others: _Steps = field(default_factory=OrderedDict)
    _counted_only: int = 0

    @property
    def id(self) -> str:
        """The same for the same steps, and another one for each digest."""
        return self.first_id if self.part == 1 else f"{self.first_id}/{self.part}"

    @property
    def episodes(self) -> int:
        """How many episodes wait."""
        return len(self._ends) + len(self._open) + len(self._others) + self._counted_only

    @property
    def has_new_steps(self) -> bool:
        """Whether something waits that no digest has counted yet."""
        return bool(self.counts)

    def add(self, alert: Alert, *, heard: bool) -> None:
        """One more step. `heard`: whether the receiver was told that the episode is open."""
        self.counts[f"{alert.rule} {alert.state.value}"] += 1
        place = (alert.rule, alert.subject)
        for steps in (self._open, self._others):
            before = steps.pop(place, None)
            self._counted_only += before is not None and before.episode != alert.episode
        is_over = alert.state is AlertState.CLEARED
        steps = self._ends if heard and is_over else self._others if heard or is_over else self._open
        self._counted_only += steps.pop(place, None) is not None
        steps[place] = alert
        for steps, most in ((self._others, SHOWN_EPISODES), (self._open, OWED_EPISODES), (self._ends, OWED_EPISODES)):
            if len(steps) > most:
                steps.popitem(last=False)
                self._counted_only += 1

    def holds(self, alert: Alert) -> bool:
        """Whether a step of the alert's rule and subject waits: those are not told out of their order."""
        place = (alert.rule, alert.subject)
        return place in self._ends or place in self._open or place in self._others

    def shown(self) -> tuple[Alert, ...]:
        """What the next digest shows: ends first, then what is open, the severest first; then, where there is room, what else is new."""
        still_open = sorted(self._open.values(), key=lambda alert: -severity_level(alert.severity))
        newest = sorted(self._others.values(), key=attrgetter("at_ns"), reverse=True)
        return (*self._ends.values(), *still_open, *newest)[:SHOWN_EPISODES]

    def after(self, shown: tuple[Alert, ...], *, at_ns: int) -> PendingDigest | None:
        """What a digest that was sent at `at_ns` and showed `shown` still owes; None where nothing is left."""
        said = {alert.episode for alert in shown}
        ends, still_open = (
            OrderedDict((place, alert) for place, alert in steps.items() if alert.episode not in said)
            for steps in (self._ends, self._open)
        )
        if not ends and not still_open:
            return None
        return PendingDigest(
            first_at_ns=at_ns, first_id=self.first_id, part=self.part + 1, _ends=ends, _open=still_open
        )
