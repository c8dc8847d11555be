"""Our place in a consumer group: how a consumer of the line runner is set up, and how it says who owns what.

Static membership: a worker that comes back within the session timeout gets its partitions back at once, without a
rebalance. Range assignment: with equal partition counts a worker owns the same partition numbers of every topic.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from schemas.errors import ConfigurationError
from schemas.settings import KafkaSettings
from schemas.topics import FRAME_LIMIT_BYTES, MIB_BYTES

SESSION_TIMEOUT_MS = 10_000
HEARTBEAT_MS = 1_000
REBALANCE_TIMEOUT_MS = 30_000  # everyone else's drain fits into it
REQUEST_TIMEOUT_MS = 10_000
# A fetch that waits for data cannot include a partition resumed meanwhile, so it must not wait long.
FETCH_MAX_WAIT_MS = 100
GATHER_BYTES = 256 * 1024
FETCH_MAX_BYTES = 16 * MIB_BYTES
LEAST_FETCH_BYTES = 256 * 1024
"""Of one partition. A batch larger than that is still sent whole, when its partition's turn comes (KIP-74)."""


def new_consumer(
    *,
    kafka: KafkaSettings,
    group: str,
    instance: str,
    topics: Sequence[str],
    partitions: int,
    fetched_bytes: int,
    listener: ConsumerRebalanceListener,
    gathers: bool = False,
) -> AIOKafkaConsumer:
    """A consumer that is subscribed and not started; commits are the caller's.

    It prefetches at most one piece of each of its `partitions` (of all topics together), which together stay within `fetched_bytes`.
    With `gathers` the broker answers when there is much, or after 0.1 s: for a stage that nobody waits for.
    """
    consumer = AIOKafkaConsumer(
        **kafka.client(),
        group_id=group,
        group_instance_id=instance,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # a group without offsets has seen nothing: skipping would lose frames
        partition_assignment_strategy=(RangePartitionAssignor,),
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
        rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
        fetch_min_bytes=GATHER_BYTES if gathers else 1,
        fetch_max_bytes=min(FETCH_MAX_BYTES, fetched_bytes),
        max_partition_fetch_bytes=max(LEAST_FETCH_BYTES, min(FRAME_LIMIT_BYTES, fetched_bytes // partitions)),
    )
    consumer.subscribe(topics, listener=listener)
    return consumer


def fetched_bytes(consumer: AIOKafkaConsumer) -> int:
    """What the client has fetched and not handed out. aiokafka has no public word for it."""
    results = consumer._fetcher._records.values() if consumer._fetcher is not None else ()
    pieces = [getattr(result, "_partition_records", None) for result in results]
    return sum(piece._records.size_in_bytes() for piece in pieces if piece is not None)


class Ownership(ConsumerRebalanceListener):
    """Turns the client's callbacks into partition numbers. `on_revoked` is awaited before the partitions go."""

    def __init__(
        self,
        *,
        topics: Sequence[str],
        on_assigned: Callable[[frozenset[int]], None],
        on_revoked: Callable[[], Awaitable[None]],
    ) -> None:
        self._topics = topics
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called by the client before every rebalance, the first one included."""
        await self._on_revoked()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called by the client after every rebalance. It waits with its heartbeats, so no work may be done here."""
        self._on_assigned(frozenset(place.partition for place in assigned))


def check_co_partitioned(consumer: AIOKafkaConsumer, topics: Sequence[str]) -> None:
    """Raises ConfigurationError unless all topics have the same partition numbers."""
    counts = {topic: len(consumer.partitions_for_topic(topic) or ()) for topic in topics}
    if len(set(counts.values())) > 1:
        raise ConfigurationError(
            f"topics that are joined need equal partition counts, found {counts}: recreate them with kafka.partitions of the plant file"
        )
