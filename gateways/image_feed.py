"""Publishes given images as the frames of an external camera: for `linesight inspect` and `linesight publish`.

Unlike a real camera it can wait: with the broker away or slow nothing is dropped, the caller is held up.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from gateways.framing import Framer, Subject
from gateways.manifests import ManifestBook, new_session
from gateways.outbox import Fate
from gateways.publisher import RecordPublisher
from schemas.errors import ConfigurationError, ServiceAway, Transient
from schemas.frames import frame_id
from schemas.object_store import open_store
from schemas.plant import Plant
from schemas.reasons import DropReason
from schemas.settings import KafkaSettings, ObjectStoreSettings
from schemas.telemetry import Stage
from schemas.topics import FRAMES, MANIFESTS, MIB_BYTES

BUDGET_BYTES = 32 * MIB_BYTES
MANIFEST_EVERY_S = 1.0
STORE_WITHIN_S = 60.0
CLOSE_WITHIN_S = 10.0


class ImageFeed:
    """One external camera's session. Use as an async context manager: leaving it closes the session with its last manifest.

    Raises `ConfigurationError` for a camera that the plant does not have.
    """

    def __init__(self, *, plant: Plant, camera: str, stage: Stage) -> None:
        station = plant.station_of(camera)
        if station is None:
            raise ConfigurationError(f"plant {plant.plant} has no camera `{camera}`; it has {', '.join(plant.cameras)}")
        self._camera = plant.cameras[camera]
        self._book = ManifestBook(station=station.name, camera=camera, session=new_session())
        self._publisher = RecordPublisher(
            plant=plant.plant, stage=stage, kafka=KafkaSettings(), budget_bytes=BUDGET_BYTES
        )
        self._framer = Framer(
            station=station.name,
            camera=camera,
            session=self._book.session,
            store=open_store(ObjectStoreSettings()),
            stage=stage,
            inline_limit_bytes=plant.kafka.inline_limit_bytes,
        )

    async def __aenter__(self) -> Self:
        await self._publisher.__aenter__()
        self._telling = asyncio.create_task(self._tell_regularly())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)
            await self._publisher.drained(within_s=CLOSE_WITHIN_S)
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._tell(closing=True)
        except (TimeoutError, ServiceAway) as away:
            if kind is None:
                raise ServiceAway(
                    f"camera {self._camera.name}: the broker did not take everything within {CLOSE_WITHIN_S:g} s: "
                    "start it again, or set KAFKA_BOOTSTRAP_SERVERS"
                ) from away
        finally:
            await self._publisher.__aexit__(kind, error, trace)

    @property
    def session(self) -> str:
        """The session of the frames."""
        return self._book.session

    async def publish(
        self,
        image: Path | bytes,
        *,
        part_id: str,
        recipe: str,
        visit: int = 1,
        view: str | None = None,
        reference: str | None = None,
        trigger_count: int | None = None,
    ) -> str:
        """Publishes one image as it stands and returns the frame's id; it waits while the broker has much to catch up with.

        A file that cannot be read becomes a frame of 0 bytes, so that its absence has an inspection, too. `view` is the
        camera's first where it is None. `reference` is a digest `sha256:<hex>`. Raises `ConfigurationError` for a view
        that the camera does not have, `Transient` where the object store stays away with an image too large to travel
        inside its frame, and `Fatal` where the broker will never take the frame.
        """
        view = view or self._camera.views[0]
        if view not in self._camera.views:
            raise ConfigurationError(
                f"camera {self._camera.name} has no view `{view}`; it has {', '.join(self._camera.views)}"
            )
        await self._room()
        limit_bytes = self._camera.max_image_bytes
        content = image if isinstance(image, bytes) else await asyncio.to_thread(_content, image, limit_bytes)
        sequence = self._book.take_sequence()
        try:
            frame = await self._framer.frame(
                content,
                subject=Subject(part_id=part_id, visit=visit, recipe=recipe, trigger_count=trigger_count),
                view=view,
                sequence=sequence,
                captured_at_ns=time.time_ns(),
                store_within_s=STORE_WITHIN_S,
                reference=reference,
            )
        except Transient:
            self._book.dropped(sequence, DropReason.EXPIRED)
            raise
        self._publisher.submit(FRAMES, self._camera.name, frame, tell=partial(self._settle, sequence))
        return frame_id(camera=self._camera.name, session=self._book.session, sequence=sequence)

    async def _room(self) -> None:
        """Waits for room in the budget; a broker that will never take anything ends the wait."""
        room = asyncio.ensure_future(self._publisher.room())
        failed = asyncio.ensure_future(self._publisher.failed())
        try:
            await asyncio.wait((room, failed), return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                await failed
        finally:
            room.cancel()
            failed.cancel()

    def _settle(self, sequence: int, fate: Fate) -> None:
        if fate is Fate.ACKNOWLEDGED:
            self._book.acknowledged(sequence)

    async def _tell_regularly(self) -> None:
        while True:
            await asyncio.sleep(MANIFEST_EVERY_S)
            await self._tell(closing=False)

    async def _tell(self, *, closing: bool) -> None:
        manifest = self._book.next_manifest(now_ns=time.time_ns(), closing=closing)
        if manifest is not None:
            await self._publisher.publish(MANIFESTS, self._camera.name, manifest)


def _content(path: Path, limit_bytes: int) -> bytes:
    """The file's bytes; of one that is too large just enough for inspect to refuse it."""
    try:
        with path.open("rb") as file:
            return file.read(limit_bytes + 1)
    except OSError:
        return b""
