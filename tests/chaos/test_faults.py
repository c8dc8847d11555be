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

AWAY_S = 20.0


def _kill(stage: str) -> Callable[[DemoRun], None]:
    return lambda demo: demo.line.children[stage].kill()


def _signal(child_of: Callable[[DemoRun], Child], number: signal.Signals) -> Callable[[DemoRun], None]:
    return lambda demo: os.kill(child_of(demo).pid, number)


def test_kill_9_of_each_stage_once(line: DisturbedLine) -> None:
    every_s = 4.0
    stages = [stage for stage in START_ORDER if stage != "backfill"]  # no recipe of the demo plant defers frames
    kills = [(3.0 + index * every_s, _kill(stage)) for index, stage in enumerate(stages)]
    outcome, truth = line.run(parts=int(4 * (every_s * len(stages) + 8)), disturbances=kills)
    assert_nothing_lost(outcome, truth)
    restarted = {text.split()[0] for text in line.said if "try 1" in text}
    assert restarted == set(stages)


def test_triton_hangs_for_20_s(line: DisturbedLine) -> None:
    outcome, truth = line.run(
        parts=160,
        disturbances=[
            (6.0, _signal(lambda demo: demo.line.triton.child, signal.SIGSTOP)),
            (6.0 + AWAY_S, _signal(lambda demo: demo.line.triton.child, signal.SIGCONT)),
        ],
    )
    assert_nothing_lost(outcome, truth)
    # while nothing can be inferred the deadline decides, and the fail-safe rejects
    assert outcome.report["parts"]["not_decidable"] > 0


def test_triton_crashes(line: DisturbedLine) -> None:
    outcome, truth = line.run(parts=100, disturbances=[(6.0, lambda demo: demo.line.triton.child.kill())])
    assert_nothing_lost(outcome, truth)


def test_broker_is_restarted(line: DisturbedLine) -> None:
    outcome, truth = line.run(parts=140, disturbances=[(8.0, lambda demo: demo.line.kafka.child.kill())])
    assert_nothing_lost(outcome, truth)


def test_plc_hangs_for_20_s(line: DisturbedLine) -> None:
    outcome, truth = line.run(
        parts=120,
        disturbances=[
            (8.0, _signal(lambda demo: demo.simulated_plant, signal.SIGSTOP)),
            (8.0 + AWAY_S, _signal(lambda demo: demo.simulated_plant, signal.SIGCONT)),
        ],
    )
    assert_nothing_lost(outcome, truth)


def test_rolling_restart_of_two_inspect_workers(line: DisturbedLine) -> None:
    line.workers = {"inspect": 2}
    outcome, truth = line.run(
        parts=40,
        disturbances=[
            (2.0, lambda demo: demo.line.restart_worker("inspect")),
            (6.0, lambda demo: demo.line.restart_worker("inspect-2")),
        ],
    )
    assert_nothing_lost(outcome, truth)
    assert [text for text in line.said if "started again" in text] == [
        "inspect started again",
        "inspect-2 started again",
    ]


def test_judge_hangs_and_is_killed_while_the_station_gateway_dies(line: DisturbedLine) -> None:
    outcome, truth = line.run(
        parts=40,
        disturbances=[
            (3.0, _signal(lambda demo: demo.line.children["judge"], signal.SIGSTOP)),
            (4.0, _kill("station-gateway")),
            (7.0, _kill("judge")),
        ],
    )
    assert_nothing_lost(outcome, truth)
    assert {text.split()[0] for text in line.said if "try 1" in text} == {"judge", "station-gateway"}
