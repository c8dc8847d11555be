"""The rows of a measurement as a table for a person, each beside its floor or ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from benchmarks.results_file import Row


def results_table(rows: Sequence[Row], then: dict[str, Any]) -> Table:
    """`then` is the machine before the run (`results_file.machine`)."""
    table = Table(
        "what",
        "value",
        "unit",
        "asked",
        "met",
        title=f"{then['cores']} cores, load {then['load_1_min']} before the run",
    )
    for row in rows:
        asked = ""
        if row.at_least is not None:
            asked = f">= {row.at_least:g}"
        elif row.at_most is not None:
            asked = f"<= {row.at_most:g}"
        table.add_row(row.name, f"{row.value:g}", row.unit, asked, {True: "yes", False: "no", None: ""}[row.met])
    return table
