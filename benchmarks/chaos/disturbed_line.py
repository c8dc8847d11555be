"""A whole demo line that is disturbed while it runs, and what must hold of it afterwards. The chaos tests use it too."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cli.demo_run import DemoRun
from cli.run_record import Outcome
from cli.simulated_plant import choose_ports
from cli.truth import TruthFile
from ops.local.places import CHECKOUT
from schemas.plant_file import load_plant

PLANT_FILE = CHECKOUT / "plants" / "demo.yaml"
RATE_PER_S = 4.0
SEED = 3
GIVE_UP_S = 240.0

Act = Callable[[DemoRun], None]
Disturbance = tuple[float, Act]
"""Seconds after the first part, and what is done then."""


def _nothing(demo: DemoRun) -> None:
    """What is done where nothing is asked for."""


class DisturbedLine:
    """Runs the demo line with a schedule of disturbances and returns what it came to.

    `workers`: processes of a stage, where it has more than one. `said` holds what the line told meanwhile.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        plant_file: Path = PLANT_FILE,
        rate_per_s: float = RATE_PER_S,
        workers: Mapping[str, int] | None = None,
    ) -> None:
        self.run_dir = run_dir
        self.plant_file = plant_file
        self.rate_per_s = rate_per_s
        self.workers = dict(workers or {})
        self.said: list[str] = []

    def run(
        self,
        *,
        parts: int,
        disturbances: list[Disturbance],
        before: Act = _nothing,
        each_step: Act = _nothing,
        at_end: Act = _nothing,
    ) -> tuple[Outcome, TruthFile]:
        """Makes `parts` parts; returns the outcome and the simulated plant's own truth.

        `before` is called before anything starts, `each_step` some twenty times a second while the line runs, and `at_end` when
        the stages have stopped and the broker is still there. Raises AssertionError where the line does not finish in time.
        """
        choose_ports()
        os.environ["OBJECT_STORE_URL"] = str(self.run_dir / "objects")
        plan = sorted(disturbances, key=lambda item: item[0])
        with DemoRun(
            plant=load_plant(self.plant_file),
            plant_file=self.plant_file,
            run_dir=self.run_dir,
            say=self.said.append,
            workers=self.workers,
        ) as demo:
            before(demo)
            demo.start(parts=parts, rate_per_s=self.rate_per_s, seed=SEED)
            began = time.monotonic()
            while not demo.is_finished or plan:
                demo.step()
                elapsed_s = time.monotonic() - began
                while plan and plan[0][0] <= elapsed_s:
                    plan.pop(0)[1](demo)
                each_step(demo)
                if elapsed_s > GIVE_UP_S:
                    raise AssertionError(f"the line did not finish in {GIVE_UP_S:g} s; it said {self.said[-5:]}")
            outcome = demo.finish()
            at_end(demo)
        return outcome, demo.truth


def broken_rules(outcome: Outcome, truth: TruthFile, *, plc_forgot: bool = False) -> list[str]:
    """What does not hold that has to hold after every fault: the ledger balances, each part has one verdict, the PLC executed
    nothing stale or twice, no bad part passed.

    `plc_forgot`: the PLC itself was killed, so parts that lay on the station were never seen to leave, and some were never told.
    """
    report = outcome.report
    broken = []
    if not report["ledger"]["balanced"]:
        broken.append(f"the ledger does not balance: {report['ledger']['differences'][:20]}")
    arrived, verdicts = report["parts"]["arrived"], report["parts"]["verdicts"]
    if verdicts != arrived:
        broken.append(f"{arrived} parts arrived and {verdicts} have a verdict")
    left = {(row["part_id"], row["visit"]) for row in truth.left}
    if len(left) != len(truth.left):
        broken.append("a part left twice")
    if not plc_forgot and not arrived == len(truth.parts) == len(left):
        broken.append(f"{len(truth.parts)} parts came, {arrived} were told of, {len(left)} left")
    stale = [row for row in truth.executed if row["at_ns"] >= row["valid_until_ns"]]
    if stale:
        broken.append(f"the PLC executed stale commands: {stale[:5]}")
    commands = [row["command_id"] for row in truth.executed]
    if len(commands) != len(set(commands)):
        broken.append("the PLC executed a command twice")
    if report["truth"]["escapes"]:
        broken.append(f"{report['truth']['escapes']} bad parts passed")
    return broken


def assert_nothing_lost(outcome: Outcome, truth: TruthFile) -> None:
    """Raises AssertionError with every rule that does not hold."""
    broken = broken_rules(outcome, truth)
    assert not broken, "\n".join(broken)
