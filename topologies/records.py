"""What the line runner hands to a stage, and what it asks of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from schemas.codec import traceparent_of
from schemas.errors import Refused
from schemas.topics import Topic

if TYPE_CHECKING:
    from topologies.producer import Outgoing, Producer


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of a topic.

    `message` is decoded and typed, None where it could not be decoded. `at_ms` is the record's timestamp (the broker's
    time of append on `broker_time` topics), ms since the epoch. `value` holds the bytes as they came.
    """

    topic: Topic
    message: Any
    partition: int
    offset: int
    at_ms: int
    headers: tuple[tuple[str, bytes], ...]
    key: bytes | None
    value: bytes
    size_bytes: int
    on_finish: Callable[[], None]

    @property
    def traceparent(self) -> bytes | None:
        """W3C trace context, to be passed on to what this record causes."""
        return traceparent_of(self.headers)

    def finish(self) -> None:
        """Everything that this record caused was acknowledged. Saying so twice, or after a revocation, does nothing."""
        self.on_finish()


def fetched_record(topic: Topic, partition: int, raw: Any, *, message: Any, on_finish: Callable[[], None]) -> Record:
    """What the client fetched, with its `message` (None where it cannot be decoded)."""
    return Record(
        topic=topic,
        message=message,
        partition=partition,
        offset=raw.offset,
        at_ms=raw.timestamp,
        headers=tuple(raw.headers),
        key=raw.key,
        value=raw.value or b"",
        size_bytes=size_bytes(raw),
        on_finish=on_finish,
    )


def size_bytes(raw: Any) -> int:
    """Of what the client fetched: value and key."""
    return len(raw.value or b"") + len(raw.key or b"")


class Handler(Protocol):
    """A stage, as the line runner drives it.

    `assigned`, `take`, `tick` and `drain` are never run at the same time. An exception out of any method ends the process:
    a handler repeats what is transient itself, and refuses (`dead_letters.refuse`) what can never succeed.
    """

    async def assigned(self, partitions: frozenset[int], producer: Producer) -> None:
        """These partitions (of every topic: topics are co-partitioned) are ours now; called before their first record."""

    async def take(self, record: Record) -> None:
        """A record, in the order of its partition. Returning does not finish it; `record.finish()` does, at any later time."""

    async def tick(self, now_ns: int) -> None:
        """Time has passed; `now_ns` is ns since the epoch. The place to raise an error of a background task."""

    async def refused(self, record: Record, refused: Refused) -> Sequence[Outgoing]:
        """What to send besides the dead letter for a record that cannot be decoded. May run beside the other methods."""

    async def drain(self, partitions: frozenset[int]) -> None:
        """These partitions are being taken away, or the stage stops: finish what is open, then forget their state.

        Cancelled when its deadline passes; what is unfinished then is read again by the next owner.
        """
