"""Verdicts of a batch that add to the same windows, gathered by what each adds: the windows are changed once for all of them.

Most verdicts of a line follow each other within the same windows and are the first of their part. Those are gathered, and those that
are there already are noted; any other ends the gathering and is counted by itself, after what was gathered before it. The sums,
revisions and watermark are those of counting one after the other (`tests/unit/test_gathered_verdicts.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from processors.statistics_counts import AnyVerdict, Share
from schemas.message import NS_PER_MS

Kind = tuple[object, ...]
PartKey = tuple[str, str, int]
Counted = tuple[AnyVerdict, int, int]
"""A verdict, its offset and its record's time, ms since the epoch."""


def is_review(verdict: AnyVerdict) -> bool:
    """Whether the verdict says something else of a part that was judged before: nothing happened on the line then."""
    return verdict.revision > 1


# held by the hundred thousand, and without cycles: the collector need not look for some in them
class Part(msgspec.Struct, frozen=True, gc=False):
    """A part on one visit as it was counted."""

    revision: int
    arrived_at_ns: int
    shares: tuple[Share, ...]


def was_measured(shares: tuple[Share, ...]) -> bool:
    """Whether a part has a value for a chart of measurements."""
    return any(share.values for share in shares)


@dataclass(slots=True)
class Alike:
    """Verdicts of a station that add the same `shares`: one of them, how many, and the offset of the last one."""

    verdict: AnyVerdict
    shares: tuple[Share, ...]
    parts: int = 0
    last_offset: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathering:
    """Gathers parts that arrived within `[from_ns, until_ns)`, the span of one set of windows, which the watermark has not left.

    A record must be no older than the one before it and no `idle_ms` younger, and its event no more than `grace_ns` ahead of it: then
    the watermark follows the newest event, whatever the order. With `measures` a part that was measured ends the gathering: its place in
    the window counts, not only that there is one more.
    """

    from_ns: int
    until_ns: int
    grace_ns: int
    idle_ms: int
    measures: bool = False
    alike: dict[Kind, Alike] = field(default_factory=dict)

    def gather(
        self,
        records: Iterator[Counted],
        *,
        last_record_at_ms: int,
        known: dict[PartKey, Part],
        shares: Callable[[AnyVerdict], tuple[Share, ...]],
        duplicates: list[AnyVerdict],
    ) -> tuple[Counted | None, int, int]:
        """Takes records as long as they fit, and notes their parts in `known`, or those that are there already in `duplicates`. Returns
        the first one that does not fit (None: there are no more), the newest event (ns, 0 for none) and the time of the last record
        that was taken (ms)."""
        from_ns, until_ns, alike = self.from_ns, self.until_ns, self.alike
        grace_ns, idle_ms, measures = self.grace_ns, self.idle_ms, self.measures
        newest_ns, last_ms = 0, last_record_at_ms
        for record in records:
            verdict, offset, at_ms = record
            event_ns = verdict.arrived_at_ns
            if (
                not from_ns <= event_ns < until_ns
                or not last_ms <= at_ms < last_ms + idle_ms
                or event_ns > at_ms * NS_PER_MS + grace_ns
                or verdict.challenge
                or verdict.revision > 1
            ):
                return record, newest_ns, last_ms
            station, visit = verdict.station, verdict.visit
            key = (station, verdict.part_id, visit)
            earlier = known.get(key)
            if earlier is None:
                kind: Kind
                if verdict.views:
                    found = shares(verdict)
                    if measures and was_measured(found):
                        return record, newest_ns, last_ms
                    kind = (station, verdict.line, found)
                elif verdict.labels:
                    kind = (
                        station,
                        verdict.line,
                        verdict.verdict,
                        visit == 1,
                        verdict.recipe,
                        verdict.batch,
                        *verdict.labels.items(),
                    )
                else:
                    kind = (station, verdict.line, verdict.verdict, visit == 1, verdict.recipe, verdict.batch)
                same = alike.get(kind)
                if same is None:
                    same = alike[kind] = Alike(verdict, shares(verdict))
                same.parts += 1
                same.last_offset = offset
                known[key] = Part(verdict.revision, event_ns, same.shares)
            elif verdict.revision <= earlier.revision:
                duplicates.append(verdict)
            else:
                return record, newest_ns, last_ms
            newest_ns = max(newest_ns, event_ns)
            last_ms = at_ms
        return None, newest_ns, last_ms
