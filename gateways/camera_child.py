"""The process of one camera: `python -m gateways.camera_child`, started by `gateways.camera_process`.

Reads what is asked from its standard input and ends with it; answers on its standard output.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn, Protocol

from gateways.camera_wire import PROCESS_FAILED, Ask, FromCamera, Setup, Told, Triggered, next_to_camera, packed
from schemas.plant import Camera, GenicamSource, RtspSource

Send = Callable[[FromCamera], None]


class Reader(Protocol):
    """What a kind of camera does in its process. All methods return at once; threads of its own do the work."""

    def start(self) -> None:
        """Begins to connect."""

    def triggered(self, trigger: Triggered) -> None:
        """Takes note of a trigger."""

    def ask(self, ask: Ask) -> None:
        """Takes a question about a trigger that was noted, which gets one `Answer` or `Failure`."""


def main() -> None:
    """Serves one camera until its standard input ends."""
    answers = os.dup(1)
    os.dup2(2, 1)  # libraries that print must not end up between the messages
    guard = threading.Lock()

    def send(message: FromCamera) -> None:
        rest = memoryview(packed(message))
        with guard:
            try:
                while rest:
                    rest = rest[os.write(answers, rest) :]
            except BrokenPipeError:
                os._exit(0)

    def give_up(error: BaseException | None) -> NoReturn:
        send(Told(what=PROCESS_FAILED, detail=repr(error)))
        os._exit(1)

    def thread_failed(failed: threading.ExceptHookArgs) -> None:
        give_up(failed.exc_value)

    threading.excepthook = thread_failed
    setup = next_to_camera(sys.stdin.buffer)
    if isinstance(setup, Setup):
        try:
            reader = _reader(setup.camera, send)
            reader.start()
        except Exception as error:
            give_up(error)
        while isinstance(message := next_to_camera(sys.stdin.buffer), Triggered | Ask):
            reader.triggered(message) if isinstance(message, Triggered) else reader.ask(message)
    # threads may be inside a library that waits for a camera; there is nothing to put in order
    os._exit(0)


def _reader(camera: Camera, send: Send) -> Reader:
    if isinstance(camera.source, RtspSource):
        from gateways.rtsp_reader import RtspReader  # noqa: PLC0415 - each process loads its own driver only

        return RtspReader(camera=camera, source=camera.source, send=send)
    assert isinstance(camera.source, GenicamSource)
    from gateways.genicam_reader import GenicamReader  # noqa: PLC0415 - see above

    return GenicamReader(camera=camera, source=camera.source, send=send)


if __name__ == "__main__":
    # Ctrl-C reaches the whole group; the gateway still finishes the pictures that are owed
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main()
