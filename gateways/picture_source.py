"""What every camera is to the gateway, whatever it is made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

Tell = Callable[[str, str], None]
"""Takes what was noticed (a bounded word, e.g. `camera_stalled`) and its detail for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A trigger of the PLC, as the gateway saw it (`gateways.trigger_times`). Times in s are monotonic.

    `seen_s`: when it was read from the PLC; of several that were read at once, as much before the newest as the PLC says. `at_s`: when
    it would have been seen without delay. `fresh`: the newest one over a connection that stood, and how late it was seen is
    known. `not_before_ns` (ns UTC): the PLC was read then, and it had not happened yet; 0 where nobody knows.
    """

    count: int
    seen_s: float
    at_s: float
    fresh: bool = True
    not_before_ns: int = 0


FORMER_S = 5.0
"""How much older than a trigger its picture may look: for clocks that differ, and a PLC that tells a part some time after its exposure."""


class Picture(NamedTuple):
    """An encoded picture and when it was taken, by the camera's clock where it has one, else the gateway's (ns UTC)."""

    image: bytes
    captured_at_ns: int


class CaptureFailed(Exception):
    """The camera gave no usable picture for this trigger; the message says why."""


class TooLate(CaptureFailed):
    """A picture that was not taken, because it would not show the part any more. Not the camera's fault."""


class CameraSource(Protocol):
    """A camera. `keeps_triggers` says whether it can still give the picture of an earlier trigger."""

    @property
    def keeps_triggers(self) -> bool:
        """False for a camera that exposes when it is asked: a late question would show another part."""

    async def run(self) -> None:
        """Keeps the camera connected until cancelled; returns at once where there is nothing to keep."""

    def triggered(self, trigger: Trigger, *, wanted: bool) -> None:
        """Takes note of a trigger: each one in its order, before any question about it. `wanted`: a picture will be asked for.

        A camera that is wired to the trigger exposes for a part that nobody wants to see, too.
        """

    async def capture(self, *, view: str, trigger: Trigger) -> Picture:
        """The picture of `view` that was taken at `trigger`. Raises `CaptureFailed` within its timeout."""


def refuse_late(at_s: float, *, within_ms: int, setting: str) -> None:
    """Raises `TooLate` where an exposure that begins now is more than `within_ms` after the trigger at `at_s` (monotonic)."""
    late_ms = 1000 * (time.monotonic() - at_s)
    if late_ms > within_ms:
        raise TooLate(
            f"{late_ms:.0f} ms after the trigger, by the PLC's Arrivals.TimesNs, and `{setting}` is {within_ms}: "
            "it would show what is there now"
        )


def is_former(taken_ns: int, trigger: Trigger) -> bool:
    """Whether a picture taken at `taken_ns` (ns UTC) was there before `trigger`: that of another PLC session, which had the same count."""
    return taken_ns < trigger.not_before_ns - int(FORMER_S * 1e9)
