"""The book a gateway keeps of one camera's session: what became of each frame, told in manifests without gaps."""

from __future__ import annotations

import os
import time

from schemas.frames import DroppedRange, Manifest

MAX_RANGES = 10_000
"""Dropped ranges in one manifest; more go into the next, so that a manifest stays far below its topic's limit."""


def new_session() -> str:
    """A session id: starts of a gateway sort by it, and no two are equal."""
    return f"{time.time_ns():x}-{os.urandom(4).hex()}"


class ManifestBook:
    """Frames of one camera in one session. Sequences are given out from 0 without gaps; each gets exactly one fate."""

    def __init__(self, *, station: str, camera: str, session: str) -> None:
        self._station = station
        self._camera = camera
        self.session = session
        self._next_sequence = 0
        self._first_untold = 0
        self._fates: dict[int, str | None] = {}

    @property
    def open(self) -> int:
        """How many frames have no fate yet."""
        return self._next_sequence - self._first_untold - len(self._fates)

    def take_sequence(self) -> int:
        """The next sequence."""
        self._next_sequence += 1
        return self._next_sequence - 1

    def acknowledged(self, sequence: int) -> None:
        """The broker has this frame, or the spool, from where it is sent."""
        self._settle(sequence, None)

    def dropped(self, sequence: int, reason: str) -> None:
        """This frame never reaches the topic."""
        self._settle(sequence, reason)

    def next_manifest(self, *, now_ns: int, closing: bool = False) -> Manifest | None:
        """Tells the sequences whose fate is known, up to the first whose fate is not; None where there is nothing to tell.

        With `closing` it is made even when it has nothing new to say, unless the session never had a frame.
        """
        first, last = self._first_untold, self._first_untold - 1
        ranges: list[DroppedRange] = []
        while last + 1 in self._fates and len(ranges) < MAX_RANGES:
            last += 1
            reason = self._fates.pop(last)
            if reason is not None:
                _extend(ranges, last, reason)
        self._first_untold = last + 1
        if last < first and not (closing and self._next_sequence):
            return None
        return Manifest(
            id=f"{self._camera}/{self.session}/{first}",
            station=self._station,
            camera=self._camera,
            session=self.session,
            first_sequence=first,
            last_sequence=last,
            made_at_ns=now_ns,
            dropped=tuple(ranges),
            closing=closing,
        )

    def _settle(self, sequence: int, reason: str | None) -> None:
        if not self._first_untold <= sequence < self._next_sequence or sequence in self._fates:
            raise ValueError(f"{self._camera}: sequence {sequence} was never given out, or has its fate already")
        self._fates[sequence] = reason


def _extend(ranges: list[DroppedRange], sequence: int, reason: str) -> None:
    continues = bool(ranges) and ranges[-1].last_sequence == sequence - 1 and ranges[-1].reason == reason
    first = ranges.pop().first_sequence if continues else sequence
    ranges.append(DroppedRange(first_sequence=first, last_sequence=sequence, reason=reason))
