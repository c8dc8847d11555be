"""The real broker: what it takes it gives back, after a crash too, and it says what is wrong when it cannot start."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient, NewTopic

from ops.local import kafka as local_kafka
from ops.local.children import DidNotStart
from ops.local.kafka import GivenKafka, LocalKafka, kafka_service, running_bootstrap_servers
from schemas.errors import ConfigurationError, ServiceAway

DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def broker(kafka_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A broker that these tests may kill."""
    with LocalKafka(tmp_path_factory.mktemp("broker")) as local:
        yield local


def make_topic(bootstrap_servers: str, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap_servers)
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    admin.close()


async def produce(bootstrap_servers: str, topic: str, values: list[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", max_request_size=8 << 20)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


def consume(bootstrap_servers: str, topic: str, count: int) -> list[bytes]:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap_servers,
        auto_offset_reset="earliest",
        consumer_timeout_ms=int(DEADLINE_S * 1000),
    )
    values = []
    for record in consumer:
        values.append(record.value)
        if len(values) == count:
            break
    consumer.close()
    return values


async def test_what_one_client_produces_the_other_reads(broker: LocalKafka, unique_prefix: str) -> None:
    make_topic(broker.bootstrap_servers, unique_prefix)
    await produce(broker.bootstrap_servers, unique_prefix, [b"a", b"b"])
    assert await asyncio.to_thread(consume, broker.bootstrap_servers, unique_prefix, 2) == [b"a", b"b"]


async def test_a_frame_of_4_mb_in_its_envelope_passes(broker: LocalKafka, unique_prefix: str) -> None:
    make_topic(broker.bootstrap_servers, unique_prefix)
    frame = os.urandom((4 << 20) + 10_000)
    await produce(broker.bootstrap_servers, unique_prefix, [frame])
    assert await asyncio.to_thread(consume, broker.bootstrap_servers, unique_prefix, 1) == [frame]


def test_topics_are_never_made_by_accident(broker: LocalKafka, unique_prefix: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    consumer = KafkaConsumer(unique_prefix, bootstrap_servers=broker.bootstrap_servers)
    consumer.poll(timeout_ms=500)
    consumer.close()
    assert unique_prefix not in admin.list_topics()
    admin.close()


async def test_kill_9_of_the_broker_loses_nothing_and_it_comes_back_at_the_same_address(
    broker: LocalKafka, unique_prefix: str
) -> None:
    make_topic(broker.bootstrap_servers, unique_prefix)
    before = broker.bootstrap_servers
    values = [str(number).encode() for number in range(100)]
    await produce(before, unique_prefix, values)
    broker.child.kill()
    assert broker.poll() is not None
    await asyncio.to_thread(broker.start)
    assert broker.bootstrap_servers == before
    assert await asyncio.to_thread(consume, before, unique_prefix, 100) == values


def test_the_brokers_log_is_not_silent(broker: LocalKafka) -> None:
    assert "Kafka Server started" in broker.child.log_path.read_text()


def test_a_second_one_on_the_same_run_folder_uses_the_first_and_does_not_stop_it(broker: LocalKafka) -> None:
    run_dir = broker.child.log_path.parents[1]
    with LocalKafka(run_dir) as second:
        assert second.bootstrap_servers == broker.bootstrap_servers == running_bootstrap_servers(run_dir)
    assert broker.poll() is None
    assert local_kafka.cluster_id_at(broker.bootstrap_servers)


def test_a_port_held_by_something_else_is_refused_with_what_to_do(kafka_installed: None, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"port {port} .* KAFKA_BOOTSTRAP_SERVERS"):
            LocalKafka(tmp_path, port=port).start()


def test_a_port_held_by_another_folders_broker_is_refused(broker: LocalKafka, tmp_path: Path) -> None:
    port = int(broker.bootstrap_servers.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match="not this run folder's Kafka"):
        LocalKafka(tmp_path, port=port).start()


HOLDER = """
import fcntl, sys
with open(sys.argv[1], "r+b") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_run_folder_that_another_broker_still_uses_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local_kafka, "GRACE_S", 0.2)
    lock = tmp_path / "kafka" / "data" / ".lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    command: list[str | Path] = [sys.executable, "-c", HOLDER, lock]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigurationError, match="another Kafka broker uses"):
            LocalKafka(tmp_path).start()
        holder.kill()


def test_a_cluster_id_that_begins_with_a_dash_is_no_option(kafka_installed: None, tmp_path: Path) -> None:
    """One random id in 64 begins with a dash."""
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "cluster-id").write_text("-ZyD2Lf8Qd-YHbk8pPg1OQ")
    with LocalKafka(tmp_path) as local:
        assert local.poll() is None


def test_a_broker_that_cannot_start_shows_its_own_words(kafka_installed: None, tmp_path: Path) -> None:
    kafka = LocalKafka(tmp_path)
    kafka.start()
    kafka.stop()
    (tmp_path / "kafka" / "data" / "meta.properties").write_text("version=77\n")
    with pytest.raises(DidNotStart, match=r"(?s)ended with status .*kafka\.log.*77"):
        LocalKafka(tmp_path).start()


def test_the_environments_kafka_is_used_and_one_that_is_away_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local_kafka, "REACHABLE_S", 0.1)
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    assert isinstance(kafka_service(tmp_path), LocalKafka)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", address)
        service = kafka_service(tmp_path)
        assert isinstance(service, GivenKafka)
        service.start()
        assert service.bootstrap_servers == address
    with pytest.raises(ServiceAway, match=address):
        service.start()
