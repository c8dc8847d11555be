"""A whole plant's stages on this machine: Kafka, Triton and one process per stage, supervised."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Self

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from cli.readiness import Readiness, is_ready, waits_for
from cli.run import STAGE_MODULES
from ops.local.children import Child
from ops.local.jars import KAFKA
from ops.local.kafka import KafkaService, LocalKafka, kafka_service
from ops.local.ports import HOST, free_ports
from ops.local.supervisor import Restart, Supervisor
from ops.local.triton import LocalTriton, TritonService, triton_service
from schemas.errors import ServiceAway
from schemas.plant import Plant
from schemas.settings import KafkaSettings, TritonSettings

ANSWER_S = 5.0
READY_S = 90.0
LOOK_EVERY_S = 0.05
CHECKPOINT_EVERY_S = 3600.0
STAGE_GRACE_S = 15.0

# A stage is started after those it feeds, so that nothing is published before somebody listens; stopping goes the other way round.
START_ORDER = (
    "record",
    "sensors",
    "retraining",
    "alerts",
    "statistics",
    "judge",
    "inspect",
    "plc-gateway",
    "sensor-gateway",
    "station-gateway",
)

Say = Callable[[str], None]


class LocalLine:
    """Everything a plant needs but its machines; `stop` drains and leaves nothing behind.

    With `KAFKA_BOOTSTRAP_SERVERS` or `TRITON_URL` set those services are used instead of local ones.
    """

    def __init__(self, *, plant: Plant, plant_file: Path, run_dir: Path, say: Say, without: Iterable[str] = ()) -> None:
        self._plant = plant
        self._plant_file = plant_file.resolve()
        self._run_dir = run_dir.absolute()
        self._say = say
        self._stages = [name for name in START_ORDER if name not in set(without)]
        self._services = Supervisor(on_restart=self._restarted)
        self._workers = Supervisor(on_restart=self._restarted)
        self._kafka = kafka_service(self._run_dir)
        self._triton = triton_service(self._run_dir, TritonSettings().model_repository)
        self._health: dict[str, int] = {}
        self._children: dict[str, Child] = {}
        self._ledger: Child | None = None

    @property
    def health_ports(self) -> Mapping[str, int]:
        """Port of `/metrics`, `/healthz` and `/readyz` of each stage on the loopback address."""
        return self._health

    @property
    def children(self) -> Mapping[str, Child]:
        """The process of each stage."""
        return self._children

    @property
    def kafka(self) -> KafkaService:
        """The broker, ours or a given one."""
        return self._kafka

    @property
    def triton(self) -> TritonService:
        """The inference server, ours or a given one."""
        return self._triton

    def start_services(self) -> KafkaSettings:
        """Starts Kafka and Triton and makes the plant's topics. Afterwards the environment of this process names both."""
        from topologies.topic_admin import ensure_topics

        self._say("starting Kafka")
        self._services.start(self._kafka)
        os.environ["KAFKA_BOOTSTRAP_SERVERS"] = self._kafka.bootstrap_servers
        self._say(f"Kafka at {self._kafka.bootstrap_servers}; starting Triton")
        self._services.start(self._triton)
        os.environ["TRITON_URL"] = self._triton.url
        self._say(f"Triton at {self._triton.url}")
        settings = KafkaSettings()
        asyncio.run(ensure_topics(self._plant, kafka=settings))
        return settings

    def start_stages(self) -> None:
        """Starts every stage; each becomes ready when what it needs is there."""
        self._say(f"starting {len(self._stages)} stages")
        ports = free_ports(len(self._stages))
        self._health = dict(zip(self._stages, ports, strict=True))
        self._write_scrape_targets()
        for name in self._stages:
            self._children[name] = self._child(name)
            self._workers.start(self._children[name])

    def await_stages(self) -> None:
        """Returns when every stage is ready; for a line whose machines are there. Raises `ServiceAway` with the log of one that is not."""
        self._await_ready()
        self._say("every stage is ready")

    def adopt(self, child: Child) -> None:
        """Keeps a further process (the simulated plant) running beside the stages."""
        self._services.start(child)

    def tend(self) -> None:
        """Looks after the processes; call it often."""
        self._services.tend()
        self._workers.tend()

    def run_until_signal(self) -> None:
        """Looks after the processes until SIGINT or SIGTERM, says which stages wait, and checkpoints the ledger every hour."""
        asked = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: asked.set())
        next_checkpoint_s = time.monotonic() + CHECKPOINT_EVERY_S
        readiness = Readiness(health=self._health, children=self._children, say=self._say)
        while not asked.wait(LOOK_EVERY_S):
            self.tend()
            readiness.look(time.monotonic())
            if time.monotonic() >= next_checkpoint_s:
                next_checkpoint_s += CHECKPOINT_EVERY_S
                self._checkpoint_ledger()

    def versions(self) -> dict[str, str]:
        """Versions of Kafka and Triton, as far as they can be known: of services that are not ours, what they say themselves."""
        kafka = (
            KAFKA.rpartition(":")[2] if isinstance(self._kafka, LocalKafka) else f"at {self._kafka.bootstrap_servers}"
        )
        try:
            metadata = InferenceServerClient(self._triton.url).get_server_metadata(client_timeout=ANSWER_S)
            triton = str(metadata.version)
        except InferenceServerException:
            triton = f"at {self._triton.url}, not answering"
        return {"kafka": kafka, "triton": triton}

    def stop_stages(self) -> None:
        """Drains and stops the stages, sources first; Kafka and Triton stay."""
        self._workers.stop()

    def stop(self) -> None:
        """Stops everything that was started here."""
        self._workers.stop()
        if self._ledger is not None:
            self._ledger.stop()
        self._services.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _checkpoint_ledger(self) -> None:
        """Starts a ledger run of its own that goes on from the last checkpoint, so that the account outlives the topics' retention."""
        file = self._run_dir / "ledger" / f"{self._plant.plant}.json"
        command = [
            sys.executable, "-m", "cli.main", "ledger", "--plant", str(self._plant_file), "--checkpoint", str(file),
        ]  # fmt: skip
        if self._ledger is not None:
            self._ledger.stop()
        self._ledger = Child(name="ledger", command=command, log_dir=self._run_dir / "logs")
        self._ledger.start()

    def _child(self, name: str) -> Child:
        env = dict(os.environ)
        env["LINESIGHT_METRICS_PORT"] = str(self._health[name])
        env["LINESIGHT_RUN_DIR"] = str(self._run_dir)
        env.setdefault("OBJECT_STORE_URL", str(self._run_dir / "objects"))
        assert name in STAGE_MODULES
        return Child(
            name=name,
            command=[sys.executable, "-m", "cli.main", "run", name, "--plant", str(self._plant_file)],
            log_dir=self._run_dir / "logs",
            env=env,
            grace_s=STAGE_GRACE_S,
        )

    def _await_ready(self) -> None:
        waiting = set(self._stages)
        give_up_at = time.monotonic() + READY_S
        while waiting:
            self.tend()
            waiting = {name for name in waiting if not is_ready(self._health[name])}
            if waiting and time.monotonic() > give_up_at:
                name = sorted(waiting)[0]
                lines = "\n".join(f"    {line}" for line in self._children[name].last_lines())
                raise ServiceAway(
                    f"{', '.join(sorted(waiting))} not ready within {READY_S:g} s; {name}: {waits_for(self._children[name])}. "
                    f"Last lines of {self._children[name].log_path}:\n{lines}"
                )
            time.sleep(LOOK_EVERY_S)

    def _write_scrape_targets(self) -> None:
        """What `ops/prometheus/prometheus.yml` reads (file_sd): every stage, and Triton where it is ours."""
        targets = [
            {"targets": [f"{HOST}:{port}"], "labels": {"stage": name, "plant": self._plant.plant}}
            for name, port in self._health.items()
        ]
        if isinstance(self._triton, LocalTriton):
            address = self._triton.metrics_url.removeprefix("http://").removesuffix("/metrics")
            targets.append({"targets": [address], "labels": {"stage": "triton", "plant": self._plant.plant}})
        file = self._run_dir / "prometheus" / "targets.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(targets, indent=2))

    def _restarted(self, restart: Restart) -> None:
        self._say(f"{restart.name} {restart.reason.splitlines()[0]}; try {restart.attempt} in {restart.wait_s:.1f} s")
