"""A TCP proxy in front of one service: it can hold connections without closing them, one way or both, delay what passes, and reset
connections.

Runs in a thread of its own. All methods may be called from any thread.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
import time
from enum import Enum
from types import TracebackType
from typing import Self

from ops.local.ports import HOST

CHUNK_BYTES = 256 * 1024
QUEUED_CHUNKS = 64
READY_S = 5.0
RESET_EVERY_S = 1.0
LINGER_NOT = struct.pack("ii", 1, 0)
"""Closing a socket set so sends a reset instead of an orderly end."""


class Way(Enum):
    """A direction through the proxy."""

    TO_SERVICE = "to the service"
    TO_CLIENTS = "to its clients"


class Proxy:
    """Forwards connections to `host:target_port` from `port`. Use as a context manager; it forwards at once."""

    def __init__(self, *, port: int, target_port: int, seed: int) -> None:
        self.port = port
        self.resets = 0
        self._target_port = target_port
        self._random = random.Random(seed)
        self._delay_s = 0.0
        self._reset_ratio = 0.0
        self._loop = asyncio.new_event_loop()
        self._passing: dict[Way, asyncio.Event]
        self._cut = False
        self._open: set[asyncio.StreamWriter] = set()
        self._pipes: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def hold(self, *ways: Way) -> None:
        """From now on nothing passes these ways, or either way where none is named.

        Connections stay open, and new ones are accepted, without an answer.
        """
        for way in ways or Way:
            self._loop.call_soon_threadsafe(self._passing[way].clear)

    def cut(self) -> None:
        """Every open connection is reset, and every new one at once."""
        self._cut = True
        self._loop.call_soon_threadsafe(self._reset, 1.0)

    def release(self) -> None:
        """What was held passes, and new connections are let in."""
        self._cut = False
        for passing in self._passing.values():
            self._loop.call_soon_threadsafe(passing.set)

    def delay(self, delay_ms: float) -> None:
        """Whatever passes from now on comes so much later, in either direction."""
        self._delay_s = delay_ms / 1000

    def reset_some(self, ratio: float) -> None:
        """Every second each open connection is reset with this probability."""
        self._reset_ratio = ratio

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(READY_S):
            raise RuntimeError(f"the proxy does not listen on port {self.port}: is the port taken?")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._passing = {way: asyncio.Event() for way in Way}
        for passing in self._passing.values():
            passing.set()
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, HOST, self.port))
        resetting = self._loop.create_task(self._reset_regularly())
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in (resetting, *self._pipes):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        for writer in self._open:
            writer.transport.abort()
        self._loop.run_until_complete(asyncio.sleep(0))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for passing in self._passing.values():
            await passing.wait()
        if self._cut:
            self._reset_connection(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self._target_port)
        except OSError:
            writer.transport.abort()  # the service is not there: the client is told as it would be without us
            return
        self._open |= {writer, far_writer}
        pipes = [
            asyncio.create_task(self._forward(reader, far_writer, self._passing[Way.TO_SERVICE])),
            asyncio.create_task(self._forward(far_reader, writer, self._passing[Way.TO_CLIENTS])),
        ]
        self._pipes.update(pipes)
        await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        for pipe in pipes:
            pipe.cancel()
        self._pipes.difference_update(pipes)
        self._open -= {writer, far_writer}
        writer.close()
        far_writer.close()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: asyncio.Event
    ) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_CHUNKS)
        sending = asyncio.create_task(self._send(queue, writer, passing))
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                await queue.put((time.monotonic() + self._delay_s, chunk))
            await queue.put((time.monotonic() + self._delay_s, b""))
            await sending
        except OSError:
            pass  # one side is gone; the other one is closed by who started us
        finally:
            sending.cancel()

    async def _send(
        self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, passing: asyncio.Event
    ) -> None:
        while True:
            due_s, chunk = await queue.get()
            if (wait_s := due_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            await passing.wait()
            if not chunk:
                return
            writer.write(chunk)
            await writer.drain()

    async def _reset_regularly(self) -> None:
        while True:
            await asyncio.sleep(RESET_EVERY_S)
            self._reset(self._reset_ratio)

    def _reset(self, ratio: float) -> None:
        for writer in [item for item in self._open if self._random.random() < ratio]:
            self._reset_connection(writer)

    def _reset_connection(self, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            self.resets += 1
        writer.transport.abort()
