"""Apache Kafka on this machine: one KRaft broker as a supervised child, its data under `run/kafka`."""

from __future__ import annotations

import base64
import fcntl
import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from ops.local import ports
from ops.local.children import Child, DidNotStart
from ops.local.java import find_java
from ops.local.places import KAFKA_JARS
from ops.local.processes import started_at
from ops.local.supervisor import Supervised
from schemas.errors import ConfigurationError, ServiceAway
from schemas.settings import KafkaSettings

READY_S = 60.0
GRACE_S = 15.0
FORMAT_TIMEOUT_S = 60
REACHABLE_S = 10.0
# Above every topic of the catalogue (each sets its own): a dead letter carries a whole frame.
MESSAGE_MAX_BYTES = 6 << 20

# Differs from a plant's broker in size only; what changes a client's behaviour (timeouts, ordering, limits) keeps Kafka's default.
SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{advertised_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
message.max.bytes={message_max_bytes}
replica.fetch.max.bytes={message_max_bytes}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
# A broker killed with -9 may come back only when its old session has ended (default: 9 s).
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
background.threads=2
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=16777216
log.segment.bytes=134217728
log.retention.check.interval.ms=30000
"""

LOG4J = """\
status=warn
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %m (%c{1})%n
rootLogger.level=info
rootLogger.appenderRef.console.ref=console
"""


class KafkaService(Supervised, Protocol):
    """What `linesight up` needs of a Kafka, its own or someone else's. `start` returns when clients can connect."""

    @property
    def bootstrap_servers(self) -> str:
        """`host:port[,host:port]`, for any client."""


class LocalKafka:
    """A real broker of this run folder: heap 512 MB, messages up to 6 MB, no automatic topics.

    Started again on the same folder, after a crash too, it has the same data; the same object also keeps its port. With `port=None` a
    free port is taken. If a living process already runs a broker of this folder, that one is adopted: used, and left running by
    `stop`. Anything else on `port` is refused. `advertised_port` is what the broker tells its clients to connect to, where something
    stands before it.
    """

    name = "kafka"

    def __init__(self, run_dir: Path, port: int | None = None, *, advertised_port: int | None = None) -> None:
        self._folder = (run_dir / "kafka").absolute()
        self._log_dir = (run_dir / "logs").absolute()
        self._port = port
        self._advertised_port = advertised_port
        self._child: Child | None = None

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` for clients. Raises DidNotStart before `start()`."""
        if self._port is None:
            raise DidNotStart("Kafka has no address before it is started")
        return f"{ports.HOST}:{self._port}"

    @property
    def child(self) -> Child:
        """The broker's process. Raises DidNotStart when it was not started here."""
        if self._child is None:
            raise DidNotStart("Kafka was not started by this process")
        return self._child

    @property
    def _advice(self) -> str:
        return (
            f"If it was killed (137), start it again. If its log says that the disk is full, free space; that the data is damaged, "
            f"delete {self._folder} (the messages in it are lost) "
            "and try again."
        )

    @property
    def _owner_file(self) -> Path:
        return self._folder / "owner"

    def start(self) -> None:
        """Start the broker or adopt the run folder's own; returns when clients can connect.

        Raises DidNotStart (with the broker's last log lines), or ConfigurationError when something else holds the port.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._child is None and self._adopt():
            return
        self._wait_for_data()
        if self._port is not None and not ports.is_free(self._port):
            raise ConfigurationError(
                f"port {self._port} on {ports.HOST} is taken by something that is not this run folder's Kafka: "
                f"stop it, choose another port, or use it by setting KAFKA_BOOTSTRAP_SERVERS"
            )
        if self._port is None:
            (self._port,) = ports.free_ports(1)
        (controller_port,) = ports.free_ports(1)
        self._configure(controller_port)
        self._child = self._child or self._new_child()
        self._owner_file.write_text(f"{os.getpid()} {started_at(os.getpid())} {self._port}\n")
        self._child.start()
        try:
            self._child.wait_ready(self._is_ready, deadline_s=READY_S, advice=self._advice)
        except DidNotStart:
            self._child.stop()
            raise

    def stop(self) -> None:
        """Stop the broker if it was started here."""
        if self._child is not None:
            self._child.stop()
            self._owner_file.unlink(missing_ok=True)

    def poll(self) -> int | None:
        """None while the broker runs, else its exit status."""
        return None if self._child is None else self._child.poll()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _adopt(self) -> bool:
        """Take over the address of a broker of this folder that another living process owns."""
        port = running_port(self._folder)
        if port is None or self._port not in (None, port):
            return False
        if cluster_id_at(f"{ports.HOST}:{port}") != self._cluster_id():
            return False
        self._port = port
        return True

    def _wait_for_data(self) -> None:
        """Wait for a broker that is still stopping because its owner was killed: the data folder's lock is free when it has ended."""
        lock_path = self._folder / "data" / ".lock"
        if not lock_path.exists():
            return
        give_up_at = time.monotonic() + GRACE_S
        with lock_path.open("r+b") as lock:
            while True:
                try:
                    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except OSError:
                    if time.monotonic() >= give_up_at:
                        raise ConfigurationError(
                            f"another Kafka broker uses {self._folder}: stop it, or choose another run folder"
                        ) from None
                    time.sleep(0.1)

    def _cluster_id(self) -> str:
        """This folder's cluster id, made once: 16 random bytes as Kafka writes them."""
        file = self._folder / "cluster-id"
        if not file.exists():
            unfinished = file.with_suffix(f".{os.getpid()}")
            unfinished.write_text(base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode())
            unfinished.replace(file)
        return file.read_text()

    def _configure(self, controller_port: int) -> None:
        """Write the broker's configuration and, the first time, format its storage."""
        for unpacked in (self._folder / "tmp").glob("*"):  # native libraries of a broker that was killed
            shutil.rmtree(unpacked, ignore_errors=True) if unpacked.is_dir() else unpacked.unlink()
        (self._folder / "tmp").mkdir(exist_ok=True)
        (self._folder / "log4j2.properties").write_text(LOG4J)
        (self._folder / "server.properties").write_text(
            SERVER_PROPERTIES.format(
                host=ports.HOST,
                port=self._port,
                advertised_port=self._advertised_port or self._port,
                controller_port=controller_port,
                data=self._folder / "data",
                message_max_bytes=MESSAGE_MAX_BYTES,
            )
        )
        if not (self._folder / "data" / "meta.properties").exists():
            self._format()

    def _format(self) -> None:
        command = [
            *self._java("-Xmx128m"), "kafka.tools.StorageTool", "format", "--ignore-formatted",
            f"--cluster-id={self._cluster_id()}", "--config", str(self._folder / "server.properties"),
        ]  # fmt: skip
        try:
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=FORMAT_TIMEOUT_S)
        except subprocess.CalledProcessError as error:
            raise DidNotStart(
                f"Kafka's storage in {self._folder} cannot be formatted. {self._advice}\n{error.stdout}{error.stderr}"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise DidNotStart(
                f"formatting Kafka's storage took over {FORMAT_TIMEOUT_S} s: is the machine overloaded?"
            ) from error

    def _java(self, *options: str) -> list[str]:
        if not KAFKA_JARS.is_dir():
            raise ConfigurationError(f"Kafka is not installed in {KAFKA_JARS}: run make setup")
        return [
            str(find_java()), *options,
            "-XX:+ExitOnOutOfMemoryError", "-XX:-UsePerfData", "-Djava.awt.headless=true",
            f"-Djava.io.tmpdir={self._folder / 'tmp'}",
            f"-Dlog4j2.configurationFile={self._folder / 'log4j2.properties'}",
            "-cp", f"{KAFKA_JARS}/*",
        ]  # fmt: skip

    def _new_child(self) -> Child:
        # Measured on 2 cores (start, then 300 frames of 300 kB): 4.6 s of processor time, against 7.9 s with the optimising
        # compiler and G1, and a frame is no slower. The line needs those cores.
        java = self._java("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        command = [*java, "kafka.Kafka", str(self._folder / "server.properties")]
        return Child(name=self.name, command=command, log_dir=self._log_dir, cwd=self._folder, grace_s=GRACE_S)

    def _is_ready(self) -> bool:
        assert self._port is not None
        return ports.answers(ports.HOST, self._port) and cluster_id_at(self.bootstrap_servers) == self._cluster_id()


class GivenKafka:
    """A Kafka that someone else runs, named by `KAFKA_BOOTSTRAP_SERVERS`."""

    name = "kafka"

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers

    def start(self) -> None:
        """Raises ServiceAway when none of the brokers accepts a connection within 10 s."""
        addresses = [address.strip().rpartition(":") for address in self.bootstrap_servers.split(",")]
        give_up_at = time.monotonic() + REACHABLE_S
        while not any(ports.answers(host, int(port)) for host, _, port in addresses):
            if time.monotonic() >= give_up_at:
                raise ServiceAway(
                    f"no Kafka broker answers at {self.bootstrap_servers} (KAFKA_BOOTSTRAP_SERVERS): start it, or unset the variable"
                )
            time.sleep(0.2)

    def stop(self) -> None:
        """Nothing: it is not ours."""

    def poll(self) -> int | None:
        """None: its life is not ours to know."""
        return None


def kafka_service(run_dir: Path) -> KafkaService:
    """The Kafka to use: the one that `KAFKA_BOOTSTRAP_SERVERS` names, else a local broker of `run_dir`. Not started yet."""
    if "KAFKA_BOOTSTRAP_SERVERS" in os.environ:
        return GivenKafka(KafkaSettings().bootstrap_servers)
    return LocalKafka(run_dir)


def running_bootstrap_servers(run_dir: Path) -> str | None:
    """`host:port` of the local broker that a living process keeps for `run_dir`; None when there is none."""
    port = running_port(run_dir / "kafka")
    return None if port is None else f"{ports.HOST}:{port}"


def running_port(folder: Path) -> int | None:
    """The port of the broker of this Kafka folder, if the process that started it still lives."""
    try:
        owner, started, port = (int(word) for word in (folder / "owner").read_text().split())
    except (FileNotFoundError, ValueError):
        return None
    return port if started_at(owner) == started else None


def cluster_id_at(bootstrap_servers: str) -> str | None:
    """The cluster id that the broker there names; None when no Kafka broker answers."""
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=bootstrap_servers, bootstrap_timeout_ms=2000, request_timeout_ms=2000
        )
    except (KafkaError, OSError, ValueError):
        return None
    try:
        return str(admin.describe_cluster()["cluster_id"])
    except (KafkaError, OSError):
        return None
    finally:
        admin.close()
