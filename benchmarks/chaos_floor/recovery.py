"""How soon the floor was normal again after each pull, by the PLC's own log.

A part was normal when the PLC executed a verdict for it that is OK or NOT_OK. Normal again is the floor with the first part from
which on every part was, until the next pull; how soon is that part's arrival after the end of the cause.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from cli.truth import TruthFile
from schemas.reasons import CommandKind, VerdictValue

Part = tuple[str, int]
"""(part_id, visit)."""

DECIDED = (VerdictValue.OK, VerdictValue.NOT_OK)
UNDER_WAY_NS = 1_500_000_000
"""A part that arrived less than this ago may still get its verdict: its deadline is 1 s, its gate 2 s away."""
AT_STATION_NS = 2_000_000_000
"""From a part's arrival to the gate: what is away for less of it may go unnoticed."""
NORMAL_PARTS = 4
LOOK_BACK_PARTS = 64


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """A pull that took place: when it began, and when its cause had ended (ns UTC)."""

    kind: str
    how: str
    began_ns: int
    over_ns: int


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What came of a pull. `in_reach`: parts that came and passed the gate while it lasted; `hit`: those that were at the station
    while it lasted and were not normal, or were lost with the PLC.

    `after_s`: from the end of the cause; None where the floor was not normal before the next pull.
    """

    pulled: Pulled
    in_reach: int
    hit: int
    after_s: float | None


@dataclass(kw_only=True)
class Normality:
    """Which parts were normal, as far as the truth has been read."""

    truth: TruthFile
    _parts: set[Part] = field(default_factory=set)
    _read: int = 0

    def parts(self) -> AbstractSet[Part]:
        """Those whose decided verdict the PLC executed."""
        for row in itertools.islice(self.truth.executed, self._read, None):
            if is_decided(row):
                self._parts.add((row["part_id"], row["visit"]))
        self._read = len(self.truth.executed)
        return self._parts

    def holds(self, *, since_ns: int, now_ns: int) -> bool:
        """Whether the last parts that arrived after `since_ns`, and had the time to get their verdict, were all normal."""
        newest = itertools.islice(reversed(self.truth.arrived_at_ns.items()), LOOK_BACK_PARTS)
        due = [part for part, at_ns in newest if since_ns <= at_ns <= now_ns - UNDER_WAY_NS][:NORMAL_PARTS]
        return len(due) == NORMAL_PARTS and self.parts() >= set(due)


def is_decided(row: Mapping[str, Any]) -> bool:
    """Whether the PLC executed a verdict that is OK or NOT_OK."""
    return row["kind"] == CommandKind.VERDICT and row["verdict"] in DECIDED


def recoveries(pulls: Sequence[Pulled], truth: TruthFile, *, until_ns: int) -> list[Recovery]:
    """One for each pull; `until_ns`: when the last part was let in."""
    normal = Normality(truth=truth).parts()
    arrivals = sorted((at_ns, part) for part, at_ns in truth.arrived_at_ns.items())
    ends = [*(pull.began_ns for pull in pulls[1:]), until_ns]
    return [_recovery(pull, arrivals, normal, end_ns=end) for pull, end in zip(pulls, ends, strict=True)]


def _recovery(
    pull: Pulled, arrivals: Sequence[tuple[int, Part]], normal: AbstractSet[Part], *, end_ns: int
) -> Recovery:
    hit = sum(part not in normal for at_ns, part in arrivals if pull.began_ns - UNDER_WAY_NS <= at_ns < pull.over_ns)
    in_reach = sum(pull.began_ns <= at_ns < pull.over_ns - AT_STATION_NS for at_ns, _ in arrivals)
    window = [(at_ns, part in normal) for at_ns, part in arrivals if pull.over_ns <= at_ns <= end_ns - UNDER_WAY_NS]
    last_bad = max((number for number, (_, was) in enumerate(window) if not was), default=-1)
    after_s = None
    if last_bad + 1 < len(window):
        after_s = round((window[last_bad + 1][0] - pull.over_ns) / 1e9, 2)
    return Recovery(pulled=pull, in_reach=in_reach, hit=hit, after_s=after_s)
