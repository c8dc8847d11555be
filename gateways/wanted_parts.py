"""Brings together what becomes of a trigger and the question for its picture, whichever comes first."""

from __future__ import annotations

import itertools
from typing import Generic, NamedTuple, TypeVar

Outcome = TypeVar("Outcome")

KEPT = 4
"""Outcomes that may wait for their question, which follows its trigger at once: bounds the memory where none comes."""


class _Key(NamedTuple):
    """Count and time: a PLC that counts anew has the same counts again."""

    trigger_count: int
    seen_s: float


class WantedParts(Generic[Outcome]):
    """The parts of one camera, by numbers of their own; whoever settles each in bounded time bounds how many there are.

    What becomes of a part that nobody wants is forgotten.
    """

    def __init__(self) -> None:
        self._parts = itertools.count()
        self._keys: dict[int, _Key] = {}
        self._questions: dict[_Key, int | None] = {}
        self._outcomes: dict[_Key, Outcome] = {}

    def triggered(self, *, trigger_count: int, seen_s: float, wanted: bool) -> int:
        """A trigger; the number of its part."""
        part = next(self._parts)
        if wanted:
            key = self._keys[part] = _Key(trigger_count, seen_s)
            self._questions[key] = None
        return part

    def asked(self, number: int, *, trigger_count: int, seen_s: float) -> Outcome | None:
        """Question `number`; what became of its trigger, where that is known. Raises LookupError where no such trigger was told."""
        key = _Key(trigger_count, seen_s)
        if key in self._outcomes:
            return self._outcomes.pop(key)
        if key not in self._questions:
            raise LookupError(f"trigger {trigger_count} was not told, or asked about too late")
        self._questions[key] = number
        return None

    def settled(self, part: int, outcome: Outcome) -> int | None:
        """What became of `part`; the question that it answers, where it was asked."""
        key = self._keys.pop(part, None)
        if key is None:
            return None
        number = self._questions.pop(key)
        if number is None:
            self._outcomes[key] = outcome
            while len(self._outcomes) > KEPT:
                del self._outcomes[next(iter(self._outcomes))]
        return number
