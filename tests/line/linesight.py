"""The installed command, run as a person runs it, on services of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from ops.local.places import CHECKOUT

OWN_SERVICES = (
    "KAFKA_BOOTSTRAP_SERVERS",
    "TRITON_URL",
    "OBJECT_STORE_URL",
    "LINESIGHT_SIM_PLC_PORT",
    "LINESIGHT_SIM_CAMERA_PORT",
    "LINESIGHT_RUN_DIR",
)
MARK = "LINESIGHT_TEST_MARK"


@dataclass(frozen=True)
class Linesight:
    """Starts `linesight` in the checkout with a run folder of its own; `left_behind` names processes that outlived it."""

    run_dir: Path
    mark: str

    @property
    def environment(self) -> dict[str, str]:
        """What a process has around it that is to have services of its own and to be found by `left_behind`."""
        return {key: value for key, value in os.environ.items() if key not in OWN_SERVICES} | {MARK: self.mark}

    def start(self, *arguments: str | Path, before: Sequence[str] = ()) -> subprocess.Popen[str]:
        """The command, its output captured; `before` is another command that becomes it."""
        return subprocess.Popen(
            [*before, sys.executable, "-m", "cli.main", *map(str, arguments)],
            cwd=CHECKOUT,
            env=self.environment | {"LINESIGHT_RUN_DIR": str(self.run_dir)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *arguments: str | Path, within_s: float, before: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """The finished command."""
        process = self.start(*arguments, before=before)
        out, err = process.communicate(timeout=within_s)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def left_behind(self) -> list[str]:
        """Command lines of living processes that this command started, directly or not."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline())[:200])
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found
