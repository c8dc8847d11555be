"""Rows that wait for the server become one request: batches by backlog, without a timer.

While fewer than `in_flight` requests are under way, what is there is sent at once; above that, rows of one kind gather
until a request ends, and go together. Not more than are answered in a fifth of a second, by how long rows of their kind took
last. A batch saves what a request costs beside its rows, about a ms; a large network on a CPU takes 20 to 100 ms a row, is slower
in batches than row by row, and with sixteen rows in each of four requests all would be later than the timeout.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from topologies.background import Background

LONGEST_S = 0.2
"""What a request of several rows takes at most, its waiting at the server included."""

Array = npt.NDArray[Any]
Parts = Mapping[str, Sequence[Array]]
"""Input name -> arrays that follow each other along the first axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Requests that can go together: of one model (name, version), with rows of one shape and type."""

    model: tuple[str, int]
    rows: tuple[tuple[str, tuple[int, ...], str], ...]


@dataclass(slots=True, eq=False, kw_only=True)
class _Waiting:
    kind: Kind
    inputs: Mapping[str, Array]
    rows: int
    most_rows: int
    timeout_s: float
    answer: asyncio.Future[dict[str, Array]]


Send = Callable[[Kind, Parts, float], Awaitable[dict[str, Array]]]
"""Sends one request (inputs, timeout in s) and returns its outputs by name."""


class RequestBatches:
    """At most `in_flight` requests at a time, oldest rows first. A failed request fails all of its rows."""

    def __init__(self, *, send: Send, in_flight: int, longest_s: float = LONGEST_S) -> None:
        self._send = send
        self._longest_s = longest_s
        self._in_flight = in_flight
        self._under_way = 0
        self._waiting: deque[_Waiting] = deque()
        self._sending = Background()
        self._called = False
        self._row_s: dict[Kind, float] = {}

    async def infer(
        self, model: tuple[str, int], inputs: Mapping[str, Array], *, most_rows: int, timeout_s: float
    ) -> dict[str, Array]:
        """The outputs of these rows. `most_rows`: what one request may hold; fewer than the rows given means alone."""
        waiting = _Waiting(
            kind=Kind(
                model=model,
                rows=tuple((name, array.shape[1:], array.dtype.str) for name, array in inputs.items()),
            ),
            inputs=inputs,
            rows=len(next(iter(inputs.values()))),
            most_rows=most_rows,
            timeout_s=timeout_s,
            answer=asyncio.get_running_loop().create_future(),
        )
        self._waiting.append(waiting)
        if not self._called:
            # what else becomes ready in this turn of the loop goes along
            self._called = True
            asyncio.get_running_loop().call_soon(self._dispatch)
        return await waiting.answer

    async def close(self) -> None:
        """Ends what is under way or waits."""
        self._in_flight = 0
        for item in self._waiting:
            item.answer.cancel()
        await self._sending.cancel()

    def _dispatch(self) -> None:
        self._called = False
        while self._waiting and self._under_way < self._in_flight:
            batch = self._next_batch()
            if batch:
                self._under_way += 1
                self._sending.spawn(self._send_batch(batch))

    def _next_batch(self) -> list[_Waiting]:
        """The oldest rows, and those of their kind that fit beside them, in their order; nobody waits for a cancelled one."""
        batch: list[_Waiting] = []
        rows = 0
        most_rows = 0
        others: deque[_Waiting] = deque()
        while self._waiting:
            item = self._waiting.popleft()
            if item.answer.done():
                continue
            fits = not batch or (item.kind == batch[0].kind and rows + item.rows <= min(item.most_rows, most_rows))
            if fits:
                if not batch:
                    most_rows = min(item.most_rows, self._rows_in_time(item))
                batch.append(item)
                rows += item.rows
            else:
                others.append(item)
        self._waiting = others
        return batch

    def _rows_in_time(self, item: _Waiting) -> int:
        """How many rows of its kind a request may hold, by how long the last ones took; their waiting at the server included."""
        row_s = self._row_s.get(item.kind)
        if row_s is None:
            return item.most_rows
        return int(self._longest_s / row_s)

    async def _send_batch(self, batch: Sequence[_Waiting]) -> None:
        inputs = {name: [item.inputs[name] for item in batch] for name in batch[0].inputs}
        began_s = time.perf_counter()
        try:
            outputs = await self._send(batch[0].kind, inputs, max(item.timeout_s for item in batch))
        except asyncio.CancelledError:
            for item in batch:
                item.answer.cancel()
            raise
        except Exception as error:
            for item in batch:
                if not item.answer.done():
                    item.answer.set_exception(error)
        else:
            at = 0
            for item in batch:
                if not item.answer.done():
                    item.answer.set_result({name: array[at : at + item.rows] for name, array in outputs.items()})
                at += item.rows
        finally:
            # also of a request that was too late: the next one is smaller
            self._row_s[batch[0].kind] = (time.perf_counter() - began_s) / sum(item.rows for item in batch)
            self._under_way -= 1
            self._dispatch()
