"""A few of the pulls of `make chaos-floor` on a whole encrypted line: what the PLC executed is right and in time, and nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.chaos_floor.floor_run import FloorRun
from benchmarks.chaos_floor.pulls import KINDS, Pull
from benchmarks.chaos_floor.recovery import recoveries
from benchmarks.chaos_floor.report import broken_rules

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(420)]

SEED = 5
RATE_PER_S = 4.0


@pytest.fixture
def floor(tmp_path: Path, kafka_installed: None, triton_installed: None) -> Iterator[FloorRun]:
    """A line of its own services, whatever the environment names."""
    before = dict(os.environ)
    for variable in ("KAFKA_BOOTSTRAP_SERVERS", "TRITON_URL"):
        os.environ.pop(variable, None)
    yield FloorRun(run_dir=tmp_path / "run", rate_per_s=RATE_PER_S, seed=SEED, say=print, observed_s=3.0)
    os.environ.clear()
    os.environ.update(before)


def pull(kind: str, how: str) -> Pull:
    return next(pull for pull in KINDS[kind] if pull.how == how)


def test_a_gateway_a_certificate_the_cable_and_the_plc_are_pulled_out(floor: FloorRun) -> None:
    record = floor.run(
        [
            pull("gateway killed", "plc-gateway"),
            pull("certificate expired", "ours"),
            pull("cable cut", "nothing passes from the PLC"),
            pull("PLC restarted", "kill -9"),
        ]
    )
    assert {name: lines for name, lines in broken_rules(record).items() if lines} == {}
    assert record.outcome.ledger.balanced
    assert record.sessions[-1][1] == 0
    found = recoveries(record.pulled, record.truth, until_ns=record.until_ns)
    assert len(found) == 4
    assert all(item.after_s is not None for item in found)
    assert all(item.hit for item in found[1:3])
    assert len(record.killed_at_ns) == 1
    assert any(row["verdict"] == "OK" for row in record.truth.executed)
