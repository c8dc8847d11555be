"""Which Kafka a verb talks to: the one in the environment, else the one that `linesight up` or `demo` runs here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas.errors import ServiceAway
from schemas.settings import KafkaSettings, StageSettings


def find_kafka(run_dir: Path | None = None) -> KafkaSettings:
    """Settings of the Kafka to use; later `KafkaSettings()` in this process say the same. Raises `ServiceAway`."""
    from ops.local.kafka import running_bootstrap_servers

    if "KAFKA_BOOTSTRAP_SERVERS" not in os.environ:
        folder = run_dir or StageSettings().run_dir
        running = running_bootstrap_servers(folder)
        if running is None:
            raise ServiceAway(
                f"no Kafka: none runs here (run folder {folder}) and KAFKA_BOOTSTRAP_SERVERS is not set; "
                "start `linesight up` in this folder, or set the variable"
            )
        os.environ["KAFKA_BOOTSTRAP_SERVERS"] = running
    return KafkaSettings()


def read_to_end(topic: str, settings: KafkaSettings, *, timeout_ms: int = 10_000) -> Iterator[Any]:
    """Every record (`kafka.consumer.fetcher.ConsumerRecord`) of a topic from its beginning to its present end."""
    with consumer_of(topic, settings, timeout_ms=timeout_ms) as consumer:
        partitions = list(consumer.assignment())
        ends = consumer.end_offsets(partitions)
        consumer.seek_to_beginning(*partitions)
        while any(consumer.position(p) < ends[p] for p in partitions):
            batches = consumer.poll(timeout_ms=timeout_ms)
            if not batches:
                raise ServiceAway(f"the broker stopped answering while {topic} was read; try again")
            for partition, records in batches.items():
                yield from (record for record in records if record.offset < ends[partition])


def consumer_of(topic: str, settings: KafkaSettings, *, timeout_ms: int) -> Any:
    """A kafka-python consumer of all partitions of `topic`, without a group. Raises `ServiceAway`."""
    from kafka import KafkaConsumer, TopicPartition
    from kafka.errors import KafkaError

    try:
        consumer = KafkaConsumer(
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            bootstrap_timeout_ms=timeout_ms,
            **settings.client(),
        )
        numbers = consumer.partitions_for_topic(topic)
    except KafkaError as error:
        raise ServiceAway(f"no Kafka broker answers at {settings.bootstrap_servers}: {error}") from error
    if not numbers:
        consumer.close()
        raise ServiceAway(
            f"topic {topic} does not exist on {settings.bootstrap_servers}; `linesight topics --create` makes it"
        )
    consumer.assign([TopicPartition(topic, number) for number in sorted(numbers)])
    return consumer
