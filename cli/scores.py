"""Scores result rows against labels, row by row, so that a list of any length fits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cli.labels import LabelRow, read_labels
from processors.scoring import Counts, Finding, Label, PartCounts, Score, score, score_parts

Choice = Callable[[LabelRow], bool]


def scores(labels: Path, rows: Path, *, tuned_on: frozenset[str]) -> dict[str, Any]:
    """`all` and, where thresholds were chosen on some groups, `held_out` (the other groups). Empty where nothing is labelled.

    `rows` holds one result per row of `labels`, in the same order.
    """
    choices: dict[str, Choice] = {"all": lambda row: True}
    if tuned_on:
        choices["held_out"] = lambda row: row.group not in tuned_on
    result = {}
    for name, chosen in choices.items():
        counted = score(_pairs(labels, rows, chosen))
        parts = score_parts(_parts(labels, rows, chosen))
        if parts.good + parts.bad:
            result[name] = _as_json(counted, parts)
    return result


def _labelled(labels: Path, rows: Path, chosen: Choice) -> Iterator[tuple[tuple[Label, ...], dict[str, Any]]]:
    with rows.open(encoding="utf-8") as lines:
        for row, line in zip(read_labels(labels), lines, strict=True):
            if row.labels is not None and chosen(row):
                yield row.labels, json.loads(line)


def _pairs(labels: Path, rows: Path, chosen: Choice) -> Iterator[tuple[list[Finding], tuple[Label, ...]]]:
    for truth, row in _labelled(labels, rows, chosen):
        found = [
            Finding(class_name=defect["class"], box=tuple(defect["box"]), score=defect["score"])
            for defect in row["defects"]
        ]
        yield found, truth


def _parts(labels: Path, rows: Path, chosen: Choice) -> Iterator[tuple[bool, bool]]:
    for truth, row in _labelled(labels, rows, chosen):
        yield bool(truth), row["verdict"] != "OK"


def _as_json(counted: Score, parts: PartCounts) -> dict[str, Any]:
    return {
        "class_agnostic": _counts(counted.located),
        "class_wise": _counts(counted.classified),
        "class_wise_mean_f1": counted.mean_f1,
        "by_class": {name: _counts(counts) for name, counts in counted.by_class.items()},
        "parts": {"good": parts.good, "bad": parts.bad, "escapes": parts.escapes, "overkill": parts.overkill},
    }


def _counts(counts: Counts) -> dict[str, float | int]:
    return {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "hits": counts.hits,
        "false": counts.false,
        "missed": counts.missed,
    }


def print_scores(console: Console, result: dict[str, Any]) -> None:
    """The scores as tables; nothing where nothing was labelled."""
    for name, item in result.items():
        title = "all groups" if name == "all" else "groups that no threshold was chosen on"
        table = Table(title=f"Against labels ({title}), one to one at IoU > 0.33", title_justify="left")
        for column in ("", "precision", "recall", "F1", "hits", "false", "missed"):
            table.add_column(column, justify="left" if not column else "right")
        rows = {"class-agnostic": item["class_agnostic"], "class-wise": item["class_wise"], **item["by_class"]}
        for label, row in rows.items():
            table.add_row(
                label,
                *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")),
                *(str(row[key]) for key in ("hits", "false", "missed")),
            )
        console.print(table)
        parts = item["parts"]
        console.print(
            f"class-wise F1, mean over classes: {item['class_wise_mean_f1']:.3f}; parts: {parts['bad']} bad, "
            f"{parts['escapes']} escapes; {parts['good']} good, {parts['overkill']} overkill"
        )
