"""Where pictures come from: one small protocol, one class per kind of source in the plant file."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

import aiohttp

from schemas.errors import ConfigurationError
from schemas.image_header import IMAGE_SUFFIXES, read_header
from schemas.plant import CAPTURED_AT_HEADER, Camera, ExternalSource, FolderSource, HttpSource

LOOK_AGAIN_S = 0.02
CHUNK_BYTES = 256 * 1024


class Picture(NamedTuple):
    """An encoded picture and when it was taken, by the camera's clock where it has one, else the gateway's (ns UTC)."""

    image: bytes
    captured_at_ns: int


class CaptureFailed(Exception):
    """The camera gave no usable picture for this trigger; the message says why."""


class CameraSource(Protocol):
    """A camera. `keeps_triggers` says whether it can still give the picture of an earlier trigger."""

    @property
    def keeps_triggers(self) -> bool:
        """False for a camera that exposes when it is asked: a late question would show another part."""

    async def capture(self, *, view: str, trigger_count: int) -> Picture:
        """The picture of `view` that was taken at `trigger_count`. Raises `CaptureFailed` within its timeout."""


def open_source(camera: Camera, *, plant_dir: Path, http: aiohttp.ClientSession) -> CameraSource | None:
    """The source of `camera`; None where the plant publishes its frames itself. Raises `ConfigurationError`."""
    source = camera.source
    if isinstance(source, ExternalSource):
        return None
    if isinstance(source, HttpSource):
        if "{trigger}" in source.url:
            _names_its_views(camera, source.url, "url")
        return HttpCamera(source=source, max_image_bytes=camera.max_image_bytes, http=http)
    _names_its_views(camera, source.path, "path")
    return FolderCamera(source=source, max_image_bytes=camera.max_image_bytes, plant_dir=plant_dir)


def _names_its_views(camera: Camera, place: str, key: str) -> None:
    if len(camera.views) > 1 and "{view}" not in place:
        raise ConfigurationError(
            f"camera {camera.name} has views {', '.join(camera.views)}: put {{view}} into `{key}`, or all show the same"
        )


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


class FolderCamera:
    """Pictures appear as `<trigger count>.<jpg|png|bmp>` in a folder, relative to the plant file's.

    A file is taken once it is whole: an upload writes it piece by piece.
    """

    def __init__(self, *, source: FolderSource, max_image_bytes: int, plant_dir: Path) -> None:
        self._source = source
        self._max_image_bytes = max_image_bytes
        self._plant_dir = plant_dir

    @property
    def keeps_triggers(self) -> bool:
        """Files stay until someone removes them."""
        return True

    async def capture(self, *, view: str, trigger_count: int) -> Picture:
        """The picture, as the file holds it."""
        asked_at_ns = time.time_ns()
        folder = self._plant_dir / self._source.path.replace("{view}", view)
        deadline_s = time.monotonic() + self._source.timeout_ms / 1000
        while True:
            image = await asyncio.to_thread(self._look, folder, trigger_count)
            if image is not None and is_whole(image):
                return Picture(image, asked_at_ns)
            if time.monotonic() >= deadline_s:
                what = "is not whole" if image is not None else "did not appear"
                raise CaptureFailed(f"{folder / str(trigger_count)}.*: {what} within {self._source.timeout_ms} ms")
            await asyncio.sleep(LOOK_AGAIN_S)

    def _look(self, folder: Path, trigger_count: int) -> bytes | None:
        for suffix in IMAGE_SUFFIXES:
            path = folder / f"{trigger_count}{suffix}"
            try:
                if path.stat().st_size > self._max_image_bytes:
                    raise CaptureFailed(f"{path}: more than {self._max_image_bytes} bytes (max_image_bytes)")
                return path.read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise CaptureFailed(f"{path}: {error.strerror}") from error
        return None


def is_whole(image: bytes) -> bool:
    """Whether an encoded image has its end: JPEG's EOI, PNG's IEND, the length that a BMP states. No image has none."""
    try:
        encoding = read_header(image).encoding
    except ValueError:
        return False
    if encoding == "jpeg":
        return image.rstrip(b"\x00").endswith(b"\xff\xd9")
    if encoding == "png":
        return image.endswith(b"IEND\xaeB`\x82")
    return len(image) >= int.from_bytes(image[2:6], "little")
