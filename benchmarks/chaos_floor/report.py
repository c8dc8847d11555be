"""What a run of `make chaos-floor` came to: its rows beside what is asked, and a table by kind for a person."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from benchmarks.chaos_floor.accounts import (
    held_by_a_cable,
    parts_never_told,
    parts_without_one_verdict,
    refused_as_late,
    refused_in_detail,
    stale_commands,
    stale_commands_sent,
    wrong_commands,
)
from benchmarks.chaos_floor.floor_run import FloorRecord
from benchmarks.chaos_floor.recovery import Recovery, recoveries
from benchmarks.results_file import Row

NORMAL_WITHIN_S = 5.0
MOST_LINES = 50
SEEN_OTHERWISE = ("PLC restarted", "wrong namespace", "gateway killed")
"""Kinds that a part need not show: the process has another id before their cause ends."""


def broken_rules(record: FloorRecord) -> dict[str, list[str]]:
    """What breaks each rule, by the rule's row."""
    (station,) = record.plant.stations
    truth, topics = record.truth, record.topics
    found = recoveries(record.pulled, truth, until_ns=record.until_ns)
    return {
        "wrong commands executed": wrong_commands(truth, topics, misjudged=record.misjudged),
        "stale commands executed": stale_commands(truth, gate_after_ms=station.gate_after_ms),
        "stale commands sent": stale_commands_sent(
            truth, gate_after_ms=station.gate_after_ms, held=held_by_a_cable(truth, record.pulled)
        ),
        "parts told without exactly one verdict": parts_without_one_verdict(topics),
        "parts not told by a PLC that lived on": parts_never_told(truth, topics, killed_at_ns=record.killed_at_ns),
        "differences in the ledger": [str(item) for item in record.outcome.report["ledger"]["differences"]],
        "pulls that did not take place": [*record.missed, *pulls_without_trace(found)],
    }


def pulls_without_trace(found: Sequence[Recovery]) -> list[str]:
    """Pulls that hit none of the parts in their reach, and of which nothing else says that they took place.

    There may be none in reach: at a change of products the belt stands still while the gateway does not answer.
    """
    return [
        f"{item.pulled.kind}, {item.pulled.how}: every part was normal while it lasted"
        for item in found
        if item.hit == 0 and item.in_reach and item.pulled.kind not in SEEN_OTHERWISE and item.pulled.how != "the PLC's"
    ]


def rows_of(record: FloorRecord, *, asked_for: int) -> list[Row]:
    """The figures of a run, each beside its floor or ceiling."""
    found = recoveries(record.pulled, record.truth, until_ns=record.until_ns)
    late = [item for item in found if item.after_s is None or item.after_s > NORMAL_WITHIN_S]
    report = record.outcome.report
    return [
        Row(name="pulls", value=len(found), unit="pulls", at_least=asked_for),
        *(Row(name=name, value=len(lines), unit="", at_most=0) for name, lines in broken_rules(record).items()),
        Row(
            name="commands refused by the PLC as unknown or expired",
            value=len(refused_as_late(record.topics)),
            unit="commands",
        ),
        Row(
            name="of these under way when the cable was cut",
            value=len(refused_as_late(record.topics) & held_by_a_cable(record.truth, record.pulled)),
            unit="commands",
        ),
        Row(name="ledger balanced", value=int(report["ledger"]["balanced"]), unit="", at_least=1),
        Row(name="pulls after which it was not normal within 5 s", value=len(late), unit="pulls", at_most=0),
        *(
            Row(name=f"longest until normal: {kind}", value=longest, unit="s", at_most=NORMAL_WITHIN_S)
            for kind, of_kind in by_kind(found).items()
            if (longest := max((item.after_s for item in of_kind if item.after_s is not None), default=None))
            is not None
        ),
        Row(name="sessions left on the PLC server", value=record.sessions[-1][1], unit="sessions", at_most=0),
        Row(name="sessions when all was closed", value=record.sessions[0][1], unit="sessions"),
        Row(name="until the last session ended", value=record.sessions[-1][0], unit="s"),
        Row(name="parts that the model misjudges, undisturbed too", value=len(record.misjudged), unit="parts"),
        Row(name="parts that came", value=len(record.truth.arrived_at_ns), unit="parts"),
        Row(name="parts told", value=len(record.topics.told), unit="parts"),
        Row(name="parts not decidable", value=report["parts"]["not_decidable"], unit="parts"),
        Row(name="commands executed", value=len(record.truth.executed), unit="commands"),
        Row(name="commands refused by the PLC", value=_refused(record), unit="commands"),
        Row(name="parts rejected by the fail-safe", value=_by_fail_safe(record), unit="parts"),
    ]


def by_kind(found: Sequence[Recovery]) -> dict[str, list[Recovery]]:
    """The pulls of each kind."""
    kinds: dict[str, list[Recovery]] = {}
    for item in found:
        kinds.setdefault(item.pulled.kind, []).append(item)
    return dict(sorted(kinds.items()))


def details_of(record: FloorRecord) -> dict[str, Any]:
    """What lies behind the rows, as plain values."""
    found = recoveries(record.pulled, record.truth, until_ns=record.until_ns)
    report = record.outcome.report
    return {
        "pulls": [
            {**asdict(item.pulled), "in_reach": item.in_reach, "hit": item.hit, "after_s": item.after_s}
            for item in found
        ],
        "broken": {name: lines[:MOST_LINES] for name, lines in broken_rules(record).items() if lines},
        "misjudged": {"/".join(map(str, part)): record.truth.parts[part] for part in sorted(record.misjudged)},
        "outcomes": dict(record.topics.outcomes),
        "refused as unknown or expired": refused_in_detail(record.truth, record.topics),
        "sessions": record.sessions,
        **{name: report[name] for name in ("parts", "truth", "frames", "commands", "dead_letters", "load")},
        "said": record.said,
    }


def kinds_table(found: Sequence[Recovery]) -> Table:
    """How soon it was normal, by kind."""
    table = Table("pulled out", "times", "lasted s", "parts hit", "normal after s: median", "longest", "not in time")
    for kind, of_kind in by_kind(found).items():
        lasted = [(item.pulled.over_ns - item.pulled.began_ns) / 1e9 for item in of_kind]
        after = [item.after_s for item in of_kind if item.after_s is not None]
        late = sum(item.after_s is None or item.after_s > NORMAL_WITHIN_S for item in of_kind)
        table.add_row(
            kind,
            str(len(of_kind)),
            f"{min(lasted):.1f} to {max(lasted):.1f}",
            str(sum(item.hit for item in of_kind)),
            f"{statistics.median(after):.1f}" if after else "",
            f"{max(after):.1f}" if after else "",
            str(late),
        )
    return table


def _by_fail_safe(record: FloorRecord) -> int:
    return sum(bool(row["by_fail_safe"]) for row in record.truth.left)


def _refused(record: FloorRecord) -> int:
    return sum(count for outcome, count in record.topics.outcomes.items() if outcome.startswith("refused"))
