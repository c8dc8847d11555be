"""Wrong lane: a part that had to be rejected was seen leaving on the good lane. The worst that a station can do, so it is told at once."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from processors.alert_episodes import Clear, Finding, Raise
from processors.alert_rules import AlertInput
from schemas.alert_rules import WrongLaneRule
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.plc_events import PartLeft
from schemas.reasons import FailSafe, VerdictValue
from schemas.verdicts import Verdict

Item = TypeVar("Item")

REMEMBERED_PARTS = 4096
"""Per station: a part leaves within seconds of its verdict, and either may be read first."""


class WrongLane:
    """Raised for a station, with the verdict as evidence. A PLC that is only observed heard no verdict: its lanes are its own affair."""

    def __init__(self, rule: WrongLaneRule, *, plant: Plant, stations: frozenset[str]) -> None:
        self._rule = rule
        observed = {plc.name for plc in plant.plcs if plc.observe}
        self._lines = {
            station.name: line.name
            for line in plant.lines
            for station in line.stations
            if station.name in stations and station.plc is not None and station.plc not in observed
        }
        self._rejected: dict[str, OrderedDict[tuple[str, int], Verdict]] = {name: OrderedDict() for name in self._lines}
        self._passed: dict[str, OrderedDict[tuple[str, int], PartLeft]] = {name: OrderedDict() for name in self._lines}
        self._last_seen_ns: dict[str, int] = {}

    def see(self, message: AlertInput, *, at_ns: int, now_ns: int) -> list[Finding]:
        """A first verdict that rejects, or a part on the good lane."""
        found = self._note(message)
        if found is None:
            return []
        verdict, departure = found
        self._last_seen_ns[verdict.station] = now_ns
        told = f"part {verdict.part_id} (visit {verdict.visit}) is {verdict.verdict} and left {verdict.station} on the good lane"
        return [
            Raise(
                rule=self._rule.name,
                subject=verdict.station,
                line=self._lines[verdict.station],
                station=verdict.station,
                since_ns=at_ns,
                at_ns=at_ns,
                summary=told,
                evidence=(verdict.id, departure.id),
            )
        ]

    def remember(self, message: AlertInput, *, at_ns: int, now_ns: int) -> None:
        """The other half of a pair may come after the restart; a whole pair was told then."""
        self._note(message)

    def tick(self, now_ns: int) -> list[Finding]:
        """Stations without such a part for long enough."""
        after_ns = self._rule.clear_after_ms * NS_PER_MS
        quiet = [station for station, seen_ns in self._last_seen_ns.items() if now_ns - seen_ns >= after_ns]
        for station in quiet:
            del self._last_seen_ns[station]
        told = f"no rejected part on the good lane for {self._rule.clear_after_ms / 1000:g} s"
        return [Clear(rule=self._rule.name, subject=station, at_ns=now_ns, summary=told) for station in quiet]

    def resume(self, subject: str, now_ns: int) -> None:
        """The quiet time begins anew."""
        self._last_seen_ns.setdefault(subject, now_ns)

    def _note(self, message: AlertInput) -> tuple[Verdict, PartLeft] | None:
        """Remembers one half; the pair when the other is known."""
        if not isinstance(message, Verdict | PartLeft) or message.station not in self._lines:
            return None
        key = (message.part_id, message.visit)
        rejected, passed = self._rejected[message.station], self._passed[message.station]
        if isinstance(message, PartLeft) and message.lane == "good":
            _keep(passed, key, message)
        elif isinstance(message, Verdict) and message.revision == 1 and _rejects(message):
            _keep(rejected, key, message)
        else:
            return None
        if key not in rejected or key not in passed:
            return None
        return rejected.pop(key), passed.pop(key)


def _rejects(verdict: Verdict) -> bool:
    return verdict.verdict is not VerdictValue.OK and verdict.action is not FailSafe.PASS


def _keep(kept: OrderedDict[tuple[str, int], Item], key: tuple[str, int], item: Item) -> None:
    kept[key] = item
    if len(kept) > REMEMBERED_PARTS:
        kept.popitem(last=False)
