"""A review of last week reads the log back, and nothing that is live waits for it."""

from __future__ import annotations

import pytest
from statistics_log import Log, LoggedStage
from test_comparisons_kept import PLANTS, Part

from schemas.statistics import Pane
from schemas.topics import PANES, VERDICTS

S = 1_000_000_000


def closed(log: Log, start_s: int) -> list[tuple[int, int]]:
    """How often the window of twenty seconds from there on was told closed: good and bad parts each time."""
    found: list[Pane] = [each for each in log.of(PANES) if each.closed and each.revision > 0 and not each.by]
    wanted = [each for each in found if (each.start_at_ns, each.window_ms) == (start_s * S, 20_000)]
    return [(each.counts.ok, each.counts.not_ok) for each in wanted]


async def told_with_a_review(log: Log, patched: pytest.MonkeyPatch) -> LoggedStage:
    """A stage that counted a part at 100 s, went on to 1,000 s, and was given a review of the first part while nobody can read back."""
    stage = LoggedStage(PLANTS[1], log, patched)
    await stage.start()
    for number, arrived_s in enumerate((100, 1_000, 1_060)):
        log.now_ms = arrived_s * 1_000
        log.append(VERDICTS, "a", Part("a", arrived_s, 0).verdict(number))
        await stage.deliver(VERDICTS, 0, most=1)
        await stage.tick()
        await stage.tick()
    assert closed(log, 100) == [(1, 0)]
    log.readable.clear()
    log.append(VERDICTS, "a", Part("a", 100, 0, revision=3).verdict(0))  # it was bad
    await stage.deliver(VERDICTS, 0, most=1)
    await stage.tick()
    return stage


async def test_live_windows_close_while_a_review_of_old_parts_is_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(1)
    stage = await told_with_a_review(log, monkeypatch)
    for number, arrived_s in ((10, 1_065), (11, 1_130)):
        log.now_ms = arrived_s * 1_000
        log.append(VERDICTS, "b", Part("b", arrived_s, 0).verdict(number))
        await stage.deliver(VERDICTS, 0, most=1)
        await stage.tick()
        await stage.tick()
    assert closed(log, 1_060) == [(0, 1), (1, 0)]  # of both stations: the line went on
    assert closed(log, 100) == [(1, 0)]
    assert log.committed_offsets[VERDICTS.name, 0] == 3, "the review is not done with"
    log.readable.set()
    await stage.read()
    await stage.tick()
    await stage.tick()
    assert closed(log, 100) == [(1, 0), (0, 1)]
    assert log.committed_offsets[VERDICTS.name, 0] == 6
    await stage.handler.drain(frozenset({0}))


async def test_a_crash_while_it_reads_back_loses_no_review(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(1)
    stage = await told_with_a_review(log, monkeypatch)
    log.readable.set()
    await stage.crash()
    await stage.to_the_end()
    assert closed(log, 100)[-1] == (0, 1)
    assert log.committed_offsets[VERDICTS.name, 0] == 4
    await stage.handler.drain(frozenset({0}))


async def test_reviews_that_come_while_it_reads_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(1)
    stage = await told_with_a_review(log, monkeypatch)
    for revision in range(4, 24):
        log.append(VERDICTS, "a", Part("a", 100, 0, revision=revision).verdict(0))
        await stage.deliver(VERDICTS, 0, most=1)
        await stage.tick()
    log.readable.set()
    await stage.read()
    await stage.tick()
    await stage.tick()
    assert len(closed(log, 100)) <= 3, "once as told, once for the first review, once for all others"
    await stage.handler.drain(frozenset({0}))
