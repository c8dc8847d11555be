"""Challenge: a known-bad part that was not found, not rejected, or not brought in time. Cleared by one that is.

A pass needs the verdict (`challenges.py`) and, at a station whose PLC hears of it, the machine's own confirmation of the reject. The
schedule counts event time, and only while other parts come: a line that stands still owes no proof. It is looked at with each ordinary
part, so an open schedule of a line that stopped is told with its next part.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from zoneinfo import ZoneInfo

from processors.alert_episodes import Clear, Finding, Raise
from processors.alert_rules import AlertInput
from processors.challenges import proof
from processors.shift_calendar import ShiftCalendar
from schemas.alert_rules import ChallengeRule
from schemas.challenges import ChallengePart, Challenges
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.plc_events import RejectConfirmed
from schemas.verdicts import Verdict

REMEMBERED = 256
"""Parts per station: a reject may be confirmed before its verdict is read here, and a verdict may be read twice."""
LONGEST_SHIFT_MS = 25 * 3_600_000

Visit = tuple[str, int]


def challenge_memory_ms(plant: Plant) -> int:
    """How far back verdicts have to be read to know what is due."""
    if not any(isinstance(rule, ChallengeRule) for rule in plant.alerts):
        return 0
    schedules = [station.challenges for station in plant.stations if station.challenges.parts]
    return max((each.every_ms or (LONGEST_SHIFT_MS if each.per_shift else 0) for each in schedules), default=0)


@dataclass(slots=True)
class _Schedule:
    """What is known of one challenge part of a station."""

    part: ChallengePart
    since_ns: int = 0
    """The last pass, or the first ordinary part since the line ran again."""
    ran_at_ns: int = 0
    """The newest ordinary part."""
    span: tuple[int, int] | None = None
    """The span of a shift in which ordinary parts came and no pass yet."""
    passed_in: tuple[int, int] | None = None


@dataclass(slots=True)
class _Waiting:
    verdict: Verdict
    seen_ns: int


@dataclass(slots=True)
class _Watched:
    """A station with its challenge parts."""

    line: str
    challenges: Challenges
    confirms: bool
    schedules: dict[str, _Schedule]
    waiting: OrderedDict[Visit, _Waiting] = field(default_factory=OrderedDict)
    confirmed: OrderedDict[Visit, None] = field(default_factory=OrderedDict)
    judged: OrderedDict[Visit, None] = field(default_factory=OrderedDict)


class ChallengeWatch:
    """The subject of an alert is `station/challenge`."""

    def __init__(self, rule: ChallengeRule, *, plant: Plant, stations: frozenset[str]) -> None:
        self._rule = rule
        observed = {plc.name for plc in plant.plcs if plc.observe}
        calendar = ShiftCalendar(plant.statistics.shifts, ZoneInfo(plant.statistics.time_zone))
        self._shift_of: Callable[[int], Iterator[tuple[int, int]]] = lambda at_ns: (
            (window.start_at_ns, window.end_at_ns) for window in calendar.containing(at_ns)
        )
        self._stations = {
            station.name: _Watched(
                line=line.name,
                challenges=station.challenges,
                confirms=station.plc is not None and station.plc not in observed,
                schedules={part.name: _Schedule(part) for part in station.challenges.parts},
            )
            for line in plant.lines
            for station in line.stations
            if station.name in stations and station.challenges.parts and rule.station in (None, station.name)
        }

    def see(self, message: AlertInput, *, at_ns: int, now_ns: int) -> list[Finding]:
        """A verdict of the line, or the machine's word that it rejected a part."""
        if not isinstance(message, RejectConfirmed | Verdict):
            return []
        watched = self._stations.get(message.station)
        if watched is None:
            return []
        if isinstance(message, RejectConfirmed):
            return self._confirmed(watched, (message.part_id, message.visit), at_ns)
        if message.revision != 1:
            return []
        schedule = watched.schedules.get(message.challenge)
        if schedule is not None:
            return self._challenged(watched, schedule, message, now_ns)
        return [] if message.challenge else self._overdue(watched, message)

    def remember(self, message: AlertInput, *, at_ns: int, now_ns: int) -> None:
        """What was found then was told then. A confirmation that is not remembered any more was one: its absence was told, too."""
        self.see(message, at_ns=at_ns, now_ns=now_ns)
        if isinstance(message, Verdict) and now_ns - message.decided_at_ns > self._rule.confirm_within_ms * NS_PER_MS:
            watched = self._stations.get(message.station)
            if watched is not None and watched.waiting.pop((message.part_id, message.visit), None) is not None:
                self._pass(watched.schedules[message.challenge], message)

    def tick(self, now_ns: int) -> list[Finding]:
        """Rejects that were not confirmed in time."""
        found: list[Finding] = []
        within_ns = self._rule.confirm_within_ms * NS_PER_MS
        for watched in self._stations.values():
            late = [visit for visit, waits in watched.waiting.items() if now_ns - waits.seen_ns >= within_ns]
            for visit in late:
                verdict = watched.waiting.pop(visit).verdict
                told = f"rejected, and the machine did not confirm it within {self._rule.confirm_within_ms / 1000:g} s"
                found.append(self._failed(watched, verdict, told))
        return found

    def resume(self, subject: str, now_ns: int) -> None:
        """An open alert is cleared by a challenge that passes, whenever it comes."""

    def _challenged(self, watched: _Watched, schedule: _Schedule, verdict: Verdict, now_ns: int) -> list[Finding]:
        visit = (verdict.part_id, verdict.visit)
        if visit in watched.judged:
            return []
        _keep(watched.judged, visit)
        found = proof(verdict, schedule.part)
        if not found.passed:
            return [self._failed(watched, verdict, found.told)]
        if watched.confirms and watched.confirmed.pop(visit, visit) is visit:
            watched.waiting[visit] = _Waiting(verdict, now_ns)
            return []
        return [self._passed(schedule, verdict, verdict.decided_at_ns)]

    def _confirmed(self, watched: _Watched, visit: Visit, at_ns: int) -> list[Finding]:
        waits = watched.waiting.pop(visit, None)
        if waits is not None:
            return [self._passed(watched.schedules[waits.verdict.challenge], waits.verdict, at_ns)]
        _keep(watched.confirmed, visit)
        return []

    def _passed(self, schedule: _Schedule, verdict: Verdict, at_ns: int) -> Clear:
        self._pass(schedule, verdict)
        return Clear(
            rule=self._rule.name,
            subject=f"{verdict.station}/{schedule.part.name}",
            at_ns=max(at_ns, verdict.decided_at_ns),
            summary=f"challenge {schedule.part.name}, part {verdict.part_id}: {proof(verdict, schedule.part).told}",
        )

    def _failed(self, watched: _Watched, verdict: Verdict, told: str) -> Raise:
        return Raise(
            rule=self._rule.name,
            subject=f"{verdict.station}/{verdict.challenge}",
            line=watched.line,
            station=verdict.station,
            since_ns=verdict.decided_at_ns,
            at_ns=verdict.decided_at_ns,
            summary=f"challenge {verdict.challenge}, part {verdict.part_id} (visit {verdict.visit}): {told}",
            evidence=(verdict.id,),
        )

    # --- the schedule ------------------------------------------------------------------------------------------------

    def _pass(self, schedule: _Schedule, verdict: Verdict) -> None:
        schedule.since_ns = max(schedule.since_ns, verdict.arrived_at_ns)
        schedule.passed_in = next(self._spans(verdict, self._stations[verdict.station].challenges), None)
        if schedule.passed_in == schedule.span:
            schedule.span = None

    def _overdue(self, watched: _Watched, verdict: Verdict) -> list[Finding]:
        """What is due when an ordinary part comes."""
        found: list[Finding] = []
        for schedule in watched.schedules.values():
            due_ns = self._due(watched.challenges, schedule, verdict)
            if due_ns is None:
                continue
            asked = (
                f"every {watched.challenges.every_ms / 60_000:g} min" if watched.challenges.every_ms else "per shift"
            )
            found.append(
                Raise(
                    rule=self._rule.name,
                    subject=f"{verdict.station}/{schedule.part.name}",
                    line=watched.line,
                    station=verdict.station,
                    since_ns=due_ns,
                    at_ns=verdict.decided_at_ns,
                    summary=f"challenge {schedule.part.name} is overdue at {verdict.station}: none passed in time ({asked})",
                    evidence=(verdict.id,),
                )
            )
        return found

    def _due(self, challenges: Challenges, schedule: _Schedule, verdict: Verdict) -> int | None:
        """Since when a challenge is overdue, if it is."""
        at_ns = verdict.arrived_at_ns
        if challenges.every_ms is not None:
            every_ns = challenges.every_ms * NS_PER_MS
            if at_ns - max(schedule.since_ns, schedule.ran_at_ns) >= every_ns:
                schedule.since_ns = at_ns  # it stood still for longer than a challenge may take
            schedule.ran_at_ns = max(schedule.ran_at_ns, at_ns)
            due_ns = schedule.since_ns + every_ns
            return due_ns if at_ns >= due_ns else None
        missed = schedule.span if schedule.span is not None and at_ns >= schedule.span[1] else None
        span = next(self._spans(verdict, challenges), None)
        if span is not None and span != schedule.passed_in and (schedule.span is None or missed is not None):
            schedule.span = span
        elif missed is not None:
            schedule.span = None
        return None if missed is None else missed[1]

    def _spans(self, verdict: Verdict, challenges: Challenges) -> Iterator[tuple[int, int]]:
        """The part of a shift in which the part arrived; none in a break."""
        count = challenges.per_shift
        if not count:
            return
        for start_ns, end_ns in self._shift_of(verdict.arrived_at_ns):
            bounds = [start_ns + (end_ns - start_ns) * place // count for place in range(count + 1)]
            for begin_ns, stop_ns in pairwise(bounds):
                if begin_ns <= verdict.arrived_at_ns < stop_ns:
                    yield begin_ns, stop_ns


def _keep(visits: OrderedDict[Visit, None], visit: Visit) -> None:
    visits[visit] = None
    if len(visits) > REMEMBERED:
        visits.popitem(last=False)
