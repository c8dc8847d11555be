"""A report as text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def print_summary(console: Console, report: Mapping[str, Any], file: Path) -> None:
    """What happened, in the order in which a plant engineer asks."""
    parts, truth, frames, commands = report["parts"], report["truth"], report["frames"], report["commands"]
    table = Table(
        title=f"Plant {report['plant']}, {report['duration_s']:.0f} s", show_header=False, title_justify="left"
    )
    table.add_column(style="bold")
    table.add_column()
    table.add_row(
        "parts",
        f"{parts['arrived']} arrived, {parts['verdicts']} verdicts: {parts['ok']} OK, {parts['not_ok']} not OK, "
        f"{parts['not_decidable']} not decidable",
    )
    challenges = report["challenges"]
    if challenges["passed"] + challenges["failed"]:
        table.add_row("challenge parts", f"{challenges['passed']} found, {challenges['failed']} not")
    if truth["good"] + truth["bad"]:
        table.add_row(
            "against truth",
            f"{truth['good']} good, {truth['bad']} bad; {truth['escapes']} escapes, {truth['overkill']} overkill",
        )
    table.add_row(
        "frames",
        f"{frames['published']} published, {frames['inspected']} inspected, dropped: {_counts(frames['dropped'])}",
    )
    table.add_row(
        "commands", f"{commands['sent']} sent, {commands['acknowledged']} acknowledged, {commands['failed']} failed"
    )
    for name, row in report["latency_ms"].items():
        numbers = ", ".join(f"{key} {'–' if value is None else f'{value:.0f}'}" for key, value in row.items())
        table.add_row(name.replace("_", " "), f"{numbers} ms")
    table.add_row("defects", _counts(report["defects"]["by_class"]))
    table.add_row(
        "alerts",
        f"{report['alerts']['raised']} raised, {report['alerts']['cleared']} cleared; "
        f"{report['retraining_triggers']} retraining triggers",
    )
    table.add_row("dead letters", _counts(report["dead_letters"]))
    if report.get("first_verdict_s") is not None:
        table.add_row("first verdict", f"{report['first_verdict_s']} s after the start")
    if "load" in report:
        table.add_row("machine load", report["load"]["text"])
    balanced = report["ledger"]["balanced"]
    table.add_row(
        "ledger", "[green]balanced[/]" if balanced else f"[red]{len(report['ledger']['differences'])} differences[/]"
    )
    console.print(table)
    console.print(f"report: {file} and {file.with_suffix('.html')}")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1])) or "none"
