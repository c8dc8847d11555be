"""When verdicts become visible to somebody who reads the topic: gaps, and how soon one follows a fault's end."""

from __future__ import annotations

import itertools
import threading
import time
from types import TracebackType
from typing import Self

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from schemas.codec import decode
from schemas.plant import Plant
from schemas.reasons import VerdictValue
from schemas.settings import KafkaSettings
from schemas.topics import VERDICTS
from schemas.verdicts import Verdict

POLL_MS = 50
RECONNECT_MS = 200  # the client's own default waits longer than the line needs


class VerdictWatch:
    """A reader in a thread of its own, through the same network as the line's. Use as a context manager once the topics exist.

    Leaving it raises RuntimeError where the reader ended early: what it saw until then is no measurement.
    """

    def __init__(self, plant: Plant) -> None:
        self._places = [TopicPartition(VERDICTS.on(plant.plant), number) for number in range(plant.kafka.partitions)]
        self._seen: list[tuple[float, bool]] = []  # when (monotonic s), and whether the part was decided
        self._ids: set[str] = set()
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(KafkaSettings(),), daemon=True)

    def longest_gap_s(self, *, since_s: float, until_s: float) -> float | None:
        """The longest time without a verdict that began before `until_s` and ended after `since_s`. None: no two verdicts span it."""
        times = [at_s for at_s, _ in self._seen]
        gaps = [b - a for a, b in itertools.pairwise(times) if b > since_s and a < until_s]
        return max(gaps, default=None)

    def first_after_s(self, at_s: float, *, decided: bool = False) -> float | None:
        """How long after `at_s` the first verdict came; with `decided`, the first that is not NOT_DECIDABLE. None: none came."""
        return next((seen_s - at_s for seen_s, was in self._seen if seen_s > at_s and (was or not decided)), None)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None and error is None:
            raise RuntimeError(f"the verdicts were not watched to the end: {self._error!r}") from self._error

    def _run(self, kafka: KafkaSettings) -> None:
        try:
            self._read(kafka)
        except Exception as error:  # whatever it is, it belongs to who waits for the figures
            self._error = error

    def _read(self, kafka: KafkaSettings) -> None:
        consumer = KafkaConsumer(
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            reconnect_backoff_max_ms=RECONNECT_MS,
            **kafka.client(),
        )
        try:
            consumer.assign(self._places)
            consumer.seek_to_beginning(*self._places)
            while not self._stop.is_set():
                try:
                    batches = consumer.poll(timeout_ms=POLL_MS)
                except KafkaError:
                    continue  # the broker is away: that is what is measured
                for records in batches.values():
                    for record in records:
                        self._take(decode(VERDICTS, record.value, record.headers))
        finally:
            consumer.close()

    def _take(self, verdict: Verdict) -> None:
        if verdict.id not in self._ids:
            self._ids.add(verdict.id)
            self._seen.append((time.monotonic(), verdict.verdict is not VerdictValue.NOT_DECIDABLE))
