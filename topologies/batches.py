"""Records taken in by the batch: for a stage that works a record off in microseconds, and that nobody waits for.

What is done for each record of a batch is decoding it; the rest (what is held, what may be committed, what is shown) is done once. A
record that cannot be decoded is refused alone, before the rest of its batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiokafka import TopicPartition

from schemas.errors import Refused
from schemas.topics import Topic
from topologies.holdings import Holdings
from topologies.records import Record, fetched_record, size_bytes

BATCHED_PER_TURN = 250
"""A tick waits for one turn at most: some milliseconds. Between turns the client sends its next request and reads what came."""
RECORDS_PER_FETCH = 10_000
"""What was fetched of a partition is taken whole: while there is some left the client asks for no more of it, and would be waited for."""


Decoded = tuple[Any, int, int]
"""A record of a batch: its message, typed, its offset and its time (ms since the epoch). With names it takes four times as long to make."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Records of one partition, in their order, the last one at `last_offset`. `on_finish` is called once, when everything that they
    caused was acknowledged."""

    topic: Topic
    partition: int
    records: Sequence[Decoded]
    last_offset: int
    on_finish: Callable[[], None]

    def finish(self) -> None:
        """Everything that these records caused was acknowledged."""
        self.on_finish()


class BatchHandler(Protocol):
    """What a handler has besides `records.Handler` to be given batches instead of records."""

    def decode(self, topic: Topic, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> Any:
        """The message of a record: as much of it as the handler needs. Raises `Refused`."""

    async def take_batch(self, batch: Batch) -> None:
        """Records in the order of their partition. Returning does not finish them; `batch.finish()` does, at any later time."""


async def hand_over(
    fetched: Sequence[Any],
    handler: BatchHandler,
    *,
    topic: Topic,
    place: TopicPartition,
    holdings: Holdings,
    refuse: Callable[[Record, Refused], None],
) -> None:
    """Decodes what the client fetched of one partition (at least one record), and hands it to the handler.

    The last record that can be decoded stands for all of them: what may be committed is the prefix up to it.
    """
    good: list[Decoded] = []
    bad: dict[int, tuple[Any, Refused]] = {}
    for raw in fetched:
        try:
            good.append((handler.decode(topic, raw.value, raw.headers), raw.offset, raw.timestamp))
        except Refused as refused:
            bad[raw.offset] = raw, refused
    last = good[-1][1] if good else -1
    finish = _nothing
    for offset in sorted([*bad, *([last] if good else [])]):  # in the order of the partition, as the prefix has it
        if offset == last:
            finish = holdings.add(place, last, sum(map(size_bytes, fetched)), count=len(good))
        else:
            raw, reason = bad[offset]
            on_finish = holdings.add(place, offset, size_bytes(raw))
            refuse(fetched_record(topic, place.partition, raw, message=None, on_finish=on_finish), reason)
    if bad:
        await asyncio.sleep(0)  # they take their places before what follows does
    if good:
        await handler.take_batch(
            Batch(topic=topic, partition=place.partition, records=good, last_offset=last, on_finish=finish)
        )


def _nothing() -> None:
    """Nothing is held, nothing is to be finished."""
