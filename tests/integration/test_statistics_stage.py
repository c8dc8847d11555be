"""The statistics stage on a real broker: what subscribers read equals a recount of the verdicts, restarts included."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from broker import committed, publish, publish_raw, read_to_end, until

from cli.replay_statistics import replay_statistics, send
from processors.period_report import Period
from schemas.plant import Camera, ExternalSource, KafkaLayout, Line, Plant, Station
from schemas.reasons import FailSafe, VerdictValue
from schemas.recipes import DefectClass, GoldenInspection, Recipe, View
from schemas.settings import KafkaSettings
from schemas.statistics import WindowStatistics
from schemas.statistics_settings import StatisticsSettings
from schemas.telemetry import Stage
from schemas.topics import DEAD_LETTERS, PANES, STATISTICS, VERDICTS
from schemas.verdicts import Verdict, verdict_id
from topologies.statistics_stage import run
from topologies.topic_admin import ensure_topics

S = 1_000_000_000
MINUTE_MS = 60_000
STATIONS = ("cut", "drill", "coat")


def plant_named(name: str) -> Plant:
    return Plant(
        plant=name,
        lines=(
            Line(
                name="line-1",
                stations=tuple(
                    Station(name=s, cameras=(Camera(name=f"{s}-top", views=("top",), source=ExternalSource()),))
                    for s in STATIONS
                ),
            ),
        ),
        recipes=(
            Recipe(
                name="board",
                views=(View(name="top"),),
                inspection=GoldenInspection(),
                classes=(DefectClass(name="open"),),
                opportunities_per_part=4,
            ),
        ),
        statistics=StatisticsSettings(windows_ms=(1_000, MINUTE_MS), grace_ms=500, idle_timeout_ms=1_000),
        kafka=KafkaLayout(partitions=4),
    )


def verdict(
    station: str, number: int, *, at_ns: int, value: VerdictValue = VerdictValue.OK, revision: int = 1
) -> tuple[str, Verdict]:
    return station, Verdict(
        id=verdict_id(station=station, part_id=str(number), visit=1, revision=revision),
        station=station,
        line="line-1",
        part_id=str(number),
        visit=1,
        revision=revision,
        verdict=value,
        action=FailSafe.REJECT,
        arrived_at_ns=at_ns,
        decided_at_ns=at_ns,
        recipe="board@1",
    )


@pytest.fixture
def settings(kafka: str, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    return KafkaSettings()


@pytest.fixture
async def plant(settings: KafkaSettings, unique_prefix: str) -> Plant:
    plant = plant_named(unique_prefix)
    await ensure_topics(plant, kafka=settings, topics=(VERDICTS, PANES, STATISTICS, DEAD_LETTERS))
    return plant


@asynccontextmanager
async def running(plant: Plant) -> AsyncIterator[Stage]:
    stop, stage = asyncio.Event(), Stage("statistics")
    task = asyncio.create_task(run(plant, plant_dir=Path(), stage=stage, stop=stop))
    try:
        yield stage
    finally:
        stop.set()
        await asyncio.wait_for(task, 12)


def newest(found: list[Any]) -> dict[tuple[str, str, int, int], WindowStatistics]:
    """The figures that hold. One id with two contents would be a lie."""
    by_id: dict[str, WindowStatistics] = {}
    final: dict[tuple[str, str, int, int], WindowStatistics] = {}
    for item in found:
        assert by_id.setdefault(item.id, item) == item, "one id, two contents"
        if item.by:
            continue
        key = (item.scope, item.name, item.window_ms, item.start_at_ns)
        if key not in final or item.revision > final[key].revision:
            final[key] = item
    return final


def totals(found: list[Any], *, window_ms: int) -> dict[str, tuple[int, int]]:
    """Parts and NOT_OK by station or line, over all windows of a length."""
    sums: dict[str, tuple[int, int]] = {}
    for (_, name, length_ms, _), item in newest(found).items():
        if length_ms == window_ms:
            parts, not_ok = sums.get(name, (0, 0))
            sums[name] = (parts + item.counts.parts, not_ok + item.counts.not_ok)
    return sums


async def test_figures_of_stations_and_the_line_equal_a_recount_and_windows_close_when_the_line_pauses(
    settings: KafkaSettings, plant: Plant
) -> None:
    start_ns = time.time_ns() - 3 * S
    parts = [
        verdict(s, n, at_ns=start_ns + n * S // 20, value=VerdictValue.NOT_OK if n % 10 == 0 else VerdictValue.OK)
        for n in range(60)
        for s in STATIONS
    ]
    await publish(settings, plant, VERDICTS, [*parts, *parts[:30]])  # some twice
    expected = {**dict.fromkeys(STATIONS, (60, 6)), "line-1": (180, 18)}

    async def complete() -> bool:
        found = await read_to_end(settings, plant, STATISTICS)
        return totals(found, window_ms=1_000) == expected and all(
            item.closed for item in newest(found).values() if item.window_ms == 1_000
        )

    async with running(plant) as stage:
        await until(complete, "all one-second windows are complete and closed")
        assert stage.ready
        assert stage.registry.get_sample_value("linesight_statistics_noticed_total", {"what": "duplicate"}) == 30
    found = await read_to_end(settings, plant, STATISTICS)
    assert totals(found, window_ms=MINUTE_MS) == expected
    line = next(item for item in newest(found).values() if item.scope == "line" and item.counts.parts >= 60)
    assert line.dpmo == 0.0
    assert line.p_chart is not None


async def test_a_restart_goes_on_where_the_windows_were_and_tells_no_revision_twice_with_another_content(
    settings: KafkaSettings, plant: Plant
) -> None:
    start_ns = time.time_ns() // (MINUTE_MS * 10**6) * (MINUTE_MS * 10**6)  # one minute window, however long this takes
    for chapter in range(3):
        await publish(
            settings,
            plant,
            VERDICTS,
            [verdict(s, n, at_ns=start_ns + n) for n in range(chapter * 40, chapter * 40 + 40) for s in STATIONS],
        )
        async with running(plant):

            async def counted(parts: int = 40 * (chapter + 1)) -> bool:
                found = await read_to_end(settings, plant, STATISTICS)
                return totals(found, window_ms=MINUTE_MS).get("line-1") == (3 * parts, 0)

            await until(counted, f"chapter {chapter} is counted with the earlier ones")
    assert await committed(settings, f"{plant.plant}.statistics") >= 360


async def test_a_review_of_an_old_part_corrects_windows_that_are_not_held_any_more(
    settings: KafkaSettings, plant: Plant
) -> None:
    old_ns = time.time_ns() - 3600 * S
    async with running(plant) as stage:
        await publish(settings, plant, VERDICTS, [verdict(s, n, at_ns=old_ns + n) for n in range(10) for s in STATIONS])
        now_ns = time.time_ns()
        await publish(settings, plant, VERDICTS, [verdict(s, n, at_ns=now_ns) for n in range(10, 20) for s in STATIONS])

        async def first() -> bool:
            found = await read_to_end(settings, plant, STATISTICS)
            return totals(found, window_ms=MINUTE_MS).get("line-1") == (60, 0)

        await until(first, "all parts are counted")
        review = verdict("drill", 3, at_ns=old_ns + 3, value=VerdictValue.NOT_OK, revision=2)
        await publish(settings, plant, VERDICTS, [review])

        async def corrected() -> bool:
            found = await read_to_end(settings, plant, STATISTICS)
            return totals(found, window_ms=MINUTE_MS).get("line-1") == (60, 1)

        await until(corrected, "the review is counted")
        assert stage.registry.get_sample_value("linesight_statistics_noticed_total", {"what": "recounted"}) == 1
    found = await read_to_end(settings, plant, STATISTICS)
    assert totals(found, window_ms=MINUTE_MS) == {"cut": (20, 0), "drill": (20, 1), "coat": (20, 0), "line-1": (60, 1)}
    assert totals(found, window_ms=1_000)["line-1"] == (60, 1)


async def test_a_replay_adds_what_the_plant_file_did_not_ask_for_before_and_the_second_one_adds_nothing(
    settings: KafkaSettings, plant: Plant
) -> None:
    start_ns = (time.time_ns() - 1800 * S) // (60 * S) * 60 * S
    period = Period(start_ns, start_ns + 60 * S)
    lots = [
        (key, msgspec.structs.replace(item, batch=f"lot-{n % 2}"))
        for n, (key, item) in enumerate(verdict(s, n, at_ns=start_ns + n) for n in range(10) for s in STATIONS)
    ]
    async with running(plant):
        await publish(settings, plant, VERDICTS, lots)

        async def counted() -> bool:
            found = newest(await read_to_end(settings, plant, STATISTICS)).values()
            return any(each.scope == "line" and each.counts.parts == 30 and each.closed for each in found)

        await until(counted, "the past is counted and closed")
        assert not replay_statistics(plant, settings, period, now_ms=time.time_ns() // 10**6).panes
        wiser = msgspec.structs.replace(plant, statistics=msgspec.structs.replace(plant.statistics, by=("batch",)))
        replayed = replay_statistics(wiser, settings, period, now_ms=time.time_ns() // 10**6)
        assert {(pane.by, pane.level) for pane in replayed.panes} == {("batch", "lot-0"), ("batch", "lot-1")}
        send(wiser, settings, replayed.panes)

        async def told() -> bool:
            found = await read_to_end(settings, plant, STATISTICS)
            by_lot = {(e.level, e.window_ms): e.counts.parts for e in found if e.scope == "line" and e.by == "batch"}
            return by_lot.get(("lot-0", MINUTE_MS)) == by_lot.get(("lot-1", MINUTE_MS)) == 15

        await until(told, "figures of the lines by batch are told")
    assert not replay_statistics(wiser, settings, period, now_ms=time.time_ns() // 10**6).panes


async def test_a_verdict_that_cannot_be_read_goes_to_the_dead_letters_and_counts_nowhere(
    settings: KafkaSettings, plant: Plant
) -> None:
    await publish_raw(settings, plant, VERDICTS, [("cut", b"\xc1", [("schema", b"Verdict/1")])])
    await publish(settings, plant, VERDICTS, [verdict("cut", 1, at_ns=time.time_ns())])

    async def counted() -> bool:
        return totals(await read_to_end(settings, plant, STATISTICS), window_ms=MINUTE_MS).get("cut") == (1, 0)

    async with running(plant):
        await until(counted, "the good one is counted")
    (letter,) = await read_to_end(settings, plant, DEAD_LETTERS)
    assert (letter.reason, letter.stage, letter.value) == ("truncated", "statistics", b"\xc1")
