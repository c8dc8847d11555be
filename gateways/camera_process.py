"""A camera whose driver or decoder runs in a process of its own.

Decoding a stream takes a processor, and the libraries that talk to cameras are C: they print addresses with passwords, block, and
crash. There they hold up one camera; the process is started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from gateways.camera_wire import (
    LENGTH_BYTES,
    PROCESS_FAILED,
    Answer,
    Ask,
    Failure,
    Figures,
    Setup,
    Told,
    Triggered,
    from_camera,
    packed,
)
from gateways.picture_source import CaptureFailed, Picture, Tell, TooLate, Trigger
from schemas.patience import pause_s
from schemas.plant import Camera

LONGEST_PAUSE_S = 5.0
MARGIN_S = 5.0
"""For encoding and the way between the processes, beside the camera's own time limit."""
ENDS_WITHIN_S = 2.0


class CameraProcess:
    """The gateway's end of `gateways.camera_child`. `answers_within_ms`: what the camera itself may take for a picture."""

    def __init__(self, *, camera: Camera, answers_within_ms: int, tell: Tell) -> None:
        self._camera = camera
        self._patience_s = answers_within_ms / 1000 + MARGIN_S
        self._tell = tell
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Picture]] = {}
        self._to_camera: asyncio.StreamWriter | None = None
        self._away = "its process is being started"
        self._failed_of = ""
        self.figures: Figures | None = None
        """What the camera's process counted, where it counts."""

    @property
    def keeps_triggers(self) -> bool:
        """A stream does not come back, and a frame is bound while its trigger is fresh."""
        return False

    def triggered(self, trigger: Trigger, *, wanted: bool) -> None:
        """Tells the camera's process; one that is away has to begin anew in any case."""
        if self._to_camera is not None:
            told = Triggered(
                trigger_count=trigger.count,
                seen_s=trigger.seen_s,
                at_s=trigger.at_s,
                fresh=trigger.fresh,
                wanted=wanted,
            )
            self._to_camera.write(packed(told))

    async def capture(self, *, view: str, trigger: Trigger) -> Picture:
        """The picture, as the camera's process encoded it."""
        if self._to_camera is None:
            raise CaptureFailed(f"the camera is away: {self._away}")
        number = next(self._numbers)
        future: asyncio.Future[Picture] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        ask = Ask(number=number, trigger_count=trigger.count, seen_s=trigger.seen_s, at_s=trigger.at_s)
        try:
            self._to_camera.write(packed(ask))
            async with asyncio.timeout(self._patience_s):
                return await future
        except TimeoutError:
            raise CaptureFailed(f"the camera's process gave no answer within {self._patience_s:g} s") from None
        finally:
            del self._asked[number]

    async def run(self) -> None:
        """Keeps the process running; after it ended it is started again with growing pauses."""
        for attempt in itertools.count(1):
            began_s = time.monotonic()
            self._away = await self._live_once()
            self._tell("camera_process_ended", self._away)
            lived = time.monotonic() - began_s > LONGEST_PAUSE_S
            await asyncio.sleep(pause_s(1 if lived else attempt, longest_s=LONGEST_PAUSE_S))

    async def _live_once(self) -> str:
        """Runs one process to its end; says how it ended, or why it did not begin."""
        self._failed_of = ""
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateways.camera_child",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=_environment(),
            )  # fmt: skip
        except OSError as error:
            return f"its process cannot be started: {error}"
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(packed(Setup(camera=self._camera)))
            self._to_camera = process.stdin
            await self._listen(process.stdout)
        finally:
            self._to_camera = None
            await _end(process)
            for future in self._asked.values():
                if not future.done():
                    future.set_exception(CaptureFailed("the camera's process ended"))
        return f"its process ended with {_ending(process.returncode, self._failed_of)}"

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                length = int.from_bytes(await stream.readexactly(LENGTH_BYTES), "big")
                message = from_camera(await stream.readexactly(length))
            except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError):
                return
            match message:
                case Told():
                    if message.what == PROCESS_FAILED:
                        self._failed_of = message.detail
                    self._tell(message.what, message.detail)
                case Figures():
                    self.figures = message
                case Answer():
                    self._settle(message.number, Picture(message.image, message.captured_at_ns))
                case Failure():
                    failed = TooLate if message.too_late else CaptureFailed
                    self._settle(message.number, failed(message.why))

    def _settle(self, number: int, outcome: Picture | CaptureFailed) -> None:
        future = self._asked.get(number)
        if future is None or future.done():
            return
        if isinstance(outcome, CaptureFailed):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _environment() -> dict[str, str]:
    """Where this package is found, and one thread for the arithmetic libraries: a camera's process has a core of work at most."""
    here = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}


async def _end(process: asyncio.subprocess.Process) -> None:
    """Closing its input is what tells it to end."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(ENDS_WITHIN_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _ending(status: int | None, failed_of: str) -> str:
    if failed_of:
        return f"status {status}: {failed_of}"
    if status is not None and status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"status {status}; what it wrote of it stands in the log of this process"
