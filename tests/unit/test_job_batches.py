"""Jobs on threads: each caller gets its own result, and what waits goes together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from topologies.job_batches import JobBatches


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def held(gate: threading.Event, began: threading.Event) -> Callable[[], str]:
    def work() -> str:
        began.set()
        assert gate.wait(10)
        return "held"

    return work


async def test_each_gets_its_own_result_or_error(executor: ThreadPoolExecutor) -> None:
    jobs = JobBatches(executor=executor, threads=2)

    def work(number: int) -> int:
        if number % 5 == 3:
            raise ValueError(number)
        return number * number

    found = await asyncio.gather(*(jobs.run(partial(work, number)) for number in range(40)), return_exceptions=True)
    for number, each in enumerate(found):
        if number % 5 == 3:
            assert isinstance(each, ValueError)
            assert each.args == (number,)
        else:
            assert each == number * number


async def test_the_first_result_of_a_burst_does_not_wait_for_the_jobs_behind_it(executor: ThreadPoolExecutor) -> None:
    jobs = JobBatches(executor=executor, threads=1)
    for _ in range(2):  # the second burst begins as the first did
        gate, began = threading.Event(), threading.Event()
        first = asyncio.create_task(jobs.run(str))
        behind = [asyncio.create_task(jobs.run(held(gate, began))) for _ in range(7)]
        try:
            assert await asyncio.wait_for(first, timeout=5) == ""
        finally:
            gate.set()
        assert await asyncio.gather(*behind) == ["held"] * 7


async def test_under_backlog_jobs_are_done_in_their_order_and_come_back_together_more_each_time(
    executor: ThreadPoolExecutor,
) -> None:
    jobs = JobBatches(executor=executor, threads=1, most_jobs=3)
    gate, began = threading.Event(), threading.Event()
    done: list[int] = []
    returned: list[tuple[int, int]] = []

    async def one(number: int) -> None:
        await jobs.run(partial(done.append, number))
        returned.append((number, len(done)))

    first = asyncio.create_task(jobs.run(held(gate, began)))
    await asyncio.to_thread(began.wait)
    rest = [asyncio.create_task(one(number)) for number in range(8)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *rest)
    assert done == list(range(8))
    assert [number for number, _ in returned] == list(range(8))
    together = [2, 2, 5, 5, 5, 8, 8, 8]
    assert all(count >= least for (_, count), least in zip(returned, together, strict=True)), (
        "two, then three at a time"
    )


async def test_a_job_that_nobody_waits_for_is_not_done(executor: ThreadPoolExecutor) -> None:
    jobs = JobBatches(executor=executor, threads=1)
    gate, began = threading.Event(), threading.Event()
    done: list[int] = []
    first = asyncio.create_task(jobs.run(held(gate, began)))
    await asyncio.to_thread(began.wait)
    given_up = asyncio.create_task(jobs.run(partial(done.append, 1)))
    kept = asyncio.create_task(jobs.run(partial(done.append, 2)))
    await asyncio.sleep(0)
    given_up.cancel()
    gate.set()
    await asyncio.gather(first, kept)
    assert done == [2]
