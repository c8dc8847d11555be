"""Windows take no more memory than they may, and no figure is wrong for it."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc

import msgspec
import pytest
from statistics_log import Log
from test_comparisons_kept import PLANTS, Part, expected, through, told

from processors.statistics_panes import Panes
from processors.statistics_replay import StatisticsReplay
from processors.windows_bound import keep_within
from schemas.errors import ConfigurationError
from schemas.telemetry import Stage
from schemas.topics import PANES
from topologies.statistics_stage import Statistics

PARTS = [Part("abc"[number % 3], 100 + 5 * number, 0) for number in range(60)]
WITH_LATE_ONES = [*PARTS, *(Part("a", 101 + 40 * number, 38) for number in range(6))]
A_FEW_PARTS_BYTES = 30_000


def panes_of(parts: int, *, apart_ms: int) -> Panes:
    panes = Panes(settings=PLANTS[1].statistics, opportunities=lambda _: 0)
    for number in range(parts):
        at_ms = 100_000 + number * apart_ms
        found = Part("abc"[number % 3], 100, 0).verdict(number)
        found = msgspec.structs.replace(found, arrived_at_ns=at_ms * 1_000_000)
        panes.feed(found, offset=number, record_at_ms=at_ms)
    return panes


def test_what_is_held_is_estimated_well_enough() -> None:
    gc.collect()
    tracemalloc.start()
    panes = panes_of(8_000, apart_ms=2)
    gc.collect()
    taken_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.6 < panes.held_bytes / taken_bytes < 1.7


def test_windows_are_held_for_less_long_and_every_figure_stays_right(monkeypatch: pytest.MonkeyPatch) -> None:
    stages: list[Stage] = []
    begin = Statistics.__init__

    def small(handler: Statistics, **given: object) -> None:
        begin(handler, **given)  # type: ignore[arg-type]
        handler._windows_bytes = A_FEW_PARTS_BYTES
        stages.append(handler._stage)

    log, free = Log(1), Log(1)
    asyncio.run(through(free, PLANTS[1], WITH_LATE_ONES, [7], monkeypatch))
    monkeypatch.setattr(Statistics, "__init__", small)
    asyncio.run(through(log, PLANTS[1], WITH_LATE_ONES, [7], monkeypatch))
    noticed = stages[0].registry.get_sample_value("linesight_statistics_noticed_total", {"what": "held_for_less_long"})
    assert noticed is not None
    assert told(log) == expected(WITH_LATE_ONES)
    assert newest_counts(log) == newest_counts(free)


def newest_counts(log: Log) -> dict[str, object]:
    newest = {}
    for pane in sorted(log.of(PANES), key=lambda pane: pane.revision):
        newest[pane.id.rsplit("/", 1)[0]] = pane.counts, pane.closed
    return newest


def test_open_windows_that_take_more_are_refused_and_it_says_what_to_do() -> None:
    panes = panes_of(300, apart_ms=10)
    with pytest.raises(ConfigurationError, match=r"300 parts .* LINESIGHT_BUDGET_WINDOWS_MIB"):
        keep_within([panes], limit_bytes=50_000)


def test_a_replay_of_too_much_is_refused_rather_than_told_in_part() -> None:
    replay = StatisticsReplay(
        settings=PLANTS[1].statistics, opportunities=lambda _: 0, from_ns=0, to_ns=10**15, limit_bytes=100_000
    )

    def count(parts: list[Part]) -> None:
        for number, part in enumerate(parts):
            replay.feed(part.verdict(number), offset=number, record_at_ms=part.arrived_s * 1_000)

    count(PARTS[:5])
    with pytest.raises(ConfigurationError, match="shorter period"):
        count(PARTS * 10)
