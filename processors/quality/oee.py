"""Overall equipment effectiveness from PLC states: availability x performance x quality (S. Nakajima 1988; ISO 22400-2).

Availability: time running / planned time. Performance: ideal cycle x parts / time running. Quality: good parts / parts. What the states
do not cover is not known, so it is no part of the planned time, and is told. Nor is a planned stop (a break, the time between shifts) in
which the line does not run; one in which it does is time running, as its parts are parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from schemas.plc_events import LineMode


class StateChange(NamedTuple):
    """The line went into `mode`; the state lasts until the next change."""

    at_ns: int
    mode: LineMode


class StateTimes(NamedTuple):
    """How long a line was in each state within a window, ns. `unknown_ns` is before its first known state; `planned_stop_ns` is the time
    of planned stops in which it was stopped or held, which is not in those two."""

    running_ns: int
    stopped_ns: int
    held_ns: int
    unknown_ns: int
    planned_stop_ns: int = 0

    @property
    def planned_ns(self) -> int:
        """The time in which the line was meant to run, as far as its state is known."""
        return self.running_ns + self.stopped_ns + self.held_ns


class Effectiveness(NamedTuple):
    """The ratios, each None where it cannot be said. Performance may exceed 1: then the ideal cycle is too long."""

    availability_ratio: float | None
    performance_ratio: float | None
    quality_ratio: float | None
    oee_ratio: float | None


def state_times(
    changes: Sequence[StateChange], *, from_ns: int, to_ns: int, planned_stops: Sequence[tuple[int, int]] = ()
) -> StateTimes:
    """Times within [from_ns, to_ns), from changes in any order; the newest change before the window says how it begins. `planned_stops`
    are spans within it, ns, none of which overlaps another."""
    ordered = sorted(changes)
    times, planned_stop_ns = dict.fromkeys(LineMode, 0), 0
    next_ns = [*(change.at_ns for change in ordered), to_ns][1:]
    for change, after_ns in zip(ordered, next_ns, strict=False):
        begins_ns, ends_ns = max(change.at_ns, from_ns), min(after_ns, to_ns)
        meant_to_stand_ns = 0
        if change.mode is not LineMode.RUNNING:
            meant_to_stand_ns = sum(max(0, min(ends_ns, end) - max(begins_ns, begin)) for begin, end in planned_stops)
        times[change.mode] += max(0, ends_ns - begins_ns) - meant_to_stand_ns
        planned_stop_ns += meant_to_stand_ns
    known_ns = sum(times.values()) + planned_stop_ns
    return StateTimes(
        running_ns=times[LineMode.RUNNING],
        stopped_ns=times[LineMode.STOPPED],
        held_ns=times[LineMode.HELD],
        unknown_ns=max(0, to_ns - from_ns) - known_ns,
        planned_stop_ns=planned_stop_ns,
    )


def known_from_ns(changes: Sequence[StateChange], *, from_ns: int, to_ns: int) -> int:
    """The moment of [from_ns, to_ns) from which on the state is known; `to_ns` where it never is."""
    first_ns = min((change.at_ns for change in changes), default=to_ns)
    return min(max(first_ns, from_ns), to_ns)


def effectiveness(times: StateTimes, *, ideal_cycle_ns: int, parts: int, good_parts: int) -> Effectiveness:
    """OEE of a window: `parts` and `good_parts` are those that arrived while the state was known, as the times are of that time only.

    Raises ValueError for what cannot be.
    """
    if not 0 <= good_parts <= parts or ideal_cycle_ns <= 0:
        raise ValueError("expected 0 <= good parts <= parts and an ideal cycle > 0")
    availability = times.running_ns / times.planned_ns if times.planned_ns > 0 else None
    performance = ideal_cycle_ns * parts / times.running_ns if times.running_ns else None
    quality = good_parts / parts if parts else None
    oee = None
    if availability is not None and performance is not None and quality is not None:
        oee = availability * performance * quality
    return Effectiveness(availability, performance, quality, oee)
