"""A camera that puts its pictures into a folder, named by their trigger counts."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from gateways.picture_source import CaptureFailed, Picture, Trigger, is_former
from schemas.image_header import IMAGE_SUFFIXES, read_header
from schemas.plant import FolderSource

LOOK_AGAIN_S = 0.02


class FolderCamera:
    """Pictures appear as `<trigger count>.<jpg|png|bmp>` in a folder, relative to the plant file's.

    A file is taken once it is whole: an upload writes it piece by piece. One that was written before the trigger is of another PLC
    session, which had the same count; it is waited for until the camera writes over it.
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

    def triggered(self, trigger: Trigger, *, wanted: bool) -> None:
        """Nothing to note: a file bears its trigger count."""

    async def capture(self, *, view: str, trigger: Trigger) -> Picture:
        """The picture, as the file holds it, taken when the file was written."""
        folder = self._plant_dir / self._source.path.replace("{view}", view)
        deadline_s = time.monotonic() + self._source.timeout_ms / 1000
        while True:
            picture = await asyncio.to_thread(self._look, folder, trigger.count)
            if picture is None:
                lacks = "did not appear"
            elif not is_whole(picture.image):
                lacks = "is not whole"
            elif is_former(picture.captured_at_ns, trigger):
                lacks = "is older than the trigger, of a former PLC session (empty the folder when the PLC counts anew): no other came"
            else:
                return picture
            if time.monotonic() >= deadline_s:
                raise CaptureFailed(f"{folder / str(trigger.count)}.*: {lacks} within {self._source.timeout_ms} ms")
            await asyncio.sleep(LOOK_AGAIN_S)

    def _look(self, folder: Path, trigger_count: int) -> Picture | None:
        """The newest file of that count: a camera may have been set to another encoding since."""
        found: Picture | None = None
        for suffix in IMAGE_SUFFIXES:
            path = folder / f"{trigger_count}{suffix}"
            try:
                status = path.stat()
                if found is not None and status.st_mtime_ns <= found.captured_at_ns:
                    continue
                if status.st_size > self._max_image_bytes:
                    raise CaptureFailed(f"{path}: more than {self._max_image_bytes} bytes (max_image_bytes)")
                found = Picture(path.read_bytes(), status.st_mtime_ns)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise CaptureFailed(f"{path}: {error.strerror}") from error
        return found


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
