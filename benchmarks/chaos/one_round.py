"""One round in a process of its own: a line, one or two faults, and what it came to as JSON.

`python -m benchmarks.chaos.one_round`; started by `python -m benchmarks.chaos`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.chaos.after_round import AfterRound
from benchmarks.chaos.disturbed_line import DisturbedLine, broken_rules
from benchmarks.chaos.faults import BY_NAME
from benchmarks.chaos.plant_file import write_plant
from benchmarks.chaos.proxy import Proxy
from benchmarks.chaos.scene import Fault, Scene, UnderWay
from benchmarks.chaos.verdict_watch import VerdictWatch
from cli.demo_run import DemoRun
from cli.run_record import machine_load
from cli.simulated_plant import PORT_VARIABLES, choose_ports
from ops.local.kafka import LocalKafka
from ops.local.ports import HOST, free_ports

LEAD_S = 6.0
TAIL_S = 17.0
SECOND_WITHIN_S = 4.0
GAP_UNTIL_S = 10.0
SERVICES = ("KAFKA_BOOTSTRAP_SERVERS", "TRITON_URL", "OBJECT_STORE_URL", *PORT_VARIABLES)


class Round:
    """One line and its faults; `run` returns the row of the table with what lies behind it."""

    def __init__(self, faults: list[Fault], *, run_dir: Path, rate_per_s: float, parts: int | None, seed: int) -> None:
        self._faults = faults
        self._run_dir = run_dir
        self._rate_per_s = rate_per_s
        self._random = random.Random(seed)
        self._seed = seed
        longest_s = max((fault.lasts_s for fault in faults), default=0.0)
        second_s = SECOND_WITHIN_S if len(faults) > 1 else 0.0
        self._parts = parts or round((LEAD_S + second_s + longest_s + TAIL_S) * rate_per_s)
        self._under_way: list[UnderWay] = []
        self._began_ns = 0
        self._scene: Scene
        self._proxy: Proxy | None = None
        self._broker: LocalKafka | None = None
        self._watch: VerdictWatch | None = None
        self._after: AfterRound

    def run(self) -> dict[str, Any]:
        """Raises what the line raises where it cannot go on."""
        for variable in SERVICES:
            os.environ.pop(variable, None)
        choose_ports()
        line = DisturbedLine(
            self._run_dir,
            plant_file=write_plant(self._run_dir / "plant"),
            rate_per_s=self._rate_per_s,
            workers={stage: count for fault in self._faults for stage, count in fault.workers.items()},
        )
        begin_s = LEAD_S
        plan = []
        for fault in self._faults:
            plan.append((begin_s, self._beginning(fault)))
            begin_s += self._random.uniform(0.0, SECOND_WITHIN_S)
        with ExitStack() as self._stack:
            self._stand_before_the_broker()
            outcome, truth = line.run(
                parts=self._parts,
                disturbances=plan,
                before=self._before,
                each_step=self._each_step,
                at_end=self._at_end,
            )
        broken = broken_rules(outcome, truth, plc_forgot=any(fault.kills_plc for fault in self._faults))
        broken += [f"out of order: {self._after.out_of_order[:5]}"] if self._after.out_of_order else []
        broken += self._after.storms
        broken += [f"the fault did not take place: {what}" for what in self._missed()]
        differences = outcome.ledger.differences
        contradicted = sum(item.kind == "contradiction" for item in differences)
        return {
            **self._times(),
            "lost": outcome.ledger.difference_count - contradicted,
            "contradicted": contradicted,
            "repeated": sum(outcome.ledger.duplicates.values()),
            "repeated_by_topic": outcome.ledger.duplicates,
            "broken": broken,
            "alerts": self._after.alerts,
            "inspections_of_next_version": self._after.of_next_version,
            "parts": outcome.report["parts"],
            "truth": outcome.report["truth"],
            "frames": outcome.report["frames"],
            "commands": outcome.report["commands"],
            "dead_letters": outcome.report["dead_letters"],
            "latency_ms": outcome.report["latency_ms"],
            "by_fail_safe": sum(bool(row["by_fail_safe"]) for row in truth.left),
            "notes": self._scene.notes,
            "load": machine_load(),
            "said": line.said,
        }

    def _stand_before_the_broker(self) -> None:
        """Puts a proxy between the broker and everybody else, where a fault needs one."""
        if any(fault.needs_proxy for fault in self._faults):
            port, proxy_port = free_ports(2)
            self._proxy = self._stack.enter_context(Proxy(port=proxy_port, target_port=port, seed=self._seed))
            self._broker = LocalKafka(self._run_dir, port, advertised_port=proxy_port)
            os.environ["KAFKA_BOOTSTRAP_SERVERS"] = f"{HOST}:{proxy_port}"

    def _before(self, demo: DemoRun) -> None:
        self._scene = Scene(demo=demo, run_dir=self._run_dir, proxy=self._proxy, broker=self._broker)
        if self._broker is not None:
            demo.line.adopt(self._broker)

    def _beginning(self, fault: Fault) -> Any:
        def begin(demo: DemoRun) -> None:
            self._began_ns = self._began_ns or time.time_ns()
            self._under_way.append(UnderWay.begin(fault, self._scene))

        return begin

    def _each_step(self, demo: DemoRun) -> None:
        if self._watch is None:
            self._watch = self._stack.enter_context(VerdictWatch(demo.plant))
        for begun in self._under_way:
            begun.look()

    def _at_end(self, demo: DemoRun) -> None:
        self._after = AfterRound(demo.plant)

    def _missed(self) -> list[str]:
        missed = list(self._scene.missed)
        if any(fault.upgrades for fault in self._faults) and self._after.of_next_version == 0:
            missed.append("the next version inspected nothing")
        return missed

    def _times(self) -> dict[str, Any]:
        assert self._watch is not None
        began_s = min(begun.began_s for begun in self._under_way)
        still = [begun.fault.name for begun in self._under_way if begun.over_s is None]
        if still:
            return {"not_over": still}
        over_s = max(begun.over_s for begun in self._under_way if begun.over_s is not None)
        first_s = self._watch.first_after_s(over_s)
        decided_s = self._watch.first_after_s(over_s, decided=True)
        until_ns = self._began_ns + round((over_s - began_s + 1.0) * 1e9)
        gap_s = self._watch.longest_gap_s(since_s=began_s, until_s=over_s + GAP_UNTIL_S)
        return {
            "fault_s": round(over_s - began_s, 2),
            "in_flight": self._after.most_in_flight(since_ns=self._began_ns, until_ns=until_ns),
            "gap_ms": None if gap_s is None else round(gap_s * 1000),
            "first_s": None if first_s is None else round(first_s, 2),
            "first_decided_s": None if decided_s is None else round(decided_s, 2),
        }


def main() -> None:
    """Runs one round and writes its row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fault", action="append", required=True, choices=list(BY_NAME))
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--parts", type=int)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--result", type=Path, required=True)
    given = parser.parse_args()
    faults = [BY_NAME[name] for name in given.fault]
    row = Round(faults, run_dir=given.run_dir, rate_per_s=given.rate, parts=given.parts, seed=given.seed).run()
    given.result.write_text(json.dumps(row, indent=1, default=str))


if __name__ == "__main__":
    main()
