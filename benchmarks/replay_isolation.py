"""Live frames with and without a replay beside them, in turn on the same processes: the replay must not be felt.

One inspect process, one backfill process, `newest_first`. A replay is frames in a session of their own (`linesight replay`), which the live
group defers and the backfill inspects while live frames go on. Measured from the broker's time of a live frame to its inspection.
"""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.frames import as_frames, board_pictures, publish
from benchmarks.inspect_worker import NotInspected, worker_process
from benchmarks.live_feed import NO_LIMIT_BYTES, Inspections, LiveFeed, age_ms
from benchmarks.options import Options
from benchmarks.results_file import Row, Section
from benchmarks.services import Services

LIVE_PER_S = 50.0
FOR_S = 20.0
WARM_S = 3.0
REPLAYED = 1500
READY_S = 60.0
DRAIN_S = 120.0


@dataclass(frozen=True, kw_only=True)
class _Round:
    """Ages of live frames at their inspection in ms, and how many replayed frames per s were inspected meanwhile."""

    p50_ms: float
    p99_ms: float
    replayed_per_s: float

    def as_json(self) -> dict[str, float]:
        return {
            "p50_ms": round(self.p50_ms, 1),
            "p99_ms": round(self.p99_ms, 1),
            "replayed_per_s": round(self.replayed_per_s, 1),
        }


def replay_isolation(services: Services, options: Options) -> Section:
    """As many rounds without a replay as with one, in turn."""
    plant = services.plants.newest_first()
    services.make_topics(plant.plant)
    pictures = board_pictures(plant.plant, plant.file.parent)
    seen = Inspections(kafka=services.kafka, plant=plant.plant)
    sessions = iter(range(1 << 20))

    def live(seconds: float, replay: str | None) -> _Round:
        session = f"live-{next(sessions)}"
        before = len(seen.of(replay)) if replay else 0
        with LiveFeed(
            kafka=services.kafka, plant=plant.plant, pictures=pictures, session=session, rate_per_s=LIVE_PER_S
        ):
            seen.look(seconds)
        seen.look(1.0)
        ages_ms = [age_ms(each) for each in seen.of(session)]
        if not ages_ms:
            raise NotInspected(f"no live frame was inspected; see {services.folder / 'logs'}")
        p50_ms, p99_ms = (float(np.percentile(ages_ms, share)) for share in (50, 99))
        replayed = len(seen.of(replay)) - before if replay else 0
        return _Round(p50_ms=p50_ms, p99_ms=p99_ms, replayed_per_s=replayed / (seconds + 1.0))

    with ExitStack() as stack:
        stack.callback(seen.close)
        for stage in ("inspect", "backfill"):
            child = worker_process(services, plant, stage=stage)
            child.start()
            stack.callback(child.stop)
        give_up_s = time.monotonic() + READY_S
        while True:
            try:
                live(WARM_S, None)
                break
            except NotInspected:
                if time.monotonic() > give_up_s:
                    raise
        alone, beside = [], []
        for number in range(options.rounds):
            alone.append(live(FOR_S, None))
            replay = f"bench+replay-{number}"
            frames = as_frames(
                pictures, count=REPLAYED, session=replay, inline_limit_bytes=NO_LIMIT_BYTES, store=services.folder
            )
            publish(frames, kafka=services.kafka, plant=plant.plant, deal_out=True)
            _await_deferral(seen, replay)
            beside.append(live(FOR_S, replay))
            options.say(
                f"live p99 {alone[-1].p99_ms:.0f} ms alone, {beside[-1].p99_ms:.0f} ms beside a replay "
                f"of {beside[-1].replayed_per_s:.0f} frames/s"
            )
            _await_backfill(seen, replay)
    return Section(rows=_rows(alone, beside), raw=_raw(alone, beside))


def _await_deferral(seen: Inspections, replay: str) -> None:
    """Until the live group has passed the replay on."""
    give_up_s = time.monotonic() + DRAIN_S
    while (deferred := sum(each.session == replay and each.is_deferral for each in seen.found)) < REPLAYED:
        if time.monotonic() > give_up_s:
            raise NotInspected(f"{deferred} of {REPLAYED} replayed frames were deferred in time")
        seen.look(0.2)


def _await_backfill(seen: Inspections, replay: str) -> None:
    """Until the replay is over, so that the next round begins without one."""
    give_up_s = time.monotonic() + DRAIN_S
    while len(seen.of(replay)) < REPLAYED:
        if time.monotonic() > give_up_s:
            raise NotInspected(f"{len(seen.of(replay))} of {REPLAYED} replayed frames were inspected in time")
        seen.look(0.5)


def _rows(alone: list[_Round], beside: list[_Round]) -> list[Row]:
    without_ms = statistics.median(each.p99_ms for each in alone)
    with_ms = statistics.median(each.p99_ms for each in beside)
    replayed = statistics.median(each.replayed_per_s for each in beside)
    return [
        Row(name=f"live p99 at {LIVE_PER_S:g} frames/s, no replay", value=round(without_ms, 1), unit="ms"),
        Row(name="live p99 with a replay running", value=round(with_ms, 1), unit="ms"),
        Row(name="live p99, with / without a replay", value=round(with_ms / without_ms, 3), unit="ratio"),
        Row(name="replayed meanwhile", value=round(replayed, 1), unit="frames/s"),
    ]


def _raw(alone: list[_Round], beside: list[_Round]) -> dict[str, Any]:
    return {
        "alone": [each.as_json() for each in alone],
        "beside_a_replay": [each.as_json() for each in beside],
        "live_per_s": LIVE_PER_S,
    }
