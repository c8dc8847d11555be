"""What set-up shows while it works: one line that changes on a terminal, a line now and then elsewhere. Standard library only."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ops.local.guard import die_with_parent

EVERY_S = 10.0
ITEM = re.compile(r"^(?:Collecting|Requirement already satisfied:) ([^\s=<>!~;(\[]+)")
INSTALLING = "Installing collected packages"


class Failed(Exception):
    """A command failed. `output` is all that it printed."""

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.output = output


class Progress:
    """Progress of one step, `items` long."""

    def __init__(self, what: str, items: int) -> None:
        self._items = items
        self._done = 0
        self._started_at = time.monotonic()
        self._shown_at = self._started_at
        print(f"{what} ...", flush=True)

    def item(self, name: str) -> None:
        """One more item has begun."""
        self._done = min(self._done + 1, self._items)
        self.say(f"{self._done}/{self._items} {name}")

    def say(self, doing: str) -> None:
        """Show what is going on."""
        if sys.stdout.isatty():
            print(f"\r\033[K  {doing}", end="", flush=True)
        elif time.monotonic() - self._shown_at >= EVERY_S:
            self._shown_at = time.monotonic()
            print(f"  {doing}", flush=True)

    def done(self) -> None:
        """The step is finished."""
        begin = "\r\033[K" if sys.stdout.isatty() else ""
        print(f"{begin}  done in {time.monotonic() - self._started_at:.0f} s", flush=True)


def run(command: Sequence[str | Path], *, progress: Progress, log: Path, cwd: Path, env: dict[str, str]) -> None:
    """Run a command that prints a line per item, as pip does; its output goes to `log`. Raises Failed."""
    lines = []
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=cwd,
        env=env,
        preexec_fn=die_with_parent,  # noqa: PLW1509 -- set-up has one thread; a killed one must not go on installing
    )
    assert process.stdout is not None
    with log.open("a") as file, process:
        try:
            for line in process.stdout:
                file.write(line)
                lines.append(line)
                if found := ITEM.match(line):
                    progress.item(found[1])
                elif line.startswith(INSTALLING):
                    progress.say("installing")
        except BaseException:  # Ctrl-C: nothing of a step goes on after it
            process.kill()
            raise
    if process.returncode != 0:
        raise Failed("".join(lines))
