"""What a line learned, as text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def print_learning(console: Console, learning: Mapping[str, Any]) -> None:
    """How each version judged under each light, and how long it took."""
    table = Table(title=f"What {learning['model']} learned", title_justify="left", box=None)
    for name in ("", "parts", "bad", "escapes", "overkill", "wrong"):
        table.add_column(name, justify="left" if not name else "right")
    for each in learning["stretches"]:
        numbers = [str(each[name]) for name in ("parts", "bad", "escapes", "overkill")]
        table.add_row(each["name"], *numbers, f"{each['wrong_ratio']:.1%}")
    console.print(table)
    for each in learning["phases"]:
        console.print(
            f"arrival to verdict, {each['name']}: p50 {each['p50_ms']:.0f}, p95 {each['p95_ms']:.0f}, max {each['max_ms']:.0f} ms "
            f"({each['parts']} parts)"
        )
    if learning["trigger_to_promoted_s"] is not None:
        console.print(f"from the request to the promoted version: {learning['trigger_to_promoted_s']:.0f} s")
    for short in learning["fell_short"]:
        console.print(f"[red]not shown:[/] {short}")
