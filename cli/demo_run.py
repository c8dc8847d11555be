"""One run of the simulated line: start everything, follow what happens, drain, and account for all of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Self

from rich.console import Console

from cli.following import Follower
from cli.live_counts import LiveCounts, shown_live
from cli.local_line import LocalLine
from cli.run_record import Mark, Outcome, account, mark
from cli.simulated_plant import PlantControl, simulated_plant
from cli.truth import TruthFile
from ops.local.children import Child
from schemas.plant import Plant
from schemas.settings import KafkaSettings

POLL_MS = 50
GATHER_MS = 250  # a person looks on
SETTLE_S = 20.0

Say = Callable[[str], None]


class DemoRun:
    """The simulated plant and its line on this machine. Use as a context manager: nothing outlives it.

    `start`, then `step` until `is_finished`, then `finish`. `workers`: processes of a stage, where it has more than one;
    `without`: stages that have nothing to do.
    """

    def __init__(
        self,
        *,
        plant: Plant,
        plant_file: Path,
        run_dir: Path,
        say: Say,
        workers: Mapping[str, int] | None = None,
        without: Iterable[str] = (),
    ) -> None:
        self._plant = plant
        self._plant_file = plant_file
        self._run_dir = run_dir
        self._say = say
        self._truth = TruthFile(path=run_dir / "truth.jsonl")
        self.line = LocalLine(
            plant=plant, plant_file=plant_file, run_dir=run_dir, say=say, workers=workers, without=without
        )
        self.counts = LiveCounts()
        self._follower: Follower | None = None
        self._begin: Mark | None = None
        self._simulated: Child | None = None
        self._finished_at: float | None = None

    @property
    def simulated_plant(self) -> Child:
        """The process of the simulated plant."""
        assert self._simulated is not None, "start first"
        return self._simulated

    @property
    def plant(self) -> Plant:
        """What the plant file says."""
        return self._plant

    @property
    def truth(self) -> TruthFile:
        """What the simulated plant knows."""
        return self._truth

    def start(self, *, parts: int, rate_per_s: float, seed: int, lamp_fails_at: int | None = None) -> None:
        """Starts everything; returns when the first part may come. `lamp_fails_at`: the parts of `demo-learning`, see `simulate`."""
        self._run_dir.mkdir(parents=True, exist_ok=True)
        self._simulated = simulated_plant(
            plant_file=self._plant_file, run_dir=self._run_dir, truth=self._truth.path,
            parts=parts, rate_per_s=rate_per_s, seed=seed, fed=False, lamp_fails_at=lamp_fails_at,
        )  # fmt: skip
        self.line.adopt(self._simulated)
        self.start_line()
        with self.control() as control:
            control.start(station=self._plant.stations[0].name)

    def start_line(self) -> None:
        """Starts all but the simulated plant, which somebody else runs; returns when every stage is ready."""
        settings = self.line.start_services()
        self._begin = asyncio.run(mark(self._plant, settings))
        self._follower = Follower(plant=self._plant, settings=settings, topics=LiveCounts.TOPICS, gather_ms=GATHER_MS)
        self.line.start_stages()
        self.line.await_stages()

    def control(self) -> PlantControl:
        """A client of the simulated plant; to be connected."""
        return PlantControl(self._plant.plcs[0], plant_dir=self._plant_file.resolve().parent)

    def step(self) -> None:
        """Looks after the processes and takes in what happened; call it often."""
        self.line.tend()
        self._truth.read_on()
        assert self._follower is not None, "start first"
        for seen in self._follower.poll(timeout_ms=POLL_MS):
            self.counts.take(seen)
        if self._truth.finished and self._finished_at is None:
            self._finished_at = time.monotonic()

    def whole(self, *, parts: int, rate_per_s: float, seed: int, console: Console) -> Outcome:
        """A run from its start to its account, shown live."""
        began_s = time.monotonic()
        first_verdict_s: float | None = None
        self.start(parts=parts, rate_per_s=rate_per_s, seed=seed)
        with shown_live(console) as live:
            while not self.is_finished:
                self.step()
                if first_verdict_s is None and self.counts.has_verdict:
                    first_verdict_s = round(time.monotonic() - began_s, 1)
                    self._say(f"first verdict {first_verdict_s} s after the start")
                live.update(self.counts.table(arrived=len(self._truth.parts), expected=parts))
        self._say("all parts have left; draining")
        outcome = self.finish()
        outcome.report["first_verdict_s"] = first_verdict_s
        return outcome

    @property
    def is_finished(self) -> bool:
        """All parts have left, and everything about them is known; or it has had `SETTLE_S` to become known."""
        if self._finished_at is None:
            return False
        return self.counts.is_settled(len(self._truth.parts)) or time.monotonic() - self._finished_at > SETTLE_S

    def finish(self) -> Outcome:
        """Drains and stops the stages, reads what they still sent, and accounts for everything."""
        assert self._begin is not None, "start first"
        self.line.stop_stages()
        self._truth.read_on()
        return account(
            plant=self._plant,
            plant_dir=self._plant_file.resolve().parent,
            kafka=KafkaSettings(),
            begin=self._begin,
            truth=self._truth.parts,
            versions=self.line.versions(),
        )

    def close(self) -> None:
        """Stops everything."""
        if self._follower is not None:
            self._follower.close()
        self.line.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def say_with_time(console: Console) -> Say:
    """Says things on `console`, each with the seconds since now."""
    began_s = time.monotonic()
    return lambda text: console.print(f"[dim]{time.monotonic() - began_s:5.1f} s[/]  {text}", highlight=False)
