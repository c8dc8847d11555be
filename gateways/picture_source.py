"""What every camera is to the gateway, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

Tell = Callable[[str, str], None]
"""Takes what was noticed (a bounded word, e.g. `camera_stalled`) and its detail for a person."""


class Picture(NamedTuple):
    """An encoded picture and when it was taken, by the camera's clock where it has one, else the gateway's (ns UTC)."""

    image: bytes
    captured_at_ns: int


class CaptureFailed(Exception):
    """The camera gave no usable picture for this trigger; the message says why."""


class CameraSource(Protocol):
    """A camera. `keeps_triggers` says whether it can still give the picture of an earlier trigger."""

    @property
    def keeps_triggers(self) -> bool:
        """False for a camera that exposes when it is asked: a late question would show another part."""

    async def run(self) -> None:
        """Keeps the camera connected until cancelled; returns at once where there is nothing to keep."""

    async def capture(self, *, view: str, trigger_count: int) -> Picture:
        """The picture of `view` that was taken at `trigger_count`. Raises `CaptureFailed` within its timeout."""
