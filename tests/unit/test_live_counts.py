"""What the demo shows while it runs, in a terminal and in a file."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from cli.live_counts import LiveCounts, shown_live


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_printed_after_the_live_table_begins_a_line_and_no_line_is_left_empty(terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)
    with shown_live(console) as live:
        live.update(LiveCounts().table(arrived=3, expected=4))
    console.print("draining")
    assert isinstance(console.file, io.StringIO)
    lines = [line.rstrip() for line in re.sub(r"\x1b\[[?\d]*\w", "", console.file.getvalue()).splitlines()]
    assert lines[-1] == "draining"
    assert lines[-2].strip().startswith("retraining, refused")
