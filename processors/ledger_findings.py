"""What a ledger says: differences, what is still open, counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

LISTED = 1_000


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Something that does not add up. `subject` is the id of what it is about."""

    kind: str
    subject: str
    expected: str
    found: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A difference, if it is still one when everything about it had time to come; `since_ms` is the time of the last record about it."""

    difference: Difference
    since_ms: int


class LedgerReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result. `differences` and `open` (what is under way) list at most 1,000 each; `difference_count` is the whole number.

    `counts` are of distinct things, `dropped` counts frames by reason, `duplicates` repeated records by topic.
    """

    balanced: bool
    differences: tuple[Difference, ...]
    difference_count: int
    open: tuple[Difference, ...]
    open_count: int
    counts: dict[str, int]
    dropped: dict[str, int]
    duplicates: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return plain


class FindingList:
    """Findings told apart into differences and what is open: younger than `settled_before_ms`."""

    def __init__(self, *, settled_before_ms: int) -> None:
        self._settled_before_ms = settled_before_ms
        self.differences: list[Difference] = []
        self.difference_count = 0
        self.open: list[Difference] = []
        self.open_count = 0

    def add(self, findings: Iterable[Finding]) -> None:
        """Sorts them in; keeps the first 1,000 of either kind."""
        for finding in findings:
            if finding.since_ms > self._settled_before_ms:
                self.open_count += 1
                if len(self.open) < LISTED:
                    self.open.append(finding.difference)
            else:
                self.difference_count += 1
                if len(self.differences) < LISTED:
                    self.differences.append(finding.difference)
