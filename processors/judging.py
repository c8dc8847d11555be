"""The judge: from arrivals and inspections to one verdict per part, in time.

A part is decided once every required view has ended, inspected or dropped, and at its deadline at the latest. It is not
decided earlier, although NOT_OK may be certain after the first view: the verdict carries the defects of all views for the
record, and it then does not depend on the order in which the views came. A dropped view does not wait for the deadline.

The deadline counts from the broker's time of the arrival record. Time goes first: whatever comes at or after a part's
deadline finds it decided. A part that is first seen after its deadline (the judge was away) is NOT_DECIDABLE for the record.
There is no command at or after `valid_until_ns` (see `verdict_consequences`), nor for a part that has left the station.

The first message of an id is the truth. Later ones, a second frame of a view, and inspections after the verdict are noticed
and finished; they never change a verdict. Nor does the inspection of a frame that was deferred: its deferral took its place as a
dropped view, and it comes for the record alone. Rules of the verdict itself: `verdict_rules`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Generic

from processors.believed_time import believed_ns, is_skewed
from processors.challenges import audited, marked
from processors.decided_parts import DEFAULT_LIMIT, DecidedParts
from processors.early_inspections import Early, EarlyInspections
from processors.judgements import Decision, Done, Judgement, Notice, Refusal
from processors.part_state import OpenPart, PartVisit, Source
from processors.verdict_consequences import command, defect_events
from processors.verdict_rules import decide
from schemas.errors import Refused
from schemas.inspections import Inspection
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.plc_events import PartArrived, PartLeft, PlcEvent
from schemas.reasons import RefusalReason
from schemas.topics import MIB_BYTES
from schemas.verdicts import Verdict


@dataclass(frozen=True, kw_only=True)
class JudgeLimits:
    """What one partition may hold.

    An inspection waits `early_grace_ms` for its part: longer than a PLC gateway takes to come back and report what arrived
    meanwhile. `open_bytes` bounds parts that wait for views; over it the oldest is decided as it stands.
    `recalled_verdicts` is how many verdicts read back from the topic can have their consequences sent again; more than are
    ever sent at once.
    """

    early_bytes: int = 16 * MIB_BYTES
    early_grace_ms: int = 60_000
    open_bytes: int = 24 * MIB_BYTES
    decided_parts: int = DEFAULT_LIMIT
    recalled_verdicts: int = 1_000


class Judge(Generic[Source]):
    """The judge of one partition. Call `recall` for what is on `verdicts` first, then `take` and `tick`.

    `now_ns` is ns UTC; every call returns what is to be done, in order.
    """

    def __init__(self, *, plant: Plant, limits: JudgeLimits | None = None) -> None:
        limits = limits or JudgeLimits()
        self._plant = plant
        self._limits = limits
        self._open: OrderedDict[PartVisit, OpenPart[Source]] = OrderedDict()  # oldest arrival first
        self._open_bytes = 0
        self._due: list[tuple[int, PartVisit]] = []
        self._decided = DecidedParts(limit=limits.decided_parts)
        self._recalled: OrderedDict[PartVisit, Verdict] = OrderedDict()
        self._early: EarlyInspections[Source] = EarlyInspections(
            limit_bytes=limits.early_bytes, grace_ns=limits.early_grace_ms * NS_PER_MS
        )

    @property
    def open_parts(self) -> int:
        """Parts that have arrived and have no verdict yet."""
        return len(self._open)

    @property
    def early_inspections(self) -> int:
        """Inspections that wait for their part."""
        return len(self._early)

    def recall(self, verdict: Verdict) -> None:
        """A verdict that went out before this judge began. The line's own is remembered; reviews change nothing here."""
        if verdict.revision != 1:
            return
        visit = PartVisit(verdict.station, verdict.part_id, verdict.visit)
        if visit in self._decided:
            return
        self._remember(visit, verdict)
        self._recalled[visit] = verdict
        if len(self._recalled) > self._limits.recalled_verdicts:
            self._recalled.popitem(last=False)

    def take(
        self, message: PlcEvent | Inspection, *, source: Source, size_bytes: int, at_ns: int, now_ns: int
    ) -> list[Judgement[Source]]:
        """A message whose record has the broker's time `at_ns` and takes `size_bytes` while it is kept."""
        judgements = self.tick(now_ns)
        if isinstance(message, PartArrived):
            return judgements + self._arrived(message, source, size_bytes, at_ns, now_ns)
        if isinstance(message, Inspection):
            return judgements + self._inspected(message, source, size_bytes, now_ns)
        if isinstance(message, PartLeft):
            self._left(message)
        return [*judgements, Done(source=source)]

    def tick(self, now_ns: int) -> list[Judgement[Source]]:
        """Time has passed: deadlines, and inspections whose part never came."""
        judgements: list[Judgement[Source]] = []
        while self._due and self._due[0][0] <= now_ns:
            _, visit = heappop(self._due)
            if visit in self._open:
                judgements.append(self._decide(visit, now_ns))
        judgements += [self._unknown_part(early) for early in self._early.expired(now_ns)]
        return judgements

    # --- arrivals ---------------------------------------------------------------------------------------------------

    def _arrived(
        self, arrival: PartArrived, source: Source, size_bytes: int, at_ns: int, now_ns: int
    ) -> list[Judgement[Source]]:
        visit = PartVisit(arrival.station, arrival.part_id, arrival.visit)
        if self._plant.station(arrival.station) is None:
            return [self._unknown_station(arrival.station, source)]
        if visit in self._open:
            return [_repeated(self._open[visit].arrival, arrival), Done(source=source)]
        if self._decided.covers(visit, arrived_at_ns=at_ns):
            return self._arrived_again(visit, arrival, source, at_ns, now_ns)
        judgements: list[Judgement[Source]] = []
        if is_skewed(arrival.occurred_at_ns, at_ns):
            behind_s = (at_ns - arrival.occurred_at_ns) / 1e9
            judgements.append(
                Notice(
                    what="clock_skew",
                    subject=str(visit),
                    detail=f"the PLC's clock is {behind_s:.1f} s behind the broker's",
                )
            )
        recipe = self._plant.recipe(arrival.recipe)
        deadline_ms = recipe.deadline_ms if recipe else None
        due_at_ns = at_ns + deadline_ms * NS_PER_MS if deadline_ms is not None else None
        part = OpenPart(
            arrival=arrival,
            arrived_at_ns=at_ns,
            due_at_ns=due_at_ns,
            recipe=recipe,
            sources=[source],
            size_bytes=size_bytes,
        )
        self._open[visit] = part
        self._open_bytes += size_bytes
        for early in self._early.claim(visit):
            judgements += self._add_view(part, early.inspection, early.source, early.size_bytes)
        if recipe is None:
            part.sources.remove(source)
            refused = Refused(
                RefusalReason.UNKNOWN_RECIPE, f"{arrival.recipe!r} is not a recipe of plant {self._plant.plant}"
            )
            return [*judgements, self._decide(visit, now_ns), Refusal(source=source, refused=refused)]
        if due_at_ns is not None and now_ns >= due_at_ns:
            return [*judgements, self._decide(visit, now_ns, seen_in_time=False)]
        if due_at_ns is not None:
            heappush(self._due, (due_at_ns, visit))
        return judgements + self._decide_if_complete(part, now_ns) + self._make_room(now_ns)

    def _arrived_again(
        self, visit: PartVisit, arrival: PartArrived, source: Source, at_ns: int, now_ns: int
    ) -> list[Judgement[Source]]:
        """The part has its verdict. One that went out before a restart may have been cut off from what follows from it."""
        verdict = self._recalled.pop(visit, None)
        if verdict is None:
            return [Notice(what="duplicate", subject=arrival.id), Done(source=source)]
        if self._plant.recipe(arrival.recipe) is None:
            again = self._consequences(verdict, arrival, (), at_ns, now_ns, is_on_topic=True)
            return [again, self._unknown_recipe(arrival, source)]
        return [self._consequences(verdict, arrival, (source,), at_ns, now_ns, is_on_topic=True)]

    def _left(self, event: PartLeft) -> None:
        part = self._open.get(PartVisit(event.station, event.part_id, event.visit))
        if part is not None:
            part.has_left = True

    # --- inspections ------------------------------------------------------------------------------------------------

    def _inspected(
        self, inspection: Inspection, source: Source, size_bytes: int, now_ns: int
    ) -> list[Judgement[Source]]:
        visit = PartVisit(inspection.station, inspection.part_id, inspection.visit)
        if self._plant.station(inspection.station) is None:
            return [self._unknown_station(inspection.station, source)]
        if inspection.was_deferred:  # also where its part is no longer remembered: nothing waits for it
            return [Notice(what="late", subject=inspection.id), Done(source=source)]
        part = self._open.get(visit)
        if part is not None:
            judgements = self._add_view(part, inspection, source, size_bytes)
            return judgements + self._decide_if_complete(part, now_ns) + self._make_room(now_ns)
        if visit in self._decided:
            what = "duplicate" if self._decided.used(visit, inspection.id) else "late"
            return [Notice(what=what, subject=inspection.id), Done(source=source)]
        early = Early(inspection=inspection, source=source, size_bytes=size_bytes, since_ns=now_ns)
        crowded_out = self._early.hold(early)
        overflow = [
            Notice(what="overflow", subject=str(item.visit), detail="too many early inspections")
            for item in crowded_out
        ]
        return [*overflow, *(self._unknown_part(item) for item in crowded_out)]

    def _add_view(
        self, part: OpenPart[Source], inspection: Inspection, source: Source, size_bytes: int
    ) -> list[Judgement[Source]]:
        known = part.views.get(inspection.view)
        if known is None:
            part.views[inspection.view] = inspection
            part.sources.append(source)
            part.size_bytes += size_bytes
            self._open_bytes += size_bytes
            return []
        what = "duplicate" if known.id == inspection.id else "second_frame"
        return [Notice(what=what, subject=inspection.id), Done(source=source)]

    # --- verdicts ---------------------------------------------------------------------------------------------------

    def _decide_if_complete(self, part: OpenPart[Source], now_ns: int) -> list[Judgement[Source]]:
        return [] if part.missing_views else [self._decide(part.visit, now_ns)]

    def _make_room(self, now_ns: int) -> list[Judgement[Source]]:
        judgements: list[Judgement[Source]] = []
        while self._open_bytes > self._limits.open_bytes:
            oldest = next(iter(self._open))
            judgements.append(
                Notice(what="overflow", subject=str(oldest), detail="too many open parts: decided as it stands")
            )
            judgements.append(self._decide(oldest, now_ns))
        return judgements

    def _decide(self, visit: PartVisit, now_ns: int, *, seen_in_time: bool = True) -> Decision[Source]:
        part = self._open.pop(visit)
        self._open_bytes -= part.size_bytes
        line = self._plant.line_of(visit.station)
        assert line is not None, "a station without a line was refused on arrival"
        station = self._plant.station(visit.station)
        assert station is not None, "a part of an unknown station was refused on arrival"
        verdict = marked(decide(part, line=line, now_ns=now_ns, seen_in_time=seen_in_time), station.challenges)
        self._remember(visit, verdict)
        return self._consequences(
            verdict, part.arrival, tuple(part.sources), part.arrived_at_ns, now_ns, has_left=part.has_left
        )

    def _remember(self, visit: PartVisit, verdict: Verdict) -> None:
        used = [view.inspection for view in verdict.views if view.inspection is not None]
        self._decided.add(visit, arrived_at_ns=verdict.arrived_at_ns, inspections=used)

    def _consequences(
        self,
        verdict: Verdict,
        arrival: PartArrived,
        sources: tuple[Source, ...],
        at_ns: int,
        now_ns: int,
        *,
        is_on_topic: bool = False,
        has_left: bool = False,
    ) -> Decision[Source]:
        station = self._plant.station(verdict.station)
        assert station is not None, "a part of an unknown station was refused on arrival"
        return Decision(
            verdict=verdict,
            defects=defect_events(verdict),
            command=None if has_left else command(verdict, station, now_ns=now_ns),
            audit=audited(verdict, station),
            sources=sources,
            triggered_at_ns=believed_ns(arrival.occurred_at_ns, at_ns),
            is_on_topic=is_on_topic,
        )

    # --- refusals ---------------------------------------------------------------------------------------------------

    def _unknown_station(self, station: str, source: Source) -> Refusal[Source]:
        detail = f"{station!r} is not a station of plant {self._plant.plant}"
        return Refusal(source=source, refused=Refused(RefusalReason.UNKNOWN_STATION, detail))

    def _unknown_recipe(self, arrival: PartArrived, source: Source) -> Refusal[Source]:
        detail = f"{arrival.recipe!r} is not a recipe of plant {self._plant.plant}"
        return Refusal(source=source, refused=Refused(RefusalReason.UNKNOWN_RECIPE, detail))

    def _unknown_part(self, early: Early[Source]) -> Refusal[Source]:
        detail = f"no arrival of {early.visit} came, to which inspection {early.inspection.id} belongs"
        return Refusal(source=early.source, refused=Refused(RefusalReason.UNKNOWN_PART, detail))


def _repeated(first: PartArrived, again: PartArrived) -> Notice:
    if first == again:
        return Notice(what="duplicate", subject=again.id)
    return Notice(
        what="contradiction", subject=again.id, detail="a repeated arrival says something else; the first one holds"
    )
