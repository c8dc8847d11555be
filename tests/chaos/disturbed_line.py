"""A whole demo line that a test may disturb while it runs, and what must hold of it afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from cli.demo_run import DemoRun
from cli.run_record import Outcome
from cli.simulated_plant import choose_ports
from cli.truth import TruthFile
from ops.local.places import CHECKOUT
from schemas.plant_file import load_plant

PLANT_FILE = CHECKOUT / "plants" / "demo.yaml"
RATE_PER_S = 4.0
GIVE_UP_S = 240.0

Disturbance = tuple[float, Callable[[DemoRun], None]]
"""Seconds after the first part, and what is done then."""


class DisturbedLine:
    """Runs the demo line with a schedule of disturbances and returns what it came to."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.said: list[str] = []

    def run(self, *, parts: int, disturbances: list[Disturbance]) -> tuple[Outcome, TruthFile]:
        """Makes `parts` parts; returns the outcome and the simulated plant's own truth."""
        choose_ports()
        os.environ["OBJECT_STORE_URL"] = str(self.run_dir / "objects")
        plan = sorted(disturbances, key=lambda item: item[0])
        with DemoRun(
            plant=load_plant(PLANT_FILE), plant_file=PLANT_FILE, run_dir=self.run_dir, say=self.said.append
        ) as demo:
            demo.start(parts=parts, rate_per_s=RATE_PER_S, seed=3)
            began = time.monotonic()
            while not demo.is_finished or plan:
                demo.step()
                elapsed_s = time.monotonic() - began
                while plan and plan[0][0] <= elapsed_s:
                    plan.pop(0)[1](demo)
                if elapsed_s > GIVE_UP_S:
                    raise AssertionError(f"the line did not finish in {GIVE_UP_S:g} s; it said {self.said[-5:]}")
            outcome = demo.finish()
        return outcome, demo.truth


def assert_nothing_lost(outcome: Outcome, truth: TruthFile) -> None:
    """What holds after every fault: the ledger balances, each part has one verdict, the PLC executed nothing stale or twice."""
    report = outcome.report
    assert report["ledger"]["balanced"], report["ledger"]["differences"][:20]
    assert report["parts"]["arrived"] == len(truth.parts)
    assert report["parts"]["verdicts"] == report["parts"]["arrived"]
    assert len({(row["part_id"], row["visit"]) for row in truth.left}) == len(truth.left) == len(truth.parts)
    stale = [row for row in truth.executed if row["at_ns"] >= row["valid_until_ns"]]
    assert not stale
    commands = [row["command_id"] for row in truth.executed]
    assert len(commands) == len(set(commands))
    assert report["truth"]["escapes"] == 0
