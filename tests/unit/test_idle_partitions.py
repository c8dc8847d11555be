"""A partition is idle when nothing comes; a backlog, however old, is not."""

from __future__ import annotations

from processors.idle_partitions import IdlePartitions

S = 1_000_000_000


def test_a_partition_is_idle_when_nothing_came_for_the_timeout() -> None:
    partitions = IdlePartitions(timeout_ms=5_000)
    assert [partitions.idle([0, 1], now_ns=second * S) for second in (100, 104, 105)] == [[], [], [0, 1]]


def test_one_that_is_being_read_is_not_idle_and_the_other_is() -> None:
    partitions = IdlePartitions(timeout_ms=5_000)
    found = []
    for second in range(100, 112):
        partitions.took(0)
        found.append(partitions.idle([0, 1], now_ns=second * S))
    assert found == [[]] * 5 + [[1]] * 7
    assert [partitions.idle([0], now_ns=second * S) for second in (112, 115, 116)] == [[], [], [0]]


def test_one_that_comes_back_is_not_idle_at_once() -> None:
    partitions = IdlePartitions(timeout_ms=5_000)
    partitions.idle([0], now_ns=100 * S)
    partitions.forget(0)
    assert partitions.idle([0], now_ns=200 * S) == []
