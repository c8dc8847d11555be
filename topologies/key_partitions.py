"""Which keys are ours: a record's key decides its partition, and topics that are joined have as many."""

from __future__ import annotations

from collections.abc import Callable

from aiokafka.partitioner import murmur2


def partition_of(key: str, *, of: int) -> int:
    """Where Kafka's default partitioner puts a key, of so many partitions."""
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % of


def owner_of(partitions: frozenset[int], *, of: int) -> Callable[[str], bool]:
    """Says of a key whether its records come to who reads `partitions` of so many."""

    def owns(key: str) -> bool:
        return partition_of(key, of=of) in partitions

    return owns
