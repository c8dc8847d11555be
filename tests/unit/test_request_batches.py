"""Rows that wait for the inference server go together, and each caller gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.request_batches import Kind, Parts, RequestBatches

MODEL = ("doubles", 1)


class Server:
    """Answers twice the input; holds requests back until `open` is set, and fails those with a negative row."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.requests: list[list[int]] = []

    async def send(self, kind: Kind, inputs: Parts, timeout_s: float) -> dict[str, np.ndarray]:
        rows = np.concatenate(list(inputs["x"]))
        self.requests.append(rows[:, 0].tolist())
        await self.open.wait()
        if (rows < 0).any():
            raise RuntimeError("no")
        return {"y": rows * 2}


def rows(*values: int) -> Mapping[str, np.ndarray]:
    return {"x": np.array([[value] for value in values])}


def asking(batches: RequestBatches, *values: int, most_rows: int = 4) -> asyncio.Task[dict[str, np.ndarray]]:
    return asyncio.create_task(batches.infer(MODEL, rows(*values), most_rows=most_rows, timeout_s=1))


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_waits_goes_together_in_its_order() -> None:
    server = Server()
    batches = RequestBatches(send=server.send, in_flight=1)
    first = asking(batches, 1)
    await turns()
    later = [asking(batches, value) for value in range(2, 8)]
    await turns()
    assert server.requests == [[1]], "one request at a time"
    server.open.set()
    answers = await asyncio.gather(first, *later)
    assert [int(answer["y"][0, 0]) for answer in answers] == [2, 4, 6, 8, 10, 12, 14]
    assert server.requests == [[1], [2, 3, 4, 5], [6, 7]]


async def test_what_is_there_at_once_goes_at_once() -> None:
    server = Server()
    server.open.set()
    batches = RequestBatches(send=server.send, in_flight=2)
    await asyncio.gather(*(asking(batches, value) for value in range(3)))
    assert server.requests == [[0, 1, 2]]


async def test_a_failed_request_fails_its_rows_and_no_others() -> None:
    server = Server()
    server.open.set()
    batches = RequestBatches(send=server.send, in_flight=1)
    found = await asyncio.gather(
        *(asking(batches, value, most_rows=2) for value in (1, -2, 3, 4)), return_exceptions=True
    )
    assert [isinstance(each, RuntimeError) for each in found] == [True, True, False, False]


async def test_who_wants_to_be_alone_is_alone() -> None:
    server = Server()
    batches = RequestBatches(send=server.send, in_flight=1)
    asked = [asking(batches, 0), asking(batches, 1), asking(batches, 2, most_rows=0), asking(batches, 3)]
    server.open.set()
    await asyncio.gather(*asked)
    assert [2] in server.requests


async def test_rows_of_another_shape_go_by_themselves() -> None:
    server = Server()
    server.open.set()
    batches = RequestBatches(send=server.send, in_flight=1)
    wide = asyncio.create_task(batches.infer(MODEL, {"x": np.ones((1, 2))}, most_rows=4, timeout_s=1))
    answers = await asyncio.gather(asking(batches, 1), wide, asking(batches, 2))
    assert answers[1]["y"].shape == (1, 2)
    assert server.requests == [[1], [1, 2]]


async def test_nobody_is_asked_for_a_row_that_nobody_waits_for() -> None:
    server = Server()
    batches = RequestBatches(send=server.send, in_flight=1)
    first, second, third = asking(batches, 1, most_rows=1), asking(batches, 2, most_rows=1), asking(batches, 3)
    await turns()
    second.cancel()
    await turns()
    server.open.set()
    await asyncio.gather(first, third)
    assert server.requests == [[1], [3]]


@pytest.mark.parametrize(("longest_s", "sent"), [(0.0, [[0], [1], [2], [3], [4]]), (1e9, [[0], [1, 2, 3, 4]])])
async def test_a_request_holds_the_rows_that_are_answered_soon(longest_s: float, sent: list[list[int]]) -> None:
    """By how long rows took before; one row is never too many."""
    server = Server()
    server.open.set()
    batches = RequestBatches(send=server.send, in_flight=1, longest_s=longest_s)
    await asking(batches, 0)
    await asyncio.gather(*(asking(batches, value) for value in range(1, 5)))
    assert server.requests == sent


async def test_closing_ends_everybody_who_waits() -> None:
    server = Server()
    batches = RequestBatches(send=server.send, in_flight=1)
    asked = [asking(batches, value, most_rows=1) for value in range(3)]
    await turns()
    await batches.close()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in found)


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=20),
    in_flight=st.integers(1, 3),
    most_rows=st.integers(0, 8),
)
def test_everybody_gets_the_answer_to_their_own_rows(sizes: list[int], in_flight: int, most_rows: int) -> None:
    async def ask_all() -> Server:
        server = Server()
        server.open.set()
        batches = RequestBatches(send=server.send, in_flight=in_flight)
        given_rows = [range(10 * number, 10 * number + size) for number, size in enumerate(sizes)]
        answers = await asyncio.gather(*(asking(batches, *mine, most_rows=most_rows) for mine in given_rows))
        for mine, answer in zip(given_rows, answers, strict=True):
            assert answer["y"][:, 0].tolist() == [2 * value for value in mine]
        return server

    server = asyncio.run(ask_all())
    assert all(len(request) <= max(most_rows, *sizes) for request in server.requests)
    assert sorted(value for request in server.requests for value in request) == sorted(
        value for number, size in enumerate(sizes) for value in range(10 * number, 10 * number + size)
    )


@pytest.mark.parametrize("in_flight", [1, 3])
async def test_never_more_requests_than_allowed(in_flight: int) -> None:
    server = Server()
    batches = RequestBatches(send=server.send, in_flight=in_flight)
    asked = [asking(batches, value, most_rows=1) for value in range(9)]
    await turns()
    assert len(server.requests) == in_flight
    server.open.set()
    await asyncio.gather(*asked)
