"""A camera that puts its pictures into a folder, named by their trigger counts."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from gateways.picture_source import CaptureFailed, Picture
from schemas.image_header import IMAGE_SUFFIXES, read_header
from schemas.plant import FolderSource

LOOK_AGAIN_S = 0.02


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

    async def run(self) -> None:
        """Nothing to keep: files are looked for when they are asked for."""

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
