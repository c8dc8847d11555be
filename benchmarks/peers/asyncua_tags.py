"""PLCs with tags to be sampled, as a process: asyncua servers whose tags count their own samples, so that a loss has a number.

`python -m benchmarks.peers.asyncua_tags '{"ports": [4840], "tags": 64, "namespace": "urn:...", "sampleMs": 100}'`. asyncua samples a
node when it is written, so each tag is written once a period, in time on average: 1, 2, 3 ... from `count` on, until `stop`, whose answer
says how far each tag came. With `certificate` and `privateKey` the servers are encrypted.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asyncua import Server, ua

from benchmarks.peers.answering_process import AnsweringProcess
from gateways.certificates import read_facts

BEFORE = 0.0


class AsyncuaTags(AnsweringProcess):
    """One server at each port, each with as many tags: nodes `s=Tag.0` and so on. `certificate` has its key beside it, as `.key`."""

    def __init__(
        self, *, ports: Sequence[int], tags: int, namespace: str, sample_ms: int, certificate: Path | None = None
    ) -> None:
        given: dict[str, Any] = {"ports": list(ports), "tags": tags, "namespace": namespace, "sampleMs": sample_ms}
        if certificate is not None:
            given |= {"certificate": str(certificate), "privateKey": str(certificate.with_suffix(".key"))}
        super().__init__(
            [sys.executable, "-m", "benchmarks.peers.asyncua_tags", json.dumps(given)], environment=os.environ
        )


class _Tags:
    """The tags of all servers of the process."""

    def __init__(self, *, sample_ms: int) -> None:
        self._period_s = sample_ms / 1000
        self._nodes: list[tuple[Server, ua.NodeId, str]] = []
        self._count = 0
        self._counting = asyncio.Event()
        self._stopped = asyncio.Event()

    def add(self, server: Server, node: ua.NodeId, name: str) -> None:
        """Makes `node` a tag."""
        self._nodes.append((server, node, name))

    async def answer(self, question: str) -> dict[str, int]:
        """`count` begins, `stop` ends; how often each tag was sampled in between."""
        if question == "count":
            self._counting.set()
        else:
            self._counting.clear()
            await self._stopped.wait()
        return {name: self._count for _, _, name in self._nodes}

    async def sample(self) -> None:
        """Gives every tag its next value once a period. One that is late is made up for: the times of the samples are those when they
        were due."""
        await self._counting.wait()
        loop, began = asyncio.get_running_loop(), datetime.now(UTC).timestamp()
        began_s = loop.time()
        while self._counting.is_set():
            self._count += 1
            due_s = self._count * self._period_s
            await asyncio.sleep(max(0.0, began_s + due_s - loop.time()))
            taken = ua.DataValue(
                ua.Variant(float(self._count), ua.VariantType.Double),
                SourceTimestamp=datetime.fromtimestamp(began + due_s, UTC),
            )
            for server, node, _ in self._nodes:
                await server.write_attribute_value(node, taken)
        self._stopped.set()


async def _serve(options: dict[str, Any]) -> None:
    tags = _Tags(sample_ms=options["sampleMs"])
    async with AsyncExitStack() as stack:
        for port in options["ports"]:
            server = Server()
            await server.init()
            server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/")
            await _secure(server, options)
            index = await server.register_namespace(options["namespace"])
            for number in range(options["tags"]):
                node = ua.NodeId(f"Tag.{number}", index)
                await server.nodes.objects.add_variable(node, f"Tag{number}", BEFORE, ua.VariantType.Double)
                tags.add(server, node, f"{port}/{number}")
            await stack.enter_async_context(server)
        sampling = asyncio.create_task(tags.sample())
        print(json.dumps({"listening": True}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps({"answer": await tags.answer(json.loads(line)["ask"])}), flush=True)
        sampling.cancel()


async def _secure(server: Server, options: dict[str, Any]) -> None:
    if "certificate" not in options:
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        return
    await server.set_application_uri(read_facts(Path(options["certificate"])).application_uri)
    await server.load_certificate(options["certificate"])
    await server.load_private_key(options["privateKey"], format="pem")
    server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
