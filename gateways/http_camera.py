"""A camera that serves a picture per GET."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import AbstractAsyncContextManager

import aiohttp

from gateways.picture_source import CaptureFailed, Picture
from schemas.plant import CAPTURED_AT_HEADER, HttpSource

LOOK_AGAIN_S = 0.02
CHUNK_BYTES = 256 * 1024


class HttpCamera:
    """A camera that serves a picture per GET; with `{trigger}` in its url it keeps the pictures of the last triggers.

    A picture that is not there yet (404, 503) and a connection that fails are tried again until the timeout.
    """

    def __init__(self, *, source: HttpSource, max_image_bytes: int, http: aiohttp.ClientSession) -> None:
        self._source = source
        self._max_image_bytes = max_image_bytes
        self._http = http
        # exposures on demand go one at a time: two at once would be two pictures of one moment
        self._exposing = asyncio.Lock()

    @property
    def keeps_triggers(self) -> bool:
        """Whether pictures are asked for by their trigger."""
        return "{trigger}" in self._source.url

    async def run(self) -> None:
        """Nothing to keep: each picture is a request of its own."""

    async def capture(self, *, view: str, trigger_count: int) -> Picture:
        """The picture, as the camera encoded it."""
        url = self._source.url.replace("{trigger}", str(trigger_count)).replace("{view}", view)
        why = "an earlier picture was not done"
        try:
            # the wait for one's turn counts: a picture that is exposed too late would show another part
            async with asyncio.timeout(self._source.timeout_ms / 1000), self._turn():
                why = "no answer"
                while True:
                    try:
                        return await self._get(url)
                    except (aiohttp.ClientError, OSError) as error:
                        why = str(error) or repr(error)
                    await asyncio.sleep(LOOK_AGAIN_S)
        except TimeoutError:
            raise CaptureFailed(f"{url}: {why} within {self._source.timeout_ms} ms") from None

    def _turn(self) -> AbstractAsyncContextManager[None]:
        return contextlib.nullcontext() if self.keeps_triggers else self._exposing

    async def _get(self, url: str) -> Picture:
        asked_at_ns = time.time_ns()
        async with self._http.get(url) as response:
            if response.status in (404, 503):
                response.raise_for_status()
            if response.status != 200:
                raise CaptureFailed(f"{url}: HTTP {response.status} {response.reason}")
            chunks, size = [], 0
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                size += len(chunk)
                if size > self._max_image_bytes:
                    raise CaptureFailed(f"{url}: more than {self._max_image_bytes} bytes (max_image_bytes)")
                chunks.append(chunk)
            stated = response.headers.get(CAPTURED_AT_HEADER, "")
            return Picture(b"".join(chunks), int(stated) if stated.isdecimal() and len(stated) < 20 else asked_at_ns)
