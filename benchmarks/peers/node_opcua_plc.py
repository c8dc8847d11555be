"""A PLC that is not ours, as a process: node-opcua's server with `node_opcua/plc.js` as its program."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from benchmarks.peers.node_opcua_install import PROGRAM, environment, install
from gateways.certificates import read_facts
from schemas.plant import PasswordLogin, Plc

ANSWERS_WITHIN_S = 20.0


class NodeOpcuaPlc:
    """Serves one station at `plc`'s endpoint, encrypted where the plant file says so. Use as an async context manager.

    Its certificate is `plc.server_certificate`, its key beside it as `.key`; it trusts `trusted` and no other. `folder` is for what
    node-opcua keeps. Raises `NodeOpcuaMissing`.
    """

    def __init__(self, *, plc: Plc, station: str, folder: Path, trusted: Path | None = None, **options: Any) -> None:
        self.port = urlsplit(plc.endpoint).port
        self._options = {"port": self.port, "station": station, "folder": str(folder), "cycleMs": 10, **options}
        if plc.security != "none":
            assert plc.server_certificate is not None
            own = folder / plc.server_certificate
            self._options |= {
                "certificate": str(own),
                "privateKey": str(own.with_suffix(".key")),
                "applicationUri": read_facts(own).application_uri,
                "trusted": str(trusted),
            }
        if isinstance(plc.login, PasswordLogin):
            self._options |= {"user": plc.login.user, "password": plc.login.password}

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(install)
        self._process = await asyncio.create_subprocess_exec(
            "node", str(PROGRAM), json.dumps(self._options),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment(),
        )  # fmt: skip
        if await self._line() != {"listening": True}:
            raise RuntimeError("node-opcua's server did not start; what it said is above")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        await self._process.wait()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def kill(self) -> None:
        """Ends it at once, as a power cut does."""
        if self._process.returncode is None:
            self._process.kill()

    async def ask(self, question: str, **arguments: Any) -> Any:
        """The answer to one of the program's `QUESTIONS`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"ask": question, **arguments}).encode() + b"\n")
        return (await self._line())["answer"]

    async def _line(self) -> Any:
        assert self._process.stdout is not None
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            while line := await self._process.stdout.readline():
                if line.startswith(b"{"):  # node-opcua prints warnings there, too
                    return json.loads(line)
        return None
