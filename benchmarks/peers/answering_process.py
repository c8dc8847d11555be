"""A server of a peer as a process: it prints `{"listening": true}` once it serves, then answers each line on its input with one line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

STARTS_WITHIN_S = 90.0
ANSWERS_WITHIN_S = 20.0
ENDS_WITHIN_S = 5.0


class AnsweringProcess:
    """Use as an async context manager. Raises `RuntimeError` where the process does not come to listen."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = environment

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=self._environment
        )
        if await self._line(within_s=STARTS_WITHIN_S) != {"listening": True}:
            raise RuntimeError(f"{self._command[:3]} did not start; what it said is above")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # the end of its input ends it
        try:
            await asyncio.wait_for(self._process.wait(), ENDS_WITHIN_S)
        except TimeoutError:
            self.kill()
            await self._process.wait()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def kill(self) -> None:
        """Ends it at once, as a power cut does."""
        if self._process.returncode is None:
            self._process.kill()

    async def ask(self, question: str, **arguments: Any) -> Any:
        """The answer to a question that the program knows."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"ask": question, **arguments}).encode() + b"\n")
        return (await self._line(within_s=ANSWERS_WITHIN_S))["answer"]

    async def _line(self, *, within_s: float) -> Any:
        assert self._process.stdout is not None
        async with asyncio.timeout(within_s):
            while line := await self._process.stdout.readline():
                if line.startswith(b"{"):  # node-opcua prints warnings there, too
                    return json.loads(line)
        return None
