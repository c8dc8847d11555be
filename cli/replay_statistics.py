"""`linesight replay statistics`: counts history again and sends what differs as revisions; the live windows go on undisturbed."""

from __future__ import annotations

from typing import NamedTuple

from cli.following import Follower
from cli.producing import Sender
from cli.report_source import CLOCK_MARGIN_MS
from processors.period_report import Period
from processors.statistics_replay import StatisticsReplay
from processors.windows_bound import require_within
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.settings import BudgetSettings, KafkaSettings
from schemas.statistics import Pane
from schemas.topics import PANES, VERDICTS

COUNTED_AT_ONCE = 1_000
AT_ONCE = 1_000
"""Panes that are sent before the broker's word is waited for."""


class Replayed(NamedTuple):
    """How many verdicts were counted, and the panes that differ from what was told before."""

    verdicts: int
    panes: list[Pane]


def replay_statistics(plant: Plant, kafka: KafkaSettings, period: Period, *, now_ms: int) -> Replayed:
    """Counts the windows of a period again. Raises ConfigurationError where verdicts of it are gone, or are more than can be counted
    at once; ServiceAway."""
    limit_bytes = BudgetSettings().windows_bytes
    from_ms = period.from_ns // NS_PER_MS - CLOCK_MARGIN_MS
    opportunities = {recipe.key: recipe.opportunities_per_part for recipe in plant.recipes}
    replays: dict[int, StatisticsReplay] = {}
    ends: dict[int, int] = {}
    counted = 0
    with Follower(plant=plant, settings=kafka, topics=(VERDICTS,), from_ms=from_ms) as follower:
        follower.require_from(period.from_ns // NS_PER_MS)
        for seen in follower.drain():
            replay = replays.setdefault(
                seen.partition,
                StatisticsReplay(
                    settings=plant.statistics,
                    opportunities=lambda recipe: opportunities.get(recipe, 0),
                    from_ns=period.from_ns,
                    to_ns=period.to_ns,
                    limit_bytes=limit_bytes,
                ),
            )
            ends[seen.partition] = seen.offset + 1
            if seen.message is not None:
                replay.feed(seen.message, offset=seen.offset, record_at_ms=seen.at_ms)
                counted += period.holds(seen.message.arrived_at_ns)
                if counted % COUNTED_AT_ONCE == 0:
                    require_within([each.panes for each in replays.values()], limit_bytes=limit_bytes)
    with Follower(plant=plant, settings=kafka, topics=(PANES,), from_ms=from_ms) as follower:
        for seen in follower.drain():
            if seen.message is not None and period.holds(seen.message.start_at_ns):
                for replay in replays.values():  # the panes of a station's partition lie in that of its line
                    replay.told_before(seen.message)
    for replay in replays.values():
        replay.clock_at(now_ms * NS_PER_MS)
    panes = [pane for number in sorted(replays) for pane in replays[number].corrections(end_offset=ends[number])]
    return Replayed(counted, panes)


def send(plant: Plant, kafka: KafkaSettings, panes: list[Pane]) -> None:
    """Sends the panes; the statistics stage makes the figures of stations and lines from them."""
    with Sender(plant=plant, kafka=kafka) as sender:
        for start in range(0, len(panes), AT_ONCE):
            sender.send([(PANES, pane.line, pane) for pane in panes[start : start + AT_ONCE]])
