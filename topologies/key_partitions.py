"""Which keys are ours: a record's key decides its partition, and topics that are joined have as many."""

from __future__ import annotations

from collections.abc import Callable

from aiokafka.partitioner import murmur2


def owner_of(partitions: frozenset[int], *, of: int) -> Callable[[str], bool]:
    """Says of a key whether its records come to who reads `partitions` of so many, by Kafka's default partitioner."""

    def owns(key: str) -> bool:
        return int(murmur2(key.encode()) & 0x7FFFFFFF) % of in partitions

    return owns
