"""Faults that a plant produces, on the whole line with its real services: nothing is lost, nothing contradicts, nothing stale runs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from benchmarks.chaos.disturbed_line import DisturbedLine, assert_nothing_lost
from cli.demo_run import DemoRun
from cli.local_line import START_ORDER
from ops.local.children import Child
from schemas.reasons import VerdictValue

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(420)]

AWAY_S = 10.0
DEADLINE_NS = 1_000_000_000
"""Of the demo plant's recipes."""


def _kill(stage: str) -> Callable[[DemoRun], None]:
    return lambda demo: demo.line.children[stage].kill()


def _signal(child_of: Callable[[DemoRun], Child], number: signal.Signals) -> Callable[[DemoRun], None]:
    return lambda demo: os.kill(child_of(demo).pid, number)


def test_kill_9_of_every_process_once(line: DisturbedLine) -> None:
    """One after the other on one line: a start of the services costs more than the faults."""
    every_s = 3.0
    stages = [stage for stage in START_ORDER if stage not in ("backfill", "trainer")]  # the demo plant needs neither
    kills = [(3.0 + index * every_s, _kill(stage)) for index, stage in enumerate(stages)]
    stages_done_s = 3.0 + len(stages) * every_s
    kills.append((stages_done_s, lambda demo: demo.line.triton.child.kill()))
    kills.append((stages_done_s + 8.0, lambda demo: demo.line.kafka.child.kill()))
    outcome, truth = line.run(parts=int(4 * (stages_done_s + 24.0)), disturbances=kills)
    assert_nothing_lost(outcome, truth)
    restarted = {text.split()[0] for text in line.said if "try 1" in text}
    assert restarted == {*stages, "triton", "kafka"}


def test_workers_are_restarted_and_the_judge_triton_and_the_plc_hang_one_after_the_other(line: DisturbedLine) -> None:
    """The judge hangs and is killed while the station gateway dies; Triton and the PLC come to themselves again."""
    line.workers = {"inspect": 2}
    triton_at_s = 20.0
    triton_hung_ns: list[int] = []

    def hang_triton(number: signal.Signals) -> Callable[[DemoRun], None]:
        def act(demo: DemoRun) -> None:
            os.kill(demo.line.triton.child.pid, number)
            triton_hung_ns.append(time.time_ns())

        return act

    plc_at_s = triton_at_s + AWAY_S + 5.0
    outcome, truth = line.run(
        parts=int(4 * (plc_at_s + AWAY_S + 8.0)),
        disturbances=[
            (2.0, lambda demo: demo.line.restart_worker("inspect")),
            (6.0, lambda demo: demo.line.restart_worker("inspect-2")),
            (11.0, _signal(lambda demo: demo.line.children["judge"], signal.SIGSTOP)),
            (12.0, _kill("station-gateway")),
            (15.0, _kill("judge")),
            (triton_at_s, hang_triton(signal.SIGSTOP)),
            (triton_at_s + AWAY_S, hang_triton(signal.SIGCONT)),
            (plc_at_s, _signal(lambda demo: demo.simulated_plant, signal.SIGSTOP)),
            (plc_at_s + AWAY_S, _signal(lambda demo: demo.simulated_plant, signal.SIGCONT)),
        ],
    )
    assert_nothing_lost(outcome, truth)
    # while nothing can be inferred the deadline decides, and the fail-safe rejects
    hung_ns, back_ns = triton_hung_ns
    blind = {part for part, at_ns in truth.arrived_at_ns.items() if hung_ns < at_ns < back_ns - 2 * DEADLINE_NS}
    said = {row["verdict"] for row in truth.executed if (row["part_id"], row["visit"]) in blind}
    assert said == {VerdictValue.NOT_DECIDABLE}
    assert [text for text in line.said if "started again" in text] == [
        "inspect started again",
        "inspect-2 started again",
    ]
    assert {text.split()[0] for text in line.said if "try 1" in text} == {"judge", "station-gateway"}
