"""The machine of the floor: PLC, cameras and belt as one process that is killed, started again, and asked things over OPC UA."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.chaos_floor.papers import GOOD, Papers
from cli.simulated_plant import PlantControl
from ops.local.children import Child
from ops.local.ports import HOST
from schemas.plant import Plant

CONNECT_S = 1.0


class Machine:
    """The process, and what it comes back with. `port` is the PLC's own, behind the cable.

    `killed_at_ns` says when it was killed (ns UTC, just before): what lay on it then is known to nobody else.
    """

    def __init__(
        self, *, plant: Plant, plant_file: Path, run_dir: Path, port: int, papers: Papers, rate_per_s: float, seed: int
    ) -> None:
        self._plant_file = plant_file
        self._run_dir = run_dir
        self._port = port
        self._papers = papers
        self._rate_per_s = rate_per_s
        self._seed = seed
        self._plc = msgspec.structs.replace(plant.plcs[0], endpoint=f"opc.tcp://{HOST}:{port}/")
        self._child: Child | None = None
        self.truth = run_dir / "truth.jsonl"
        self.killed_at_ns: list[int] = []

    @property
    def child(self) -> Child:
        """Its process."""
        assert self._child is not None, "start first"
        return self._child

    def start(self, *, namespace: str | None = None, certificate: str = GOOD) -> None:
        """Starts it, with other parts than before; it answers when `answers` says so."""
        lives = len(self.killed_at_ns)
        command = [
            sys.executable, "-m", "benchmarks.chaos_floor.machine_process",
            "--plant", str(self._plant_file), "--truth", str(self.truth), "--port", str(self._port),
            "--certificate", str(self._papers.plc(certificate)), "--trusted", str(self._papers.trusted),
            "--rate", str(self._rate_per_s), "--seed", str(self._seed + lives),
            *([] if namespace is None else ["--namespace", namespace]),
        ]  # fmt: skip
        self._child = Child(name="machine", command=command, log_dir=self._run_dir / "logs")
        self._child.start()

    def kill(self) -> None:
        """`kill -9`."""
        self.killed_at_ns.append(time.time_ns())
        self.child.kill()

    def answers(self) -> bool:
        """Whether its OPC UA server listens. Raises RuntimeError where it ended by itself."""
        self.look()
        try:
            with socket.create_connection((HOST, self._port), timeout=CONNECT_S):
                return True
        except OSError:
            return False

    def look(self) -> None:
        """Raises RuntimeError where it ended without being killed here."""
        status = self.child.poll()
        if status is not None:
            raise RuntimeError(f"the machine ended by itself with status {status}: {self.child.last_words()}")

    def ask(self, method: str, *arguments: Any) -> Any:
        """Calls a method of `Simulation` at the PLC itself, not through the cable."""
        with PlantControl(self._plc, plant_dir=self._plant_file.parent) as control:
            return control.ask(method, *arguments)

    def sessions(self) -> int:
        """How many sessions the PLC's server holds, without the one that asks."""
        return int(self.ask("Sessions")) - 1

    def stop(self) -> None:
        """Ends it."""
        if self._child is not None:
            self._child.stop()
