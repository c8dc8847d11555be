"""Jobs for threads: alone at first, several at a time under backlog, so that their results come back together.

Moving a job to a thread and back costs more of the interpreter than many a job itself; and what comes back together
goes on to the inference server together. But the server has nothing to do until the first result is there: a backlog begins
with one job for each thread, and each time a thread comes back to jobs that still wait it takes up to twice as many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

MOST_JOBS = 8

Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Job:
    work: Callable[[], Any]
    result: asyncio.Future[Any]


class JobBatches:
    """Jobs in the order of their calls, on `threads` threads of `executor`, at most `most_jobs` in one go, of a long backlog."""

    def __init__(self, *, executor: Executor, threads: int, most_jobs: int = MOST_JOBS) -> None:
        self._executor = executor
        self._most_jobs = most_jobs
        self._idle = threads
        self._jobs_per_go = 1
        self._waiting: deque[_Job] = deque()
        self._called = False

    async def run(self, work: Callable[[], Result]) -> Result:
        """What `work` returns or raises. One that was cancelled before its turn is not done."""
        loop = asyncio.get_running_loop()
        job = _Job(work, loop.create_future())
        self._waiting.append(job)
        if not self._called:
            self._called = True
            loop.call_soon(self._dispatch)
        result: Result = await job.result
        return result

    def _dispatch(self) -> None:
        """Shares what waits among the idle threads."""
        self._called = False
        while self._waiting and self._idle:
            share = -(-len(self._waiting) // self._idle)
            jobs = [self._waiting.popleft() for _ in range(min(share, self._jobs_per_go))]
            jobs = [job for job in jobs if not job.result.done()]
            if jobs:
                self._idle -= 1
                done = asyncio.get_running_loop().run_in_executor(self._executor, _do_all, [job.work for job in jobs])
                done.add_done_callback(partial(self._done, jobs))

    def _done(self, jobs: Sequence[_Job], done: asyncio.Future[list[tuple[Any, BaseException | None]]]) -> None:
        self._idle += 1
        self._jobs_per_go = min(2 * self._jobs_per_go, self._most_jobs) if self._waiting else 1
        self._dispatch()  # the thread goes on while the results are handed out
        if done.cancelled():
            for job in jobs:
                job.result.cancel()
            return
        for job, (result, error) in zip(jobs, done.result(), strict=True):
            if job.result.done():
                continue
            if error is None:
                job.result.set_result(result)
            else:
                job.result.set_exception(error)


def _do_all(works: Sequence[Callable[[], Any]]) -> list[tuple[Any, BaseException | None]]:
    outcomes: list[tuple[Any, BaseException | None]] = []
    for work in works:
        try:
            outcomes.append((work(), None))
        except Exception as error:
            outcomes.append((None, error))
    return outcomes
