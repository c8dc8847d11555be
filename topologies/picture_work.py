"""Work on one picture, in threads or on the loop: a defect of our own code costs this picture, not the line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from schemas.errors import LinesightError, Refused
from schemas.frames import Frame
from schemas.reasons import RefusalReason
from schemas.telemetry import Stage
from topologies.job_batches import JobBatches

Result = TypeVar("Result")


class PictureWork:
    """`threads` of the executor's are for `prepare`: the first work on a frame, several at a time under backlog."""

    def __init__(self, *, executor: Executor, threads: int, stage: Stage) -> None:
        self._executor = executor
        self._preparing = JobBatches(executor=executor, threads=threads)
        self._stage = stage

    async def prepare(self, frame: Frame, work: Callable[[], Result]) -> Result:
        """What `work` makes of the frame, in its turn. Raises Refused."""
        return await self._preparing.run(partial(self.here, frame, work))

    async def in_thread(self, frame: Frame, work: Callable[[], Result]) -> Result:
        """What `work` makes of the frame, in a thread as soon as one is free. Raises Refused."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self.here, frame, work)

    def here(self, frame: Frame, work: Callable[[], Result]) -> Result:
        """What `work` makes of the frame, in this thread. Raises Refused, `inspection_failed` for what is our own fault."""
        try:
            return work()
        except (LinesightError, MemoryError):
            raise
        except Exception as error:
            self._stage.log.error("inspection_failed", frame=frame.id, exc_info=error)
            raise Refused(RefusalReason.INSPECTION_FAILED, f"our code failed on this picture: {error!r}") from error
