"""What is shown while a line runs: counts by verdict and by outcome of a command, and the newest alert."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from rich.console import Console
from rich.live import Live
from rich.table import Table

from cli.following import Seen
from schemas.alerts import Alert
from schemas.commands import Command, CommandResult
from schemas.reasons import CommandOutcome, VerdictValue
from schemas.topics import ALERTS, COMMAND_RESULTS, COMMANDS, DEAD_LETTERS, INSPECTIONS, RETRAINING, VERDICTS, Topic
from schemas.verdicts import Verdict


@contextmanager
def shown_live(console: Console) -> Iterator[Live]:
    """What it is updated with changes in the terminal; into a file goes the last of it. What is printed next has a line of its own."""
    with Live(console=console, refresh_per_second=2) as live:
        yield live
    if not console.is_terminal:
        console.line()  # rich ends it in a terminal only


class LiveCounts:
    """Takes in records as they come; repeated ones (after a crash of a stage) are counted once where parts are concerned."""

    TOPICS: ClassVar[tuple[Topic, ...]] = (
        INSPECTIONS, VERDICTS, COMMANDS, COMMAND_RESULTS, ALERTS, RETRAINING, DEAD_LETTERS,
    )  # fmt: skip

    def __init__(self) -> None:
        self._records: Counter[str] = Counter()
        self._verdicts: dict[str, VerdictValue] = {}
        self._commands: set[str] = set()
        self._results: dict[str, CommandOutcome] = {}
        self._latest_alert = ""

    def take(self, seen: Seen) -> None:
        """Counts a record."""
        self._records[seen.topic.name] += 1
        match seen.message:
            case Verdict(revision=1):
                self._verdicts[seen.message.id] = seen.message.verdict
            case Command():
                self._commands.add(seen.message.id)
            case CommandResult():
                self._results[seen.message.id] = seen.message.outcome
            case Alert():
                self._latest_alert = f"{seen.message.state.value}: {seen.message.summary}"

    @property
    def has_verdict(self) -> bool:
        """Whether the line has judged something."""
        return bool(self._verdicts)

    def is_settled(self, arrived: int) -> bool:
        """Every part that arrived has its verdict, and every command its result."""
        return len(self._verdicts) >= arrived and self._commands <= self._results.keys()

    def table(self, *, arrived: int, expected: int) -> Table:
        """The present state for the terminal."""
        values = Counter(self._verdicts.values())
        acknowledged = sum(outcome is CommandOutcome.ACKNOWLEDGED for outcome in self._results.values())
        table = Table(show_header=False, box=None)
        table.add_row("parts", f"{arrived} of about {expected}")
        table.add_row(
            "verdicts",
            f"[green]{values[VerdictValue.OK]} OK[/]  [red]{values[VerdictValue.NOT_OK]} not OK[/]  "
            f"[yellow]{values[VerdictValue.NOT_DECIDABLE]} not decidable[/]",
        )
        table.add_row("inspections", str(self._records[INSPECTIONS.name]))
        table.add_row("PLC", f"{acknowledged} of {len(self._commands)} commands acknowledged")
        table.add_row("alert", self._latest_alert or "none")
        table.add_row(
            "retraining, refused",
            f"{self._records[RETRAINING.name]} triggers, {self._records[DEAD_LETTERS.name]} dead letters",
        )
        return table
