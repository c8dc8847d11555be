"""Where Kafka's default partitioner puts a key."""

from __future__ import annotations

from aiokafka.partitioner import murmur2


def partition_of(key: str, partitions: int) -> int:
    """The partition of a topic with so many of them that records of the key lie in."""
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % partitions
