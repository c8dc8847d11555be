"""Versions in shadow, asked about live frames after the line has answered: one frame at a time, in the line's pauses, to `shadows`.

Nothing here can delay a part or fail one: a frame comes here when its inspection is out; the models are asked by a client of their own
(`shadow_models`), the picture is fetched and decoded in a thread that yields to every other, and what is said goes out by a producer of
its own. What waits is bounded; a frame that finds no room, or waits too long, is dropped with a reason and counted. A sample is enough.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from processors.frame_checks import Assignment, FrameChecks
from processors.shadow_answers import answered, failed, trials
from schemas.closing import close
from schemas.codec import encode
from schemas.errors import LinesightError, Refused, Transient
from schemas.frames import Frame
from schemas.inspections import Inspection
from schemas.object_store import ObjectStore
from schemas.patience import patiently
from schemas.plant import Plant
from schemas.reasons import FrameOutcome, RefusalReason
from schemas.recipes import ModelPin, ViewInspection
from schemas.settings import KafkaSettings, TritonSettings
from schemas.shadows import ShadowAnswer
from schemas.telemetry import Stage
from schemas.topics import MIB_BYTES, SHADOWS
from topologies.examinations import Examinations
from topologies.followed_models import FollowedModels
from topologies.frame_content import FrameContents
from topologies.model_control import ModelUnusable
from topologies.picture_work import PictureWork
from topologies.recipe_models import models_for
from topologies.references import References
from topologies.shadow_models import ShadowModels

MOST_WAITING = 64
MOST_WAITING_BYTES = 32 * MIB_BYTES
LONGEST_WAIT_S = 2.0
"""A frame waits so long for a moment in which no live one is in work; then it goes ahead: a busy line must prove something, too."""
LOOK_EVERY_S = 0.01
TOO_OLD_S = 10.0
REQUEST_TIMEOUT_MS = 5_000
LEAST_URGENT = 19
"""`nice` of the thread that decodes."""
GONE = (RefusalReason.OBJECT_MISSING, RefusalReason.MISSING_REFERENCE)
"""What is not the version's fault: the picture or its reference is not there any more."""


