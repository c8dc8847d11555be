"""A million verdicts counted again in one process, held against a recount that shares no code with it; and what state costs."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections import Counter
from typing import NamedTuple

import psutil

from benchmarks.statistics_feed import START_NS, verdicts
from processors.statistics_panes import Panes
from processors.statistics_replay import StatisticsReplay
from schemas.codec import decode, encode
from schemas.message import NS_PER_S
from schemas.settings import BudgetSettings
from schemas.statistics_settings import StatisticsSettings
from schemas.topics import VERDICTS

OPPORTUNITIES = 216
PARTS_PER_S = 1_000.0
FOUR_WINDOWS = (10_000, 60_000, 600_000, 3_600_000)
MIB = 1 << 20


class Replayed(NamedTuple):
    """Verdicts counted per second, decoding included; memory at the end; windows that differ from the recount."""

    per_s: float
    seconds: float
    rss_mib: float
    windows: int
    differ: int


def replayed(count: int, settings: StatisticsSettings) -> Replayed:
    """Encodes the verdicts in blocks, so that only decoding and counting are timed, and only they use memory for long."""
    seconds_of_parts = int(count / PARTS_PER_S) + 7_200
    replay = StatisticsReplay(
        settings=settings,
        opportunities=lambda _: OPPORTUNITIES,
        from_ns=START_NS,
        to_ns=START_NS + seconds_of_parts * NS_PER_S,
        limit_bytes=BudgetSettings().windows_bytes,
    )
    newest: dict[str, tuple[int, int, bool, int]] = {}
    seconds, offset = 0.0, 0
    block = []
    for number, verdict in enumerate(verdicts(count, parts_per_s=PARTS_PER_S), 1):
        defects = sum(len(view.defects) for view in verdict.views)
        known = newest.get(verdict.part_id)
        if known is None or verdict.revision > known[0]:
            newest[verdict.part_id] = (verdict.revision, verdict.arrived_at_ns, verdict.verdict.value == "OK", defects)
        block.append(encode(VERDICTS, verdict))
        if len(block) == 10_000 or number == count:
            began_s = time.perf_counter()
            for record in block:
                message = decode(VERDICTS, record.value, record.headers)
                replay.feed(message, offset=offset, record_at_ms=message.decided_at_ns // 1_000_000)
                offset += 1
            seconds += time.perf_counter() - began_s
            block.clear()
    began_s = time.perf_counter()
    replay.clock_at(START_NS + 2 * seconds_of_parts * NS_PER_S)
    told = replay.corrections(end_offset=offset)
    seconds += time.perf_counter() - began_s
    rss_mib = psutil.Process().memory_info().rss / MIB
    found = {
        (pane.window_ms, pane.start_at_ns): (pane.counts.parts, pane.counts.ok, pane.counts.defects)
        for pane in told
        if not pane.by
    }
    expected = _recount(newest, settings)
    differ = sum(found.get(key) != value for key, value in expected.items()) + len(found.keys() - expected.keys())
    return Replayed(count / seconds, seconds, rss_mib, len(told), differ)


def _recount(
    newest: dict[str, tuple[int, int, bool, int]], settings: StatisticsSettings
) -> dict[tuple[int, int], tuple[int, ...]]:
    parts: Counter[tuple[int, int]] = Counter()
    good: Counter[tuple[int, int]] = Counter()
    defects: Counter[tuple[int, int]] = Counter()
    for _, at_ns, ok, number in newest.values():
        for length_ms in settings.windows_ms:
            key = (length_ms, at_ns // (length_ms * 1_000_000) * length_ms * 1_000_000)
            parts[key] += 1
            good[key] += ok
            defects[key] += number
    return {key: (parts[key], good[key], defects[key]) for key in parts}


class State(NamedTuple):
    """What the windows of many stations cost."""

    panes: int
    parts: int
    mib: float


def state(stations: int) -> State:
    """Memory of `stations` x 20 classes x 4 windows: 50 parts at each station, each with a defect, of every class in turn."""
    settings = StatisticsSettings(windows_ms=FOUR_WINDOWS)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    panes = Panes(settings=settings, opportunities=lambda _: OPPORTUNITIES)
    for offset, verdict in enumerate(verdicts(50 * stations, stations=stations, parts_per_s=10_000, bad_every=1)):
        panes.feed(verdict, offset=offset, record_at_ms=verdict.decided_at_ns // 1_000_000)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return State(panes.windows_held, panes.parts_held, (after - before) / MIB)
