"""A camera that serves a picture per GET."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import time
from contextlib import AbstractAsyncContextManager
from email.utils import parsedate_to_datetime

import aiohttp

from gateways.picture_source import CaptureFailed, Picture, Trigger, is_former, refuse_late
from schemas.plant import CAPTURED_AT_HEADER, HttpSource

LOOK_AGAIN_S = 0.02
CHUNK_BYTES = 256 * 1024


class HttpCamera:
    """A camera that serves a picture per GET; with `{trigger}` in its url it keeps the pictures of the last triggers.

    A picture that is not there yet (404, 503), one of a former PLC session and a connection that fails are tried again until the
    timeout. Without `{trigger}` the timeout runs from the trigger, and no exposure is asked for later than `expose_within_ms` after it.
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

    def triggered(self, trigger: Trigger, *, wanted: bool) -> None:
        """Nothing to note: the camera keeps its pictures by their triggers, or exposes when it is asked."""

    async def capture(self, *, view: str, trigger: Trigger) -> Picture:
        """The picture, as the camera encoded it."""
        url = self._source.url.replace("{trigger}", str(trigger.count)).replace("{view}", view)
        gone_s = 0.0 if self.keeps_triggers else time.monotonic() - trigger.at_s
        why = "an earlier picture was not done"
        try:
            # the wait for one's turn counts: a picture that is exposed too late would show another part
            async with asyncio.timeout(max(0.0, self._source.timeout_ms / 1000 - gone_s)), self._turn():
                if not self.keeps_triggers:
                    refuse_late(trigger.at_s, within_ms=self._source.expose_within_ms, setting="expose_within_ms")
                why = "no answer"
                while True:
                    try:
                        return await self._get(url, trigger)
                    except aiohttp.ClientConnectorError as error:
                        why = f"no connection to {error.host}:{error.port}: {_in_words(error.os_error)}"
                    except (aiohttp.ClientError, OSError, _OfFormerSession) as error:
                        why = str(error) or repr(error)
                    await asyncio.sleep(LOOK_AGAIN_S)
                    self._ask_again(trigger, f"{url}: {why}")
        except TimeoutError:
            raise CaptureFailed(f"{url}: {why} within {self._source.timeout_ms} ms") from None

    def _ask_again(self, trigger: Trigger, why: str) -> None:
        """Raises `CaptureFailed` where another exposure would be too late: it was the camera that did not answer in time."""
        limit_ms = self._source.expose_within_ms
        if not self.keeps_triggers and time.monotonic() - trigger.at_s > limit_ms / 1000:
            raise CaptureFailed(f"{why} within {limit_ms} ms of the trigger (expose_within_ms)")

    def _turn(self) -> AbstractAsyncContextManager[None]:
        return contextlib.nullcontext() if self.keeps_triggers else self._exposing

    async def _get(self, url: str, trigger: Trigger) -> Picture:
        asked_at_ns = time.time_ns()
        async with self._http.get(url) as response:
            if response.status in (404, 503):
                response.raise_for_status()
            if response.status != 200:
                raise CaptureFailed(f"{url}: HTTP {response.status} {response.reason}")
            stated = response.headers.get(CAPTURED_AT_HEADER, "")
            if not (stated.isdecimal() and len(stated) < 20):
                return Picture(await self._body(url, response), asked_at_ns)
            if self.keeps_triggers and is_former(_by_our_clock(int(stated), response.headers.get("Date")), trigger):
                raise _OfFormerSession(
                    f"the camera's picture is older than the trigger (by {CAPTURED_AT_HEADER}, of a former PLC session), and no other came"
                )
            return Picture(await self._body(url, response), int(stated))

    async def _body(self, url: str, response: aiohttp.ClientResponse) -> bytes:
        chunks, size = [], 0
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            size += len(chunk)
            if size > self._max_image_bytes:
                raise CaptureFailed(f"{url}: more than {self._max_image_bytes} bytes (max_image_bytes)")
            chunks.append(chunk)
        return b"".join(chunks)


class _OfFormerSession(Exception):
    """The camera still has the picture of another PLC session at this trigger count."""


def _in_words(error: OSError) -> str:
    """What the system says of it. The client's own sentence tells of SSL where there is none."""
    if (
        isinstance(error, ssl.SSLError) or not error.errno or error.errno < 0
    ):  # numbers of their own: of OpenSSL, of the resolver
        return str(error.strerror or error)
    return os.strerror(error.errno)


def _by_our_clock(captured_at_ns: int, date: str | None) -> int:
    """When a picture was taken (ns UTC): as much before now as by the camera's own clock, which says in `Date` (whole s) what time it is.

    A camera that does not say is taken to have the right time.
    """
    try:
        camera_now_ns = int(parsedate_to_datetime(date or "").timestamp()) * 1_000_000_000
    except (ValueError, OverflowError, OSError):
        return captured_at_ns
    return time.time_ns() - (camera_now_ns - captured_at_ns)
