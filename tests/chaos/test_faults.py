"""Faults that a plant produces, on the whole line with its real services: nothing is lost, nothing contradicts, nothing stale runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from benchmarks.chaos.disturbed_line import DisturbedLine, assert_nothing_lost
from cli.demo_run import DemoRun
from cli.local_line import START_ORDER
from ops.local.children import Child

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(420)]

AWAY_S = 10.0


def _kill(stage: str) -> Callable[[DemoRun], None]:
    return lambda demo: demo.line.children[stage].kill()


def _signal(child_of: Callable[[DemoRun], Child], number: signal.Signals) -> Callable[[DemoRun], None]:
    return lambda demo: os.kill(child_of(demo).pid, number)


def test_kill_9_of_every_process_once(line: DisturbedLine) -> None:
    """One after the other on one line: a start of the services costs more than the faults."""
    every_s = 4.0
    stages = [stage for stage in START_ORDER if stage not in ("backfill", "trainer")]  # the demo plant needs neither
    kills = [(3.0 + index * every_s, _kill(stage)) for index, stage in enumerate(stages)]
    stages_done_s = 3.0 + len(stages) * every_s
    kills.append((stages_done_s, lambda demo: demo.line.triton.child.kill()))
    kills.append((stages_done_s + 10.0, lambda demo: demo.line.kafka.child.kill()))
    outcome, truth = line.run(parts=int(4 * (stages_done_s + 30.0)), disturbances=kills)
    assert_nothing_lost(outcome, truth)
    restarted = {text.split()[0] for text in line.said if "try 1" in text}
    assert restarted == {*stages, "triton", "kafka"}


def test_triton_hangs_and_later_the_plc(line: DisturbedLine) -> None:
    plc_at_s = 6.0 + AWAY_S + 5.0
    outcome, truth = line.run(
        parts=int(4 * (plc_at_s + AWAY_S + 8.0)),
        disturbances=[
            (6.0, _signal(lambda demo: demo.line.triton.child, signal.SIGSTOP)),
            (6.0 + AWAY_S, _signal(lambda demo: demo.line.triton.child, signal.SIGCONT)),
            (plc_at_s, _signal(lambda demo: demo.simulated_plant, signal.SIGSTOP)),
            (plc_at_s + AWAY_S, _signal(lambda demo: demo.simulated_plant, signal.SIGCONT)),
        ],
    )
    assert_nothing_lost(outcome, truth)
    # while nothing can be inferred the deadline decides, and the fail-safe rejects
    assert outcome.report["parts"]["not_decidable"] > 0


def test_two_inspect_workers_are_restarted_and_the_judge_hangs_and_is_killed_while_the_station_gateway_dies(
    line: DisturbedLine,
) -> None:
    line.workers = {"inspect": 2}
    outcome, truth = line.run(
        parts=70,
        disturbances=[
            (2.0, lambda demo: demo.line.restart_worker("inspect")),
            (6.0, lambda demo: demo.line.restart_worker("inspect-2")),
            (11.0, _signal(lambda demo: demo.line.children["judge"], signal.SIGSTOP)),
            (12.0, _kill("station-gateway")),
            (15.0, _kill("judge")),
        ],
    )
    assert_nothing_lost(outcome, truth)
    assert [text for text in line.said if "started again" in text] == [
        "inspect started again",
        "inspect-2 started again",
    ]
    assert {text.split()[0] for text in line.said if "try 1" in text} == {"judge", "station-gateway"}
