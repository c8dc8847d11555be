"""Which frame of a hardware-triggered camera shows which part: two counters, and the offset between them.

The PLC counts its triggers, the camera counts its frames (GenICam frame id). Once the offset is known, `frame id - offset` has to
be the trigger count. Time never binds, it only refuses: a frame that was not exposed within `window_s` of the moment at which its
trigger was seen is no picture of that part.

```
 NOT SYNCHRONISED --- two lone pairs with the same offset ---> SYNCHRONISED
        ^                                                           |
        +---- a frame's counter and its time do not agree ----------+
```

A lone pair is a trigger and a frame within `window_s` of each other, with no other of either within it. What cannot be told is
refused: a part then has no picture, and never another part's. Every trigger has to be told, with or without a part that is looked at:
the camera exposes in any case. One that was noticed too late to say when it was keeps its place in the count, and has no picture.

What has to be true for that: `window_s` is longer than what lies between an exposure and the sight of its trigger. If the camera
may skip a trigger or expose twice, it must also be shorter than half the time between two parts.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, NamedTuple, TypeVar

Shown = TypeVar("Shown")

REMEMBERED = 64
HELD_FRAMES = 8
"""Frames whose pixels are kept: bounds the memory."""
WRAP = 65535
"""GigE Vision 1.x: block ids are 16 bits wide and never 0, so 1 follows 65535."""


class Bound(NamedTuple, Generic[Shown]):
    """A part and its frame."""

    part: int
    shown: Shown


class Unbound(NamedTuple):
    """A part that gets no frame, and why."""

    part: int
    why: str


class _Trigger(NamedTuple):
    part: int
    trigger_count: int
    seen_s: float | None


class _Frame(NamedTuple, Generic[Shown]):
    number: int
    shown: Shown | None
    exposed_s: float


class TriggerBinding(Generic[Shown]):
    """The binding of one camera at one station. All times are monotonic seconds."""

    def __init__(self, *, window_s: float) -> None:
        self._window_s = window_s
        self._waiting: list[_Trigger] = []
        self._held: list[_Frame[Shown]] = []
        self._triggers: deque[_Trigger] = deque(maxlen=REMEMBERED)
        self._exposures: deque[tuple[int, float]] = deque(maxlen=REMEMBERED)
        self._offset: int | None = None
        self._candidate: int | None = None
        self._last_id = 0
        self._wraps = 0
        self.lost_because = "the counters of PLC and camera are not synchronised yet"

    @property
    def synchronised(self) -> bool:
        """Whether the offset between the counters is known."""
        return self._offset is not None

    def trigger(self, part: int, *, trigger_count: int, seen_s: float | None) -> None:
        """The PLC's trigger `trigger_count` was seen, None: at a time not known; `part` is a number that comes back with the outcome."""
        if self._triggers and trigger_count <= self._triggers[-1].trigger_count:
            self._lose(f"the PLC's trigger count went from {self._triggers[-1].trigger_count} to {trigger_count}")
            self._triggers.clear()
        trigger = _Trigger(part, trigger_count, seen_s)
        self._triggers.append(trigger)
        self._waiting.append(trigger)

    def frame(self, frame_id: int, shown: Shown | None, *, exposed_s: float) -> None:
        """A frame came; `shown` is None where its pixels are damaged."""
        number = self._unwrapped(frame_id)
        if (number, exposed_s) in self._exposures:
            return
        self._exposures.append((number, exposed_s))
        self._held.append(_Frame(number, shown, exposed_s))
        del self._held[:-HELD_FRAMES]

    def _unwrapped(self, frame_id: int) -> int:
        if self._wraps and frame_id > self._last_id + WRAP // 2:
            return frame_id + (self._wraps - 1) * WRAP  # late: from before the counter began again
        if frame_id < self._last_id - WRAP // 2 and self._last_id <= WRAP:
            self._wraps += 1
        self._last_id = frame_id
        return frame_id + self._wraps * WRAP

    def restart(self, why: str) -> None:
        """The camera was connected anew: its frame ids say nothing about those before."""
        self._lose(why)
        self._held.clear()
        self._exposures.clear()
        self._last_id = self._wraps = 0

    def outcomes(self, *, now_s: float) -> list[Bound[Shown] | Unbound]:
        """What is settled by `now_s`, each part once; a part is settled `2 * window_s` after its trigger was seen at the latest."""
        settled: list[Bound[Shown] | Unbound] = []
        while self._waiting:
            if self._offset is not None:
                self._check(self._offset)
            outcome = self._outcome(self._waiting[0], now_s)
            if outcome is None:
                break
            del self._waiting[0]
            settled.append(outcome)
        return settled

    # --- synchronised ------------------------------------------------------------------------------------------------

    def _check(self, offset: int) -> None:
        """Loses the offset where a frame's counter names a part that it cannot show."""
        newest = self._triggers[-1].trigger_count if self._triggers else 0
        for frame in list(self._held):
            counts_as = frame.number - offset
            trigger = next((known for known in self._triggers if known.trigger_count == counts_as), None)
            if trigger is not None and trigger.seen_s is None:
                self._held.remove(frame)
                continue
            if trigger is not None and self._near(trigger.seen_s, frame.exposed_s):
                if trigger not in self._waiting:
                    self._held.remove(frame)  # it came too late for its part
                continue
            if counts_as <= newest:
                self._lose(
                    f"frame id {frame.number} counts as trigger {counts_as}, and was not exposed at that trigger"
                )
                return

    def _outcome(self, trigger: _Trigger, now_s: float) -> Bound[Shown] | Unbound | None:
        if trigger.seen_s is None:
            return Unbound(trigger.part, f"trigger {trigger.trigger_count} was noticed too late to say when it was")
        if self._offset is None:
            return self._synchronise(trigger) if now_s > trigger.seen_s + 2 * self._window_s else None
        for frame in self._held:
            if frame.number - self._offset == trigger.trigger_count:
                self._held.remove(frame)
                return self._told(trigger, frame)
        if now_s <= trigger.seen_s + 2 * self._window_s:
            return None
        self._look_for_strangers(trigger, self._offset)
        return Unbound(
            trigger.part, f"no frame with the counter of trigger {trigger.trigger_count}: lost, or not exposed"
        )

    def _look_for_strangers(self, trigger: _Trigger, offset: int) -> None:
        """Loses the offset where a frame was exposed at a trigger that has none, and counts as one that was never seen."""
        newest = self._triggers[-1].trigger_count
        for number, exposed_s in self._exposures:
            if self._near(trigger.seen_s, exposed_s) and number - offset > newest:
                self._lose(
                    f"frame id {number} was exposed at trigger {trigger.trigger_count}, and counts as {number - offset}"
                )
                return

    def _told(self, trigger: _Trigger, frame: _Frame[Shown]) -> Bound[Shown] | Unbound:
        if frame.shown is None:
            return Unbound(trigger.part, f"frame id {frame.number} of trigger {trigger.trigger_count} arrived damaged")
        return Bound(trigger.part, frame.shown)

    # --- not synchronised --------------------------------------------------------------------------------------------

    def _lose(self, why: str) -> None:
        self.lost_because = why
        self._offset = self._candidate = None

    def _synchronise(self, trigger: _Trigger) -> Bound[Shown] | Unbound:
        """The outcome of a trigger whose neighbourhood in time is complete; takes the offset from the second pair that agrees."""
        near = [(number, at_s) for number, at_s in self._exposures if self._near(trigger.seen_s, at_s)]
        if not near:
            return Unbound(trigger.part, f"no frame at trigger {trigger.trigger_count}; {self.lost_because}")
        number, exposed_s = near[0]
        if len(near) > 1 or sum(self._near(other.seen_s, exposed_s) for other in self._triggers) > 1:
            return Unbound(trigger.part, f"frames or triggers too close together to tell; {self.lost_because}")
        offset = number - trigger.trigger_count
        if offset != self._candidate:
            self._candidate = offset
            return Unbound(trigger.part, f"synchronising, a second frame has to confirm it; {self.lost_because}")
        self._offset = offset
        # not by its number alone: a counter that began again has had it before
        frame = next((held for held in self._held if (held.number, held.exposed_s) == near[0]), None)
        if frame is None:
            return Unbound(trigger.part, f"frame id {number} was not kept")
        self._held = [held for held in self._held if held.exposed_s > exposed_s]
        return self._told(trigger, frame)

    def _near(self, seen_s: float | None, exposed_s: float) -> bool:
        return seen_s is not None and abs(seen_s - exposed_s) <= self._window_s
