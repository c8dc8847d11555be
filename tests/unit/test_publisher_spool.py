"""With no broker at all: what is submitted is on disk soon, the next life has it, and bounds cost frames by name."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateways import outbox, spool_lane
from gateways.outbox import Fate
from gateways.publisher import RecordPublisher
from gateways.spool import open_spool
from gateways.spool_lane import Lane
from schemas.codec import decode
from schemas.errors import ServiceAway
from schemas.frames import Frame, ImageEncoding, Manifest, frame_id
from schemas.plc_events import PartLeft
from schemas.sensors import SensorReading
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import FRAMES, MANIFESTS, MIB_BYTES, PLC_EVENTS, SENSORS


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINESIGHT_SPOOL_DIR", str(tmp_path))
    monkeypatch.setenv("LINESIGHT_SPOOL_KEEP_FREE_PERCENT", "0")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")


def publisher(stage: Stage, *, budget_bytes: int = MIB_BYTES) -> RecordPublisher:
    spool = open_spool(plant="p", stage=stage)
    return RecordPublisher(plant="p", stage=stage, kafka=KafkaSettings(), budget_bytes=budget_bytes, spool=spool)


def event(number: int) -> PartLeft:
    return PartLeft(
        id=f"s/{number}/left",
        station="s",
        part_id=str(number),
        visit=1,
        lane="good",
        by_fail_safe=False,
        occurred_at_ns=1,
    )


def frame(sequence: int, *, session: str = "t", size: int = 1000) -> Frame:
    return Frame(
        id=frame_id(camera="c", session=session, sequence=sequence), station="s", camera="c", view="v", session=session,
        sequence=sequence, part_id="p", visit=1, recipe="r@1", captured_at_ns=1, encoding=ImageEncoding.PNG, width_px=1,
        height_px=1, size_bytes=size, sha256="", image=bytes(size),
    )  # fmt: skip


def reading(number: int) -> SensorReading:
    return SensorReading(
        id=f"asset/c/t/{number}", asset="asset", channel="c", session="t", sequence=number, measured_at_ns=1, unit="mm",
        waveform=bytes(10_000), sample_rate_hz=1.0,
    )  # fmt: skip


def shown(stage: Stage, metric: str, **labels: str) -> float:
    return stage.registry.get_sample_value(f"linesight_{stage.name}_{metric}", labels) or 0.0


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def test_what_is_submitted_is_told_spooled_and_the_next_life_has_it_in_order() -> None:
    stage, fates = Stage("station_gateway"), list[tuple[int, Fate]]()
    async with publisher(stage) as first:
        for number in range(50):
            first.submit(PLC_EVENTS, "s", event(number), tell=lambda fate, number=number: fates.append((number, fate)))
            first.submit(FRAMES, "c", frame(number), tell=lambda _fate: None, droppable=True)
        assert await first.drained(within_s=30)
        assert fates == [(number, Fate.SPOOLED) for number in range(50)]
        await until(lambda: shown(stage, "spool_records") == 100)
        assert shown(stage, "spool_in_total", topic="plc-events") == 50
        assert shown(stage, "spool_bytes") > 50_000
        assert shown(stage, "spool_limit_bytes") == 8192 * MIB_BYTES
    second = publisher(Stage("station_gateway"))
    assert [found.part_id for found in second.left_over(PLC_EVENTS)] == [str(number) for number in range(50)]
    async with second:
        pass


async def test_what_is_in_memory_when_it_stops_goes_to_disk() -> None:
    fates: list[Fate] = []
    async with publisher(Stage("plc_gateway"), budget_bytes=0) as first:
        first.submit(PLC_EVENTS, "s", event(1), tell=fates.append)
    assert fates == [Fate.SPOOLED]
    second = publisher(Stage("plc_gateway"), budget_bytes=0)
    assert [found.part_id for found in second.left_over(PLC_EVENTS)] == ["1"]
    async with second:
        pass


async def test_keeping_ends_on_disk_and_publishing_only_at_the_broker() -> None:
    async with publisher(Stage("plc_gateway")) as first:
        await asyncio.wait_for(first.keep(PLC_EVENTS, "s", event(1)), 30)
        publishing = asyncio.create_task(first.publish(PLC_EVENTS, "s", event(2)))
        await asyncio.wait_for(first.keep(PLC_EVENTS, "s", event(3)), 30)
        assert not publishing.done()
    with pytest.raises(ServiceAway):
        await publishing


async def test_over_the_bound_frames_end_in_manifests_and_are_counted_whoever_took_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LINESIGHT_SPOOL_MAX_MIB", "1")
    async with publisher(Stage("station_gateway")) as first:
        for number in range(60):
            first.submit(FRAMES, "c", frame(number, size=10_000), tell=lambda _fate: None, droppable=True)
        assert await first.drained(within_s=30)
    stage = Stage("station_gateway")
    async with publisher(stage) as second:
        for number in range(140):
            second.submit(FRAMES, "c", frame(number, session="u", size=10_000), tell=lambda _f: None, droppable=True)
        assert await second.drained(within_s=30)
        await until(lambda: shown(stage, "dropped_total", reason="spool_full") > 60)
    third = publisher(Stage("station_gateway"))
    named = third.left_over(MANIFESTS)
    gone = set(_sequences(named))
    left = {
        (found.session, found.sequence)
        for record in third._spool.droppable.waiting()  # type: ignore[union-attr]
        if (found := decode(FRAMES, record.value, record.envelope.headers))
    }
    assert gone | left == {("t", number) for number in range(60)} | {("u", number) for number in range(140)}
    assert not gone & left
    assert len(gone) == shown(stage, "dropped_total", reason="spool_full")
    assert len({manifest.id for manifest in named}) == len(named)
    async with third:
        pass


def _sequences(manifests: list[Manifest]) -> list[tuple[str, int]]:
    return [
        (manifest.session, sequence)
        for manifest in manifests
        for gone in manifest.dropped
        if gone.reason == "spool_full"
        for sequence in range(gone.first_sequence, gone.last_sequence + 1)
    ]


def aside(folder: Path) -> int:
    """Files that were given up and are not forgotten."""
    return len(list(folder.rglob("*.spool_expired")))


async def test_what_was_given_up_is_not_forgotten_while_the_disk_does_not_take_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINESIGHT_SPOOL_MAX_MIB", "1")
    async with publisher(Stage("station_gateway")) as first:
        for number in range(90):
            first.submit(FRAMES, "c", frame(number, size=10_000), tell=lambda _fate: None, droppable=True)
        assert await first.drained(within_s=30)
    monkeypatch.setenv("LINESIGHT_SPOOL_MAX_AGE_H", "0.000001")
    stage = Stage("station_gateway")
    with monkeypatch.context() as patch:
        takes_nothing(patch)
        async with publisher(stage):
            await until(lambda: shown(stage, "noticed_total", what="spool_not_written") > 0)
        assert aside(tmp_path) == 1, "as long as it has no name, nothing else goes"
    async with publisher(Stage("station_gateway")):
        assert aside(tmp_path) == 0
    last = publisher(Stage("station_gateway"))
    named = {
        sequence
        for manifest in last.left_over(MANIFESTS)
        for gone in manifest.dropped
        for sequence in range(gone.first_sequence, gone.last_sequence + 1)
    }
    assert named == set(range(90))
    async with last:
        pass


async def test_what_was_given_up_without_a_frame_needs_no_name_and_does_not_end_the_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readings are in no manifest: a disk that fails just then must not leave their file for ever, and the bounds unheld."""
    monkeypatch.setenv("LINESIGHT_SPOOL_MAX_MIB", "1")
    async with publisher(Stage("sensor_gateway")) as first:
        for number in range(90):
            first.submit(SENSORS, "asset", reading(number), tell=lambda _fate: None, droppable=True)
        assert await first.drained(within_s=30)
    monkeypatch.setenv("LINESIGHT_SPOOL_MAX_AGE_H", "0.000001")
    stage = Stage("sensor_gateway")
    with monkeypatch.context() as patch:
        synced = Lane.sync

        def fails_once(lane: Lane) -> None:
            if not aside(tmp_path):
                return synced(lane)
            patch.setattr(Lane, "sync", synced)
            raise OSError(28, "No space left on device")

        patch.setattr(Lane, "sync", fails_once)
        async with publisher(stage):
            await until(lambda: shown(stage, "noticed_total", what="spool_not_written") > 0)
            await until(lambda: aside(tmp_path) == 0)


def takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: Any, **_options: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool_lane.Segment, "append", full)


async def test_a_disk_that_takes_nothing_is_noticed_and_costs_frames_above_the_budget_and_no_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, frames, events = Stage("station_gateway"), list[Fate](), list[Fate]()
    async with publisher(stage, budget_bytes=20_000) as first:
        with monkeypatch.context() as patch:
            takes_nothing(patch)
            for number in range(100):
                first.submit(FRAMES, "c", frame(number), tell=frames.append, droppable=True)
                first.submit(PLC_EVENTS, "s", event(number), tell=events.append)
                await asyncio.sleep(0)
            await until(lambda: shown(stage, "noticed_total", what="spool_not_written") > 0)
            first.submit(FRAMES, "c", frame(100), tell=frames.append, droppable=True)
            await until(lambda: frames.count(Fate.DROPPED) > 50)
        assert await first.drained(within_s=30), "the disk has room again"
    assert frames.count(Fate.DROPPED) + frames.count(Fate.SPOOLED) == 101
    assert frames[-10:] == [Fate.SPOOLED] * 10, "what the budget holds is kept, whatever events wait"
    assert events == [Fate.SPOOLED] * 100


async def test_events_above_their_bound_are_counted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "KEPT_BYTES", 20_000)
    takes_nothing(monkeypatch)
    stage, fates = Stage("plc_gateway"), list[Fate]()
    async with publisher(stage, budget_bytes=0) as first:
        for number in range(200):
            first.submit(PLC_EVENTS, "s", event(number), tell=fates.append)
        given_up = fates.count(Fate.DROPPED)
        assert given_up in range(1, 200)
        assert shown(stage, "noticed_total", what="events_not_kept") == given_up
    assert fates.count(Fate.UNKNOWN) == 200 - given_up
    assert shown(stage, "noticed_total", what="events_not_kept") == 200, "those that died with the process, too"


async def test_a_spool_that_is_deleted_in_the_middle_of_an_outage_is_back_by_itself_and_told(tmp_path: Path) -> None:
    stage, fates = Stage("plc_gateway"), list[Fate]()
    async with publisher(stage) as first:
        first.submit(PLC_EVENTS, "s", event(0), tell=fates.append)
        await until(lambda: fates == [Fate.SPOOLED])
        shutil.rmtree(tmp_path / "p")
        first.submit(PLC_EVENTS, "s", event(1), tell=fates.append)
        await until(lambda: fates == [Fate.SPOOLED] * 2)
        assert shown(stage, "noticed_total", what="spool_damaged") == 1
    second = publisher(Stage("plc_gateway"))
    assert [left.id for left in second.left_over(PLC_EVENTS)] == [event(0).id, event(1).id]
    async with second:
        pass
