"""The record stage on a real broker: what is kept, that nothing is lost when it dies or the store is away, what is given up."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from broker import committed, publish, until
from judged_parts import recipe

from processors.part_state import PartVisit
from processors.recording import is_sampled
from schemas.codec import encode
from schemas.frames import Frame, ImageEncoding
from schemas.object_store import FolderStore, frame_key, sha256_hex
from schemas.plant import Plant, RecordSettings
from schemas.reasons import FailSafe, VerdictValue
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import DEAD_LETTERS, FRAMES, VERDICTS
from schemas.verdicts import Verdict, ViewResult, picture_key, verdict_id
from topologies.record_stage import run
from topologies.topic_admin import ensure_topics

SHARE_RATIO = 0.3


@dataclass(frozen=True)
class Taken:
    """A picture that lies on `frames`."""

    content: bytes
    partition: int
    offset: int

    @property
    def key(self) -> str:
        return picture_key(sha256_hex(self.content))

    def view(self, **changes: object) -> ViewResult:
        said = {
            "view": "top",
            "inspection": "c/s/0",
            "outcome": "inspected",
            "image_sha256": sha256_hex(self.content),
            "frame_partition": self.partition,
            "frame_offset": self.offset,
        }
        return ViewResult(**{**said, **changes})  # type: ignore[arg-type]


def plant_named(name: str) -> Plant:
    return Plant(plant=name, lines=(), recipes=(recipe(),), record=RecordSettings(ok_share_ratio=SHARE_RATIO))


def picture(number: int) -> bytes:
    return f"picture {number} ".encode() * 5_000


def verdict(
    number: int, *views: ViewResult, value: VerdictValue = VerdictValue.NOT_OK, revision: int = 1
) -> tuple[str, Verdict]:
    return "aoi-1", Verdict(
        id=verdict_id(station="aoi-1", part_id=str(number), visit=1, revision=revision),
        station="aoi-1",
        line="line-1",
        part_id=str(number),
        visit=1,
        revision=revision,
        verdict=value,
        action=FailSafe.REJECT,
        arrived_at_ns=number,
        decided_at_ns=number,
        recipe="board-a@1",
        views=views,
    )


async def take_pictures(
    settings: KafkaSettings, plant: Plant, pictures: Sequence[bytes], *, uri: str | None = None
) -> list[Taken]:
    """Puts frames on the topic; with `uri` they name the object store instead of bearing their image."""
    async with AIOKafkaProducer(**settings.client(), acks="all") as producer:
        taken = []
        for number, content in enumerate(pictures):
            frame = Frame(
                id=f"camera/s/{number}", station="aoi-1", camera="camera", view="top", session="s", sequence=number,
                part_id=str(number), visit=1, recipe="board-a@1", captured_at_ns=0, encoding=ImageEncoding.JPEG,
                width_px=8, height_px=8, size_bytes=len(content), sha256=sha256_hex(content),
                image=None if uri else content, uri=uri,
            )  # fmt: skip
            encoded = encode(FRAMES, frame)
            sent = await producer.send_and_wait(
                FRAMES.on(plant.plant), encoded.value, key=f"camera-{number % 3}".encode(), headers=encoded.headers
            )
            taken.append(Taken(content, sent.partition, sent.offset))
    return taken


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    monkeypatch.setenv("LINESIGHT_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    return FolderStore(tmp_path / "objects")


@pytest.fixture
def settings(kafka: str, store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    return KafkaSettings()


@pytest.fixture
async def plant(settings: KafkaSettings, unique_prefix: str) -> Plant:
    plant = plant_named(unique_prefix)
    await ensure_topics(plant, kafka=settings, topics=(FRAMES, VERDICTS, DEAD_LETTERS))
    return plant


@asynccontextmanager
async def running(plant: Plant) -> AsyncIterator[Stage]:
    stop, stage = asyncio.Event(), Stage("record")
    task = asyncio.create_task(run(plant, plant_dir=Path(), stage=stage, stop=stop))
    try:
        yield stage
    finally:
        stop.set()
        await asyncio.wait_for(task, 12)


def value(stage: Stage, name: str, **labels: str) -> float:
    return stage.registry.get_sample_value(f"linesight_record_{name}", labels) or 0.0


async def finished(stage: Stage, count: int) -> None:
    await until(
        lambda: value(stage, "in_total", topic="verdicts") == count and value(stage, "in_progress") == 0,
        f"{count} verdicts are finished",
    )


async def test_pictures_of_rejected_and_of_sampled_parts_are_kept_byte_for_byte_and_no_others(
    settings: KafkaSettings, plant: Plant, store: FolderStore
) -> None:
    taken = await take_pictures(settings, plant, [picture(number) for number in range(60)])
    sampled = {n for n in range(3, 60) if is_sampled(PartVisit("aoi-1", str(n), 1), share_ratio=SHARE_RATIO)}
    assert 0 < len(sampled) < 40
    unsampled = min(set(range(3, 60)) - sampled)
    verdicts = [
        verdict(0, taken[0].view(), taken[1].view(view="side")),
        verdict(2, taken[2].view(), ViewResult(view="side"), value=VerdictValue.NOT_DECIDABLE),
        *(verdict(n, taken[n].view(), value=VerdictValue.OK) for n in range(3, 60)),
        verdict(unsampled, taken[unsampled].view(), revision=2),
    ]
    await publish(settings, plant, VERDICTS, verdicts)
    async with running(plant) as stage:
        await finished(stage, len(verdicts))
        assert value(stage, "pictures_total", why="not_ok") == 4
        assert value(stage, "pictures_total", why="sample") == len(sampled)
    for number, item in enumerate(taken):
        if number in sampled | {0, 1, 2, unsampled}:
            assert store.get(item.key) == item.content
        else:
            assert not store.exists(item.key)


async def test_a_picture_too_large_for_its_frame_is_kept_from_the_object_store(
    settings: KafkaSettings, plant: Plant, store: FolderStore
) -> None:
    large = picture(0) * 100
    store.put(frame_key(sha256_hex(large)), large)
    (taken,) = await take_pictures(settings, plant, [large], uri=frame_key(sha256_hex(large)))
    await publish(settings, plant, VERDICTS, [verdict(0, taken.view())])
    async with running(plant) as stage:
        await finished(stage, 1)
    assert store.get(taken.key) == large


async def test_a_frame_that_is_gone_or_another_is_noticed_and_holds_nobody_up(
    settings: KafkaSettings, plant: Plant, store: FolderStore
) -> None:
    first, second, missing = (
        *await take_pictures(settings, plant, [picture(0), picture(1)]),
        *await take_pictures(settings, plant, [picture(2)], uri=frame_key("ab" * 32)),
    )
    await publish(
        settings,
        plant,
        VERDICTS,
        [
            verdict(0, second.view(frame_offset=1_000), first.view(view="side")),
            verdict(1, first.view(image_sha256="ab" * 32)),
            verdict(2, first.view(image_sha256="cd" * 32, frame_partition=99)),
            verdict(3, missing.view()),
        ],
    )
    async with running(plant) as stage:
        await finished(stage, 4)
        assert value(stage, "noticed_total", what="frame_gone") == 3
        assert value(stage, "noticed_total", what="frame_changed") == 1
        assert value(stage, "pictures_total", why="not_ok") == 1
    assert store.get(first.key) == first.content
    assert not store.exists(second.key)
    assert not store.exists(picture_key("ab" * 32))
    assert await committed(settings, f"{plant.plant}.record") == 4


async def test_nothing_is_lost_while_the_store_is_away(
    settings: KafkaSettings, plant: Plant, store: FolderStore, tmp_path: Path
) -> None:
    taken = await take_pictures(settings, plant, [picture(number) for number in range(12)])
    blocked = tmp_path / "objects" / "pictures"
    blocked.write_text("a file where a folder should be")
    await publish(settings, plant, VERDICTS, [verdict(n, item.view()) for n, item in enumerate(taken)])
    async with running(plant) as stage:
        await until(lambda: value(stage, "retried_total", reason="store") >= 3, "it says that the store is away")
        assert await committed(settings, f"{plant.plant}.record") == 0
        blocked.unlink()
        await finished(stage, 12)
    assert [store.get(item.key) for item in taken] == [item.content for item in taken]


async def test_a_stage_that_is_killed_midway_keeps_every_picture(
    settings: KafkaSettings, plant: Plant, store: FolderStore, tmp_path: Path
) -> None:
    taken = await take_pictures(settings, plant, [picture(number) for number in range(400)])
    await publish(settings, plant, VERDICTS, [verdict(n, item.view()) for n, item in enumerate(taken)])

    def kept() -> int:
        # a kill may leave a half-written file beside its place, under a hidden name
        files = (path for path in (tmp_path / "objects" / "pictures").rglob("*") if path.is_file())
        return sum(1 for path in files if not path.name.startswith("."))

    tests = Path(__file__).parent
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(tests / "record_process.py"), plant.plant,
        env={**os.environ, "PYTHONPATH": f"{tests.parents[1]}:{tests.parent}:{tests}"},
    )  # fmt: skip
    try:
        await until(lambda: kept() >= 100, "some pictures are kept")
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert kept() < 400
    async with running(plant):
        await until(lambda: kept() == 400, "all pictures are kept")

        async def all_committed() -> bool:
            return await committed(settings, f"{plant.plant}.record") == 400

        await until(all_committed, "all verdicts are committed")
    assert [store.get(item.key) for item in taken] == [item.content for item in taken]


async def test_pictures_and_large_frames_past_their_retention_go_and_others_stay(
    settings: KafkaSettings, plant: Plant, store: FolderStore, tmp_path: Path
) -> None:
    """A picture that is kept outlives the large frame it came from."""
    hour_s = 3600
    written_s_ago = {
        picture_key("aa" * 32): 400 * 24 * hour_s,
        picture_key("bb" * 32): 60 * hour_s,
        frame_key("cc" * 32): 60 * hour_s,
        frame_key("dd" * 32): 7 * hour_s,
    }
    for key, ago_s in written_s_ago.items():
        store.put(key, b"content")
        path = tmp_path / "objects" / key
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - ago_s))
    old_picture, picture_of_60_h, frame_of_60_h, frame_of_7_h = written_s_ago
    async with running(plant):
        await until(
            lambda: not store.exists(old_picture) and not store.exists(frame_of_60_h), "what is past its time is gone"
        )
    assert store.exists(picture_of_60_h)
    assert store.exists(frame_of_7_h)
