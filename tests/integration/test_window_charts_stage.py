"""Charts over sliding windows, of what inspections measured, and causes compared by themselves: through the real stage and a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from broker import publish, read_to_end, until

from schemas.associations import Associations
from schemas.charts import ChartPoint
from schemas.inspections import Defect
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.reasons import FailSafe, VerdictValue
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import ASSOCIATIONS, CATALOGUE, CHARTS, VERDICTS
from schemas.verdicts import Verdict, ViewResult, verdict_id
from topologies import statistics_stage
from topologies.topic_admin import ensure_topics

S = 1_000_000_000
PARTS = 40  # two a second, one minute window
PLANT_FILE = """
plant: {name}
lines: [{{ name: line-1, stations: [{{ name: cut,
  cameras: [{{ name: top, views: [top], source: {{ type: external }} }}] }}] }}]
plcs: [{{ name: plc-1, endpoint: "opc.tcp://127.0.0.1:4840", security: none, labels: [{{ name: tool, node: s=Tool }}] }}]
recipes: [{{ name: board, views: [{{ name: top }}], inspection: {{ type: golden }}, classes: [{{ name: open }}] }}]
statistics:
  windows_ms: [1000, 20000]
  sliding: [{{ length_ms: 4000, every_ms: 2000 }}]
  by: [tool]
  grace_ms: 500
  idle_timeout_ms: 1000
  associations: [{{ window_ms: 20000 }}]
  charts:
    - {{ name: rate, figure: {{ type: not_ok }}, chart: p, over: sliding, window_ms: 4000 }}
    - {{ name: size, figure: {{ type: picture, measure: area_px, class: open }}, chart: xbar_r, subgroup: 3, window_ms: 20000 }}
kafka: {{ partitions: 2 }}
"""


@pytest.fixture
async def plant(kafka: str, monkeypatch: pytest.MonkeyPatch, unique_prefix: str, tmp_path: Path) -> Plant:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    file = tmp_path / "plant.yaml"
    file.write_text(PLANT_FILE.format(name=unique_prefix), encoding="utf-8")
    plant = load_plant(file)
    await ensure_topics(plant, kafka=KafkaSettings(), topics=CATALOGUE)
    return plant


@asynccontextmanager
async def running(plant: Plant) -> AsyncIterator[Stage]:
    stop, stage = asyncio.Event(), Stage("statistics")
    task = asyncio.create_task(statistics_stage.run(plant, plant_dir=Path(), stage=stage, stop=stop))
    try:
        yield stage
    finally:
        stop.set()
        await asyncio.wait_for(task, 15)


def part(start_ns: int, number: int) -> Verdict:
    """Half of the parts are from tool T2, of which every second one has an opening; its size is its number."""
    bad = number % 4 == 1
    found = Defect(class_name="open", score=0.9, box=(0, 0, 9, 9), area_px=float(number))
    view = ViewResult(view="top", camera="top", outcome="inspected", defects=(found,) * bad)
    at_ns = start_ns + number * S // 2
    return Verdict(
        id=verdict_id(station="cut", part_id=str(number), visit=1, revision=1), station="cut", line="line-1",
        part_id=str(number), visit=1, revision=1, verdict=VerdictValue.NOT_OK if bad else VerdictValue.OK,
        action=FailSafe.REJECT, arrived_at_ns=at_ns, decided_at_ns=at_ns, recipe="board@1",
        labels={"tool": "T2" if number % 2 else "T1"}, views=(view,),
    )  # fmt: skip


def last(points: list[ChartPoint], chart: str) -> dict[int, ChartPoint]:
    found: dict[int, ChartPoint] = {}
    for point in points:
        if point.chart == chart and point.subject == "station/cut":
            known = found.get(point.start_at_ns)
            if known is None or point.revision >= known.revision:
                found[point.start_at_ns] = point
    return found


async def test_windows_and_measurements_are_charted_causes_compared_once_and_a_review_revises_all_of_it(
    plant: Plant,
) -> None:
    settings = KafkaSettings()
    start_ns = (time.time_ns() - 300 * S) // (20 * S) * (20 * S)
    log = [("cut", part(start_ns, number)) for number in range(PARTS)]

    async def compared() -> list[Associations]:
        return await read_to_end(settings, plant, ASSOCIATIONS)

    async def sizes() -> list[float | None]:
        return [point.value for point in last(await read_to_end(settings, plant, CHARTS), "size").values()]

    async with running(plant):
        await publish(settings, plant, VERDICTS, [*log, *log[:5]])

        async def told() -> bool:
            return len(await compared()) == 1

        await until(told, "the window is compared")
        await until_equal(sizes, [5.0])  # 1, 5 and 9, the first three by arrival
    (first,) = await compared()
    assert (first.line, first.not_ok, first.decided, first.compared, first.pointed_at) == ("line-1", 10, 40, 2, 2)
    worst = next(each for each in first.levels if each.risk_ratio > 1)
    assert (worst.label, worst.level, worst.bad, worst.parts, worst.other_bad) == ("tool", "T2", 10, 20, 0)
    rates = last(await read_to_end(settings, plant, CHARTS), "rate")
    assert sorted(rates) == [start_ns + second * S for second in range(-2, 20, 2)]
    assert {rates[start_ns + second * S].size for second in range(0, 18, 2)} == {8}

    async with running(plant) as stage:  # a restart; then a person says that the first part was good
        await until(lambda: stage.ready, "the stage is back")
        view = msgspec.structs.replace(log[1][1].views[0], defects=())
        reviewed = msgspec.structs.replace(
            log[1][1], id=f"{log[1][1].id}/2", revision=2, verdict=VerdictValue.OK, views=(view,), decided_by="keller"
        )
        await publish(settings, plant, VERDICTS, [("cut", reviewed)])
        await until_equal(sizes, [9.0])  # 5, 9 and 13 now

        async def revised() -> bool:
            *_, newest = await compared()
            return newest.not_ok == 9 and {each.level: each.bad for each in newest.levels} == {"T1": 0, "T2": 9}

        await until(revised, "the comparison is revised")
    again = await compared()
    assert again[0] == first, "a restart tells nothing twice"
    assert all(later.revision > earlier.revision for earlier, later in pairwise(again))
    corrected = last(await read_to_end(settings, plant, CHARTS), "rate")
    assert [corrected[start_ns + second * S].count for second in (-2, 0, 2)] == [0, 1, 2]


async def until_equal(ask: Callable[[], Awaitable[list[float | None]]], wanted: list[float | None]) -> None:
    async def equal() -> bool:
        return await ask() == wanted

    await until(equal, f"{wanted} is told")
