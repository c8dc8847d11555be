"""A whole encrypted line out of which things are pulled, one after the other, and everything that was noted of it."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.plant_file import write_plant
from benchmarks.chaos.proxy import Proxy
from benchmarks.chaos.scene import Condition, after
from benchmarks.chaos_floor.accounts import OnTopics, contradicting_truth, on_topics
from benchmarks.chaos_floor.machine import Machine
from benchmarks.chaos_floor.papers import Papers
from benchmarks.chaos_floor.pulls import Floor, Pull
from benchmarks.chaos_floor.recovery import Normality, Part, Pulled
from benchmarks.chaos_floor.shown_again import judged_alike_again
from cli.demo_run import DemoRun, Say
from cli.run_record import Outcome
from cli.truth import TruthFile
from gateways.opcua_session import SESSION_TIMEOUT_MS
from ops.local.ports import free_ports
from schemas.plant import Plant
from schemas.plant_file import load_plant

READY_S = 60.0
OBSERVED_S = 7.5
"""5 s in which it has to be normal again, and the parts after that."""
GIVE_UP_S = 30.0
CAUSE_ENDS_S = 120.0
ALL_LEAVE_S = 60.0
SESSIONS_END_S = SESSION_TIMEOUT_MS / 1000 * 1.25 + 2.5  # the simulated PLC looks every quarter of it
LOOK_S = 0.5
LONGEST_PAUSE_S = 1.0
"""Before the next pull, so that pulls do not keep step with the parts."""


@dataclass(kw_only=True)
class FloorRecord:
    """What a run came to. `sessions`: (s after everything was closed, sessions on the PLC's server).

    `misjudged`: parts whose verdict is not what they are, although nothing was mixed up (`shown_again`).
    """

    plant: Plant
    truth: TruthFile
    pulled: list[Pulled]
    until_ns: int
    killed_at_ns: list[int]
    missed: list[str]
    outcome: Outcome
    topics: OnTopics
    sessions: list[tuple[float, int]]
    said: list[str]
    misjudged: frozenset[Part]


@dataclass(kw_only=True)
class FloorRun:
    """One line with its machine behind a cable that can be cut. `run` may be called once; it changes this process's environment.

    `observed_s`: at least so long the floor is watched after the end of a cause.
    """

    run_dir: Path
    rate_per_s: float
    seed: int
    say: Say
    observed_s: float = OBSERVED_S
    said: list[str] = field(default_factory=list)
    pulled: list[Pulled] = field(default_factory=list)

    def run(self, pulls: Sequence[Pull]) -> FloorRecord:
        """Raises what the line raises where it cannot go on."""
        with ExitStack() as stack:
            floor = self._set_up(stack)
            floor.machine.start()
            floor.demo.start_line()
            if not self._await_normal(floor, since_ns=time.time_ns(), at_least_s=0.0, at_most_s=READY_S):
                raise RuntimeError(f"no part was decided in time within {READY_S:g} s, before anything was pulled")
            for number, pull in enumerate(pulls, start=1):
                self._pull(floor, pull, number=number)
            until_ns = time.time_ns()
            self._let_all_leave(floor)
            outcome, truth = floor.demo.finish(), floor.demo.truth
            return FloorRecord(
                plant=floor.demo.plant,
                truth=truth,
                pulled=self.pulled,
                until_ns=until_ns,
                killed_at_ns=floor.machine.killed_at_ns,
                missed=floor.missed,
                outcome=outcome,
                topics=asyncio.run(on_topics(floor.demo.plant)),
                misjudged=asyncio.run(
                    judged_alike_again(
                        floor.demo.plant,
                        plant_dir=self.run_dir / "plant",
                        truth=truth,
                        parts=contradicting_truth(truth).keys(),
                    )
                ),
                sessions=_sessions_until_none(floor.machine),
                said=self.said,
            )

    def _set_up(self, stack: ExitStack) -> Floor:
        """Everything, not started; `stack` takes it down again."""
        papers = Papers(folder=self.run_dir / "certificates")
        papers.issue()
        plc_port, cable_port, camera_port = free_ports(3)
        os.environ |= {
            "LINESIGHT_SIM_PLC_PORT": str(cable_port),
            "LINESIGHT_SIM_CAMERA_PORT": str(camera_port),
            "LINESIGHT_CERTIFICATES": str(papers.line),
            "OBJECT_STORE_URL": str(self.run_dir / "objects"),
        }
        plant_file = write_plant(self.run_dir / "plant")
        plant = load_plant(plant_file)
        cable = stack.enter_context(Proxy(port=cable_port, target_port=plc_port, seed=self.seed))
        machine = Machine(
            plant=plant, plant_file=plant_file, run_dir=self.run_dir, port=plc_port, papers=papers,
            rate_per_s=self.rate_per_s, seed=self.seed,
        )  # fmt: skip
        stack.callback(machine.stop)
        demo = stack.enter_context(
            DemoRun(plant=plant, plant_file=plant_file, run_dir=self.run_dir, say=self.said.append)
        )
        return Floor(
            demo=demo, run_dir=self.run_dir, machine=machine, cable=cable, papers=papers,
            chance=random.Random(self.seed),
        )  # fmt: skip

    def _pull(self, floor: Floor, pull: Pull, *, number: int) -> None:
        began_ns = time.time_ns()
        for condition in pull.course(floor):
            if not self._until(floor, condition, within_s=CAUSE_ENDS_S):
                raise RuntimeError(f"{pull.kind}, {pull.how}: the cause did not end within {CAUSE_ENDS_S:g} s")
        over_ns = time.time_ns()
        self.pulled.append(Pulled(kind=pull.kind, how=pull.how, began_ns=began_ns, over_ns=over_ns))
        normal = self._await_normal(floor, since_ns=over_ns, at_least_s=self.observed_s, at_most_s=GIVE_UP_S)
        self.say(
            f"{number}: {pull.kind}, {pull.how}: {(over_ns - began_ns) / 1e9:.1f} s"
            + ("" if normal else f"; NOT normal within {GIVE_UP_S:g} s")
        )
        self._until(floor, after(floor.chance.uniform(0.0, LONGEST_PAUSE_S)), within_s=GIVE_UP_S)

    def _await_normal(self, floor: Floor, *, since_ns: int, at_least_s: float, at_most_s: float) -> bool:
        normality = Normality(truth=floor.demo.truth)
        begin_s = time.monotonic()

        def is_normal() -> bool:
            floor.machine.look()
            if time.monotonic() < begin_s + at_least_s:
                return False
            return normality.holds(since_ns=since_ns, now_ns=time.time_ns())

        return self._until(floor, is_normal, within_s=at_most_s)

    def _let_all_leave(self, floor: Floor) -> None:
        floor.machine.ask("Stop")
        if not self._until(floor, lambda: floor.demo.is_finished, within_s=ALL_LEAVE_S):
            raise RuntimeError(f"the parts did not leave within {ALL_LEAVE_S:g} s; the line said {self.said[-5:]}")

    def _until(self, floor: Floor, condition: Condition, *, within_s: float) -> bool:
        """Keeps the line going until `condition`; False where it was not so in time."""
        give_up_s = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > give_up_s:
                return False
            floor.demo.step()
        return True


def _sessions_until_none(machine: Machine) -> list[tuple[float, int]]:
    """Asks the PLC's server until it holds no session any more: those of a client that was killed end by their timeout."""
    began_s = time.monotonic()
    seen: list[tuple[float, int]] = []
    while True:
        seen.append((round(time.monotonic() - began_s, 1), machine.sessions()))
        if seen[-1][1] == 0 or seen[-1][0] > SESSIONS_END_S:
            return seen
        time.sleep(LOOK_S)
