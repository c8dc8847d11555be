"""Makes a frame of an encoded picture: its header, its digest, and the claim check where it is too large to travel inside."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from schemas.errors import Transient
from schemas.frames import Frame, ImageEncoding, frame_id
from schemas.image_header import ImageHeader, read_header
from schemas.object_store import ObjectStore, frame_key, sha256_hex
from schemas.patience import pause_s
from schemas.telemetry import AttemptRepeated, Stage
from schemas.topics import FRAME_LIMIT_BYTES

# Headers and fields of a frame beside its image.
ENVELOPE_BYTES = 64 * 1024
THREAD_BYTES = 512 * 1024
"""From here on a digest is worth a thread."""


class Subject(NamedTuple):
    """What a picture shows: the part that triggered it. `recipe` is `name@revision`."""

    part_id: str
    visit: int
    recipe: str
    trigger_count: int | None


@dataclass(frozen=True, kw_only=True)
class Framer:
    """Makes the frames of one camera's session.

    Images above `inline_limit_bytes` go to the object store first; `Frame.uri` is their key there.
    """

    station: str
    camera: str
    session: str
    store: ObjectStore
    stage: Stage
    inline_limit_bytes: int

    async def frame(
        self,
        image: bytes,
        *,
        subject: Subject,
        view: str,
        sequence: int,
        captured_at_ns: int,
        store_within_s: float,
        sha256: str | None = None,
        reference: str | None = None,
    ) -> Frame:
        """The frame, ready to be published; `sha256` where the caller has it already.

        Raises `Transient` where the object store stays away for `store_within_s`.
        Bytes that are no image travel as they are, with size 0 x 0: inspect refuses them by name.
        """
        header = _header(image)
        sha256 = sha256 or await digest_of(image)
        uri = None
        if len(image) > min(self.inline_limit_bytes, FRAME_LIMIT_BYTES - ENVELOPE_BYTES):
            uri = frame_key(sha256)
            await self._put(uri, image, within_s=store_within_s)
        return Frame(
            id=frame_id(camera=self.camera, session=self.session, sequence=sequence),
            station=self.station,
            camera=self.camera,
            view=view,
            session=self.session,
            sequence=sequence,
            part_id=subject.part_id,
            visit=subject.visit,
            recipe=subject.recipe,
            captured_at_ns=captured_at_ns,
            encoding=header.encoding,
            width_px=header.width_px,
            height_px=header.height_px,
            channels=header.channels,
            size_bytes=len(image),
            sha256=sha256,
            image=image if uri is None else None,
            uri=uri,
            reference=reference,
            trigger_count=subject.trigger_count,
        )

    async def _put(self, key: str, image: bytes, *, within_s: float) -> None:
        attempt = 0
        deadline_s = asyncio.get_running_loop().time() + within_s
        while True:
            try:
                await asyncio.to_thread(self.store.put, key, image)
                return
            except Transient as error:
                attempt += 1
                pause = pause_s(attempt)
                if asyncio.get_running_loop().time() + pause > deadline_s:
                    raise
                self.stage.emit(AttemptRepeated(service="store", detail=str(error), attempt=attempt))
                await asyncio.sleep(pause)


async def digest_of(image: bytes) -> str:
    """Its sha256 in hex, of a large one in a thread."""
    return sha256_hex(image) if len(image) < THREAD_BYTES else await asyncio.to_thread(sha256_hex, image)


def _header(image: bytes) -> ImageHeader:
    try:
        return read_header(image)
    except ValueError:
        return ImageHeader(ImageEncoding.JPEG, 0, 0, 1)
