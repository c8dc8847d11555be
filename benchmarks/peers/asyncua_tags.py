"""PLCs with tags to be sampled, as a process: asyncua servers whose tags say how often they were read, so that a loss has a number.

`python -m benchmarks.peers.asyncua_tags '{"ports": [4840], "tags": 64, "namespace": "urn:..."}'`. A tag is 0 until `count` is asked,
then 1, 2, 3 ... with each reading, and -1 after `stop`, whose answer says how often each tag was read.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

from asyncua import Server, ua

from benchmarks.peers.answering_process import AnsweringProcess

BEFORE, AFTER = 0.0, -1.0


class AsyncuaTags(AnsweringProcess):
    """One server at each port, each with as many tags: nodes `s=Tag.0` and so on."""

    def __init__(self, *, ports: Sequence[int], tags: int, namespace: str) -> None:
        given = json.dumps({"ports": list(ports), "tags": tags, "namespace": namespace})
        super().__init__([sys.executable, "-m", "benchmarks.peers.asyncua_tags", given], environment=os.environ)


class _Tags:
    """The tags of all servers of the process, by port and number."""

    def __init__(self) -> None:
        self._state = "before"
        self._counts: dict[str, Iterator[int]] = {}
        self._given: dict[str, int] = {}

    def add(self, server: Server, node: ua.NodeId, name: str) -> None:
        """Makes `node` a tag."""
        self._counts[name] = itertools.count(1)
        self._given[name] = 0
        server.set_attribute_value_callback(node, lambda _node, _attribute: self._value(name))

    def answer(self, question: str) -> dict[str, int]:
        """`count` begins, `stop` ends; how often each tag was read in between."""
        self._state = {"count": "counting", "stop": "after"}[question]
        return self._given

    def _value(self, name: str) -> ua.DataValue:
        value = BEFORE if self._state == "before" else AFTER
        if self._state == "counting":
            self._given[name] = next(self._counts[name])
            value = float(self._given[name])
        return ua.DataValue(ua.Variant(value, ua.VariantType.Double))


async def _serve(options: dict[str, Any]) -> None:
    tags = _Tags()
    async with AsyncExitStack() as stack:
        for port in options["ports"]:
            server = Server()
            await server.init()
            server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/")
            server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
            index = await server.register_namespace(options["namespace"])
            for number in range(options["tags"]):
                node = ua.NodeId(f"Tag.{number}", index)
                await server.nodes.objects.add_variable(node, f"Tag{number}", 0.0, ua.VariantType.Double)
                tags.add(server, node, f"{port}/{number}")
            await stack.enter_async_context(server)
        print(json.dumps({"listening": True}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps({"answer": tags.answer(json.loads(line)["ask"])}), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
