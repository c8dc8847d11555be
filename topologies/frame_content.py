"""The encoded picture of a frame: in its message, or in the object store."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from functools import partial

from processors.decoding import check_limit_bytes
from schemas.errors import Refused
from schemas.frames import Frame
from schemas.object_store import ObjectMissing, ObjectStore
from schemas.patience import patiently
from schemas.plant import Camera
from schemas.reasons import RefusalReason
from schemas.telemetry import Stage


class FrameContents:
    """Fetches in threads of its own, so that a store that is slow holds up only frames that lie there."""

    def __init__(self, *, store: ObjectStore, stage: Stage, fetching: Executor) -> None:
        self._store = store
        self._stage = stage
        self._fetching = fetching

    async def content(self, frame: Frame, camera: Camera) -> bytes:
        """The bytes as the camera sent them. Waits for a store that is away.

        Raises Refused `image_too_large` for more than the camera may send, `object_missing`.
        """
        if frame.image is not None:
            return frame.image
        if frame.uri is None:
            raise Refused(RefusalReason.OBJECT_MISSING, "the frame has neither an image nor a uri")
        check_limit_bytes(frame.size_bytes, camera)
        get = partial(self._store.get, limit_bytes=camera.max_image_bytes)
        read = partial(asyncio.get_running_loop().run_in_executor, self._fetching, get, frame.uri)
        try:
            return await patiently(read, stage=self._stage, service="store")
        except ObjectMissing as error:
            raise Refused(
                RefusalReason.OBJECT_MISSING, f"the object store has no usable {frame.uri}: {error}"
            ) from error
