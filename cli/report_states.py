"""The states of a line's stations over a period, with the one that each was in when it began."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from processors.period_report import Period
from processors.quality.oee import StateChange
from schemas.plc_events import LineStateChanged, PlcEvent

DAY_MS = 24 * 3_600_000
BACK_MS = (DAY_MS, 7 * DAY_MS, 31 * DAY_MS)
"""How far back the state is looked for in which a station began the period: a PLC tells changes only. Further back for as long as one is
missing; of a line that has been in one state for longer the begin of the period is not known, and in no ratio."""

Read = Callable[[int], Iterable[PlcEvent]]
"""The events of PLCs from so many ms before the period on."""


def states_of(read: Read, *, stations: Iterable[str], period: Period) -> Mapping[str, list[StateChange]]:
    """Of each station its changes before the end of the period. `stations` are those that have a PLC, and so a state."""
    wanted = frozenset(stations)
    found: dict[str, list[StateChange]] = {}
    for back_ms in BACK_MS:
        found = {}
        for event in read(back_ms):
            if isinstance(event, LineStateChanged) and event.occurred_at_ns < period.to_ns:
                found.setdefault(event.station, []).append(StateChange(event.occurred_at_ns, event.mode))
        begun = {name for name, changes in found.items() if any(at.at_ns <= period.from_ns for at in changes)}
        if wanted <= begun:
            break
    return found
