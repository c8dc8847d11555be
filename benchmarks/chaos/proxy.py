"""A TCP proxy in front of one service: it can hold connections without closing them, delay what passes, and reset some of them.

Runs in a thread of its own. All methods may be called from any thread.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Self

from ops.local.ports import HOST

CHUNK_BYTES = 256 * 1024
QUEUED_CHUNKS = 64
READY_S = 5.0
RESET_EVERY_S = 1.0
LINGER_NOT = struct.pack("ii", 1, 0)
"""Closing a socket set so sends a reset instead of an orderly end."""


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
        self._passing: asyncio.Event
        self._open: set[asyncio.StreamWriter] = set()
        self._pipes: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def hold(self) -> None:
        """From now on nothing passes: connections stay open, and new ones are accepted, without an answer."""
        self._loop.call_soon_threadsafe(self._passing.clear)

    def release(self) -> None:
        """What was held passes."""
        self._loop.call_soon_threadsafe(self._passing.set)

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
        self._passing = asyncio.Event()
        self._passing.set()
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
        await self._passing.wait()
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self._target_port)
        except OSError:
            writer.transport.abort()  # the service is not there: the client is told as it would be without us
            return
        self._open |= {writer, far_writer}
        pipes = [
            asyncio.create_task(self._forward(reader, far_writer)),
            asyncio.create_task(self._forward(far_reader, writer)),
        ]
        self._pipes.update(pipes)
        await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        for pipe in pipes:
            pipe.cancel()
        self._pipes.difference_update(pipes)
        self._open -= {writer, far_writer}
        writer.close()
        far_writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_CHUNKS)
        sending = asyncio.create_task(self._send(queue, writer))
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                await queue.put((time.monotonic() + self._delay_s, chunk))
            await queue.put((time.monotonic() + self._delay_s, b""))
            await sending
        except OSError:
            pass  # one side is gone; the other one is closed by who started us
        finally:
            sending.cancel()

    async def _send(self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            due_s, chunk = await queue.get()
            if (wait_s := due_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            await self._passing.wait()
            if not chunk:
                return
            writer.write(chunk)
            await writer.drain()

    async def _reset_regularly(self) -> None:
        while True:
            await asyncio.sleep(RESET_EVERY_S)
            for writer in [item for item in self._open if self._random.random() < self._reset_ratio]:
                connection = writer.get_extra_info("socket")
                if connection is not None and connection.fileno() >= 0:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
                    self.resets += 1
                writer.transport.abort()
