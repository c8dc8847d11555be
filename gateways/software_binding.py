"""Which frame of a camera that the gateway fires itself shows which part: one frame per TriggerSoftware, by its number.

Frame numbers count up from the start of an acquisition, one for each exposure, so the frame of the next firing has the next number. A
frame with another number, or one that was exposed before the firing that it would be taken for, is nobody's: late, lost on the way and
sent again, or exposed twice. What cannot be told is refused, and the acquisition begun anew (`in_step` false): the part of that firing
has no picture, and no part ever another's.

What has to be true for that: an exposure happens before the next firing. The time stamp only refuses, it never binds; it tells a second
exposure of one firing, which has the number of the next.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from gateways.trigger_binding import WRAP

Shown = TypeVar("Shown")

TOLERANCE_S = 0.005
"""The time of an exposure is an estimate (`stream_clock.py`): clocks that drift apart by 80 ppm make it so much too early in a minute."""


class Fits(NamedTuple, Generic[Shown]):
    """The frame of the firing."""

    shown: Shown


class Stray(NamedTuple):
    """A frame that is no picture of the part that waits, and why. `ends_it`: nor will there be one."""

    why: str
    ends_it: bool


class SoftwareBinding(Generic[Shown]):
    """One acquisition after the other. All times are monotonic seconds."""

    def __init__(self) -> None:
        self._last_number: int | None = None
        self._fired_s: float | None = None
        self._out_of_step = ""

    @property
    def in_step(self) -> bool:
        """Whether the next frame's number is known, or any will do because the acquisition has just begun."""
        return not self._out_of_step

    @property
    def out_of_step_because(self) -> str:
        """Why the acquisition has to begin anew; empty while it need not."""
        return self._out_of_step

    def begun(self) -> None:
        """An acquisition begins, and nothing of the one before is on its way any more: numbers may begin anew."""
        self._last_number = self._fired_s = None
        self._out_of_step = ""

    def fired(self, *, at_s: float) -> None:
        """TriggerSoftware is executed. One at a time."""
        self._fired_s = at_s

    def gave_up(self, why: str) -> None:
        """The frame of the firing did not come: whether it was exposed is not known, nor is the next number."""
        self._fired_s = None
        self._out_of_step = why

    def frame(self, frame_id: int, shown: Shown, *, exposed_s: float) -> Fits[Shown] | Stray:
        """A frame came."""
        expected = None if self._last_number is None else _next(self._last_number)
        told = f"frame id {frame_id}" + ("" if expected is None else f", expected {expected}")
        if self._fired_s is None or exposed_s < self._fired_s - TOLERANCE_S:
            # its number is one that the next firing's frame cannot have
            if expected is None or frame_id == expected:
                self._out_of_step = f"{told}: it was exposed without a trigger of ours"
                return Stray(self._out_of_step, ends_it=self._fired_s is not None)
            return Stray(f"{told}: it was exposed before the trigger", ends_it=False)
        if expected is not None and frame_id != expected:
            self._out_of_step = f"{told}: the camera exposed more or less often than it was triggered"
            self._fired_s = None
            return Stray(self._out_of_step, ends_it=True)
        self._last_number, self._fired_s = frame_id, None
        return Fits(shown)


def _next(number: int) -> int:
    """Block ids of GigE Vision 1.x are 16 bits wide and never 0. A camera that counts on after 65535 is out of step once."""
    return 1 if number == WRAP else number + 1