class ShadowBench:
    """`offer` takes a frame that was inspected, `run` works it off. Make it inside the running loop; `close` at the end.

    `is_idle` says whether no live frame is in work.
    """

    def __init__(
        self,
        *,
        plant: Plant,
        plant_dir: Path,
        followed: FollowedModels,
        store: ObjectStore,
        stage: Stage,
        is_idle: Callable[[], bool],
    ) -> None:
        self._topic = SHADOWS.on(plant.plant)
        self._checks = FrameChecks(plant)
        self._followed = followed
        self._stage = stage
        self._is_idle = is_idle
        self._executor = ThreadPoolExecutor(1, "shadow", _yield_to_all)
        self._models = ShadowModels(settings=TritonSettings(), told=followed.told)
        references = References(plant_dir=plant_dir, store=store, stage=stage, executor=self._executor)
        work = PictureWork(executor=self._executor, threads=1, stage=stage)
        self._examinations = Examinations(triton=self._models, references=references, work=work)
        self._contents = FrameContents(store=store, stage=stage, fetching=self._executor)
        self._waiting: deque[tuple[Frame, Inspection, float]] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._answers = stage.counter("shadow_answers", "Answers of versions in shadow, given or failed.", "outcome")
        self._dropped = stage.counter("shadow_dropped", "Frames that no shadow was asked about.", "reason")

    def offer(self, frame: Frame, inspection: Inspection) -> None:
        """A frame whose inspection is out. Never waits, never raises."""
        if inspection.outcome is not FrameOutcome.INSPECTED or not self._followed.has_shadow:
            return
        size_bytes = len(frame.image or b"")
        if len(self._waiting) >= MOST_WAITING or self._waiting_bytes + size_bytes > MOST_WAITING_BYTES:
            self._dropped.labels("behind").inc()
            return
        self._waiting.append((frame, inspection, time.monotonic()))
        self._waiting_bytes += size_bytes
        self._arrived.set()

    async def run(self, kafka: KafkaSettings) -> None:
        """Works off what is offered, until cancelled. Waits for a broker that is away."""
        while not self._waiting:
            await self._arrived.wait()  # no client before there is something to say

        async def work() -> None:
            producer = AIOKafkaProducer(**kafka.client(), acks=1, request_timeout_ms=REQUEST_TIMEOUT_MS)
            try:
                await producer.start()
                while True:
                    await self._next(producer)
            finally:
                await close(producer)

        await patiently(work, stage=self._stage, service="broker", away=(KafkaError, OSError))

    async def close(self) -> None:
        """Closes the connection to the inference server."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        await self._models.close()

    async def _next(self, producer: AIOKafkaProducer) -> None:
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        await self._pause()
        frame, inspection, since_s = self._waiting.popleft()
        self._waiting_bytes -= len(frame.image or b"")
        if time.monotonic() - since_s > TOO_OLD_S:
            self._dropped.labels("behind").inc()
            return
        try:
            answers = await self._answers_of(frame, inspection)
        except Transient as away:
            self._dropped.labels("server_away").inc()
            self._stage.log.info("shadow_dropped", frame=frame.id, detail=str(away))
            return
        except Refused as gone:
            self._dropped.labels(gone.reason.value).inc()
            return
        except Exception as error:  # a defect of our own in the shadow must not end the stage that judges parts
            self._dropped.labels("failed").inc()
            self._stage.log.error("shadow_failed", frame=frame.id, exc_info=error)
            return
        for answer in answers:
            encoded = encode(SHADOWS, answer)
            await producer.send_and_wait(
                self._topic, encoded.value, key=answer.station.encode(), headers=encoded.headers
            )
            self._answers.labels("failed" if answer.error else "given").inc()

    async def _pause(self) -> None:
        """Returns when no live frame is in work, or after `LONGEST_WAIT_S`."""
        until_s = time.monotonic() + LONGEST_WAIT_S
        while not self._is_idle() and time.monotonic() < until_s:  # noqa: ASYNC110  a count, which nobody announces
            await asyncio.sleep(LOOK_EVERY_S)

    async def _answers_of(self, frame: Frame, inspection: Inspection) -> list[ShadowAnswer]:
        assignment = self._checks.check(frame)
        content = await self._contents.content(frame, assignment.camera)
        asked = trials(assignment, inspection, shadow_of=self._followed.shadow)
        return [await self._ask(pin, trial, frame, inspection, content) for pin, trial in asked]

    async def _ask(
        self, pin: ModelPin, trial: Assignment, frame: Frame, inspection: Inspection, content: bytes
    ) -> ShadowAnswer:
        started = time.perf_counter()
        try:
            digest = await self._held(trial.inspection, pin)
            found = await self._examinations.examine(trial, frame, content)
        except Refused as refused:
            if refused.reason in GONE:
                raise
            return failed(pin, trial, inspection, error=str(refused), now_ns=time.time_ns())
        except ModelUnusable as unusable:
            return failed(pin, trial, inspection, error=str(unusable), now_ns=time.time_ns())
        except Transient:
            raise
        except LinesightError as error:
            return failed(pin, trial, inspection, error=str(error), now_ns=time.time_ns())
        total_ms = (time.perf_counter() - started) * 1000
        return answered(pin, digest, trial, inspection, found, total_ms=total_ms, now_ns=time.time_ns())

    async def _held(self, inspection: ViewInspection, pin: ModelPin) -> str:
        """Has every model of the inspection ready; the digest of the one in shadow."""
        for model in models_for(inspection):
            await self._models.hold(model)
        return self._models.use(pin).digest


def _yield_to_all() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LEAST_URGENT)  # on Linux a thread has its own
