"""What `make soak` calls growth: a leak is told apart from noise and from the filling of a cache."""

from __future__ import annotations

import os
import random

import pytest

from benchmarks.process_sample import sample
from benchmarks.soak import Slope, p99_rows, slope_of, slope_row

RUN_S = 1200
NOISE_MIB = 3.0


def memory(*, leak_mib_per_h: float, cache_mib: float = 0.0, level_mib: float = 80.0) -> list[tuple[float, float]]:
    """A value a second: noise, a leak, and a cache that is full after a quarter of the run."""
    chance = random.Random(1)
    return [
        (
            float(second),
            level_mib
            + leak_mib_per_h * second / 3600
            + cache_mib * min(1.0, second / (RUN_S / 4))
            + chance.gauss(0, NOISE_MIB),
        )
        for second in range(RUN_S)
    ]


@pytest.mark.parametrize(
    ("points", "met"),
    [
        (memory(leak_mib_per_h=0), True),
        (memory(leak_mib_per_h=0, cache_mib=30), True),
        (memory(leak_mib_per_h=60), False),
        (memory(leak_mib_per_h=60, level_mib=2000), True),  # 3 % of its level an hour
    ],
    ids=["noise", "cache", "leak", "small beside its level"],
)
def test_a_leak_is_told_from_noise_and_from_a_cache(points: list[tuple[float, float]], met: bool) -> None:
    assert slope_row("judge", "memory_mib", slope_of(points)).met is met


def test_a_handle_a_minute_is_a_leak_and_a_java_heap_has_its_own_bound() -> None:
    handles = [(float(second), 40 + second // 60) for second in range(RUN_S)]
    assert slope_row("judge", "files", slope_of(handles)).met is False
    assert slope_row("judge", "files", slope_of([(at_s, 40) for at_s, _ in handles])).met is True
    growing = Slope(level=300, middle=900, low=800, high=1000)
    assert slope_row("kafka", "memory_mib", growing).met is None


def test_the_last_quarter_is_held_against_the_first_in_the_order_of_the_triggers() -> None:
    steady = [(number, 50.0 + number % 7) for number in range(400)]
    assert p99_rows(random.Random(2).sample(steady, len(steady)))[-1].met is True
    slowing = [(number, 50.0 + number) for number in range(400)]
    assert p99_rows(slowing)[-1].met is False


def test_a_process_holds_memory_files_and_threads() -> None:
    found = sample(os.getpid())
    assert found is not None
    assert found.memory_mib > 1
    assert found.files > found.sockets >= 0
    assert found.threads >= 1
