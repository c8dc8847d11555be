"""The record stage: verdicts in; pictures of the parts worth keeping go from `frames` to the object store.

It follows the line and never holds it up. A store or broker that is away is waited for: the verdict's offset is committed when its
pictures are kept. A picture that is not on the topic any more, or is not what the verdict saw, is noticed and given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from processors.recording import KeptFor, WantedPicture, kept_for, wanted_pictures
from schemas.errors import Refused
from schemas.frames import Frame
from schemas.object_store import ObjectMissing, ObjectStore, open_store, sha256_hex
from schemas.patience import patiently
from schemas.plant import Plant, RecordSettings
from schemas.settings import KafkaSettings, ObjectStoreSettings
from schemas.telemetry import Noticed, Stage
from schemas.topics import FRAMES, VERDICTS
from schemas.verdicts import Verdict, picture_key
from topologies.background import Background
from topologies.event_runner import EventRunner
from topologies.frame_reader import FrameReader
from topologies.producer import Outgoing, Producer
from topologies.records import Record

PARTS_AT_A_TIME = 4
"""A part has one frame in memory at a time; Kafka allows one of up to 5 MB, the object store one of up to 256 MiB."""
EXPIRE_EVERY_NS = 3600 * 10**9
S_PER_DAY = 86_400
FRAMES_KEPT_S = FRAMES.retention_ms / 1000 + S_PER_DAY
"""A large image outlives the frame that names it: the broker removes frames by whole segments, hours after they are due."""

Result = TypeVar("Result")


class RecordHandler:
    """Keeps pictures, a few parts side by side. Make it inside the running loop; `close` at the end."""

    def __init__(self, *, settings: RecordSettings, store: ObjectStore, frames: FrameReader, stage: Stage) -> None:
        self._settings = settings
        self._store = store
        self._frames = frames
        self._stage = stage
        self._background = Background()
        self._room = asyncio.Semaphore(PARTS_AT_A_TIME)
        self._expired_at_ns = 0
        self._pictures = stage.counter("pictures", "Pictures kept.", "why")
        for why in KeptFor:
            self._pictures.labels(why)

    async def assigned(self, partitions: frozenset[int], producer: Producer) -> None:
        """Nothing is remembered: what is kept already is in the store."""

    async def take(self, record: Record) -> None:
        """Begins to keep a part's pictures; waits for room."""
        verdict: Verdict = record.message
        why = kept_for(verdict, ok_share_ratio=self._settings.ok_share_ratio)
        if why is None:
            record.finish()
            return
        await self._room.acquire()
        self._background.spawn(self._keep_part(record, verdict, why))

    async def tick(self, now_ns: int) -> None:
        """Removes once an hour what is older than its retention."""
        self._background.check()
        if now_ns - self._expired_at_ns >= EXPIRE_EVERY_NS:
            self._expired_at_ns = now_ns
            self._background.spawn(self._expire())

    async def refused(self, record: Record, refused: Refused) -> Sequence[Outgoing]:
        """Nobody can say which pictures a verdict meant that cannot be read."""
        return ()

    async def drain(self, partitions: frozenset[int]) -> None:
        """Waits for what is being kept."""
        await self._background.settled()

    async def close(self) -> None:
        """Ends the background work."""
        await self._background.cancel()

    async def _keep_part(self, record: Record, verdict: Verdict, why: KeptFor) -> None:
        try:
            for picture in wanted_pictures(verdict):
                if missing := await self._keep(picture, why):
                    where = f"frames/{picture.partition}/{picture.offset}"
                    self._stage.emit(
                        Noticed(what=missing, subject=verdict.id, detail=f"{where}: {picture.image_sha256}")
                    )
            record.finish()
        finally:
            self._room.release()

    async def _keep(self, picture: WantedPicture, why: KeptFor) -> str | None:
        """Keeps one picture, unless it is kept already; returns what was noticed where that cannot be."""
        key = picture_key(picture.image_sha256)
        if await self._patiently(partial(self._store.exists, key)):
            return None
        try:
            frame = await self._frames.read(picture.partition, picture.offset)
            content = await self._content(frame) if frame is not None else None
        except Refused:
            return "frame_unreadable"
        if content is None:
            return "frame_gone"
        if await asyncio.to_thread(sha256_hex, content) != picture.image_sha256:
            return "frame_changed"
        await self._patiently(partial(self._store.put, key, content))
        self._pictures.labels(why).inc()
        return None

    async def _content(self, frame: Frame) -> bytes | None:
        """The encoded picture; a large one was put into the store by the gateway."""
        if frame.image is not None or frame.uri is None:
            return frame.image
        try:
            return await self._patiently(partial(self._store.get, frame.uri))
        except ObjectMissing:
            return None

    async def _expire(self) -> None:
        kept_s = {"pictures/": self._settings.retention_days * S_PER_DAY, "frames/": FRAMES_KEPT_S}
        for prefix, older_than_s in kept_s.items():
            removed = await self._patiently(partial(self._store.expire, prefix, older_than_s=older_than_s))
            if removed:
                self._stage.log.info("objects_expired", prefix=prefix, count=removed)

    async def _patiently(self, work: Callable[[], Result]) -> Result:
        return await patiently(partial(asyncio.to_thread, work), stage=self._stage, service="store")


async def run(plant: Plant, *, plant_dir: Path, stage: Stage, stop: asyncio.Event) -> None:
    """Runs the stage until `stop` is set and everything is drained. Raises Fatal for what a person has to change."""
    kafka = KafkaSettings()
    store = open_store(ObjectStoreSettings())
    async with FrameReader(plant=plant.plant, stage=stage, kafka=kafka) as frames:
        handler = RecordHandler(settings=plant.record, store=store, frames=frames, stage=stage)
        runner = EventRunner(plant=plant, stage=stage, topics=(VERDICTS,), handler=handler, kafka=kafka)
        try:
            await runner.run(stop)
        finally:
            await handler.close()
