"""The table of `make chaos`, for a person and as rows of `run/chaos.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.chaos.faults import BROKER, BY_NAME, WORKER
from benchmarks.results_file import Row

AT_MOST_S = {WORKER: 5.0, BROKER: 10.0}
COLUMNS = ("round", "fault", "in flight", "lost", "contradicted", "repeated", "gap ms", "first s", "decided s", "holds")


def rows_of(number: int, result: Mapping[str, Any]) -> list[Row]:
    """The figures of one round with their floors and ceilings."""
    begin = f"round {number}: {' + '.join(result['faults'])}: "
    if "failed" in result:
        return [Row(name=begin + "finished", value=0, unit="rounds", at_least=1)]
    rows = [
        Row(name=begin + "lost", value=result["lost"], unit="frames and parts", at_most=0),
        Row(name=begin + "contradicted", value=result["contradicted"], unit="ids", at_most=0),
        Row(name=begin + "rules broken", value=len(result["broken"]), unit="rules", at_most=0),
        Row(name=begin + "repeated", value=result["repeated"], unit="records"),
    ]
    if "not_over" in result:
        rows.append(Row(name=begin + "not over", value=len(result["not_over"]), unit="faults", at_most=0))
    if result.get("in_flight") is not None:
        rows.append(Row(name=begin + "in flight", value=result["in_flight"], unit="frames"))
    if result.get("gap_ms") is not None:
        rows.append(Row(name=begin + "longest gap", value=result["gap_ms"], unit="ms"))
    limit_s = first_at_most_s(result["faults"])
    if result.get("first_s") is not None:
        rows.append(Row(name=begin + "first verdict after return", value=result["first_s"], unit="s"))
    decided_s = result.get("first_decided_s")
    if decided_s is not None:
        rows.append(Row(name=begin + "first OK or NOT_OK after return", value=decided_s, unit="s", at_most=limit_s))
    elif limit_s is not None:  # none came: that is worse than a late one
        rows.append(Row(name=begin + "verdicts after return", value=0, unit="verdicts", at_least=1))
    return rows


def holds(number: int, result: Mapping[str, Any]) -> bool:
    """Whether every figure of the round that has a floor or a ceiling is within it."""
    return all(row.met is not False for row in rows_of(number, result))


def first_at_most_s(faults: Sequence[str]) -> float | None:
    """The ceiling of the first verdict that is OK or NOT_OK after the return of what was away; None where none is stated."""
    limits = [AT_MOST_S[what] for name in faults if (what := BY_NAME[name].returns) is not None]
    return max(limits, default=None)


def table(results: Mapping[int, Mapping[str, Any]]) -> str:
    """All rounds as a table in Markdown."""
    lines = [COLUMNS, tuple("---" for _ in COLUMNS), *(_cells(*item) for item in sorted(results.items()))]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _cells(number: int, result: Mapping[str, Any]) -> tuple[Any, ...]:
    name = " + ".join(result["faults"])
    if "failed" in result:
        return (number, name, *["-"] * 7, f"did not finish: {result['failed']}")
    figures = [result.get(key) for key in ("in_flight", "lost", "contradicted", "repeated", "gap_ms")]
    limit_s = first_at_most_s(result["faults"])
    first, decided = ("-" if result.get(key) is None else f"{result[key]}" for key in ("first_s", "first_decided_s"))
    decided += "" if limit_s is None else f" (<= {limit_s:g})"
    shown = ["-" if figure is None else figure for figure in figures]
    return (
        number,
        name,
        *shown,
        first,
        decided,
        "yes" if holds(number, result) else "NO",
    )
