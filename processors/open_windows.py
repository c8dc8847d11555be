"""Windows that are not complete yet, by the moment at which they are: a watermark that moves looks at no window before its turn."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

NEVER_NS = 1 << 63


class OpenWindows(Generic[Key]):
    """Keys of windows, each under the moment (ns of event time) at which it is complete: its end and the grace."""

    def __init__(self) -> None:
        self._by_moment: dict[int, set[Key]] = {}
        self._next_ns = NEVER_NS

    def __iter__(self) -> Iterator[Key]:
        return (key for keys in self._by_moment.values() for key in keys)

    def add(self, key: Key, *, complete_at_ns: int) -> None:
        """Opens a window."""
        self._by_moment.setdefault(complete_at_ns, set()).add(key)
        self._next_ns = min(self._next_ns, complete_at_ns)

    def take_complete(self, watermark_ns: int) -> list[Key]:
        """The windows that are complete at a watermark; they are open no more."""
        if watermark_ns < self._next_ns:
            return []
        moments = [moment_ns for moment_ns in self._by_moment if moment_ns <= watermark_ns]
        complete = [key for moment_ns in moments for key in self._by_moment.pop(moment_ns)]
        self._next_ns = min(self._by_moment, default=NEVER_NS)
        return complete

    def keep_only(self, held: Container[Key]) -> None:
        """Forgets windows that are not held any more, as if they had never been opened."""
        kept = {moment_ns: {key for key in keys if key in held} for moment_ns, keys in self._by_moment.items()}
        self._by_moment = {moment_ns: keys for moment_ns, keys in kept.items() if keys}
        self._next_ns = min(self._by_moment, default=NEVER_NS)
