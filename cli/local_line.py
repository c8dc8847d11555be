"""A whole plant's stages on this machine: Kafka, Triton and the stages' processes, supervised."""

from __future__ import annotations

import asyncio
import itertools
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

from cli.plant_change import PlantChange
from cli.readiness import Readiness, is_ready, waits_for
from cli.run import STAGE_MODULES
from cli.workers import Worker, check_workers, forget_member
from ops.local.children import Child
from ops.local.jars import KAFKA
from ops.local.kafka import KafkaService, LocalKafka, kafka_service
from ops.local.ports import HOST, free_ports
from ops.local.supervisor import Restart, Supervised, Supervisor
from ops.local.triton import LocalTriton, TritonService, triton_service
from schemas.errors import ConfigurationError, ServiceAway
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
    "trainer",
    "retraining",
    "alerts",
    "statistics",
    "judge",
    "backfill",
    "inspect",
    "plc-gateway",
    "sensor-gateway",
    "station-gateway",
)

Say = Callable[[str], None]


class LocalLine:
    """Everything a plant needs but its machines; `stop` drains and leaves nothing behind.

    With `KAFKA_BOOTSTRAP_SERVERS` or `TRITON_URL` set those services are used instead of local ones. `workers` says of which
    stages there are several processes; a ConfigurationError says why a stage cannot have so many.
    """

    def __init__(
        self,
        *,
        plant: Plant,
        plant_file: Path,
        run_dir: Path,
        say: Say,
        without: Iterable[str] = (),
        workers: Mapping[str, int] | None = None,
    ) -> None:
        counts = dict(workers or {})
        check_workers(counts, plant)
        self._plant = plant
        self._plant_file = plant_file.resolve()
        self._run_dir = run_dir.absolute()
        self._say = say
        unneeded = set(without) | (set() if plant.defers_frames else {"backfill"})
        unneeded |= {"trainer"} if plant.learning is None else set()
        stages = [name for name in START_ORDER if name not in unneeded]
        if idle := sorted(counts.keys() - set(stages)):
            raise ConfigurationError(
                f"{plant.plant} does not run {', '.join(idle)} here: leave out its number of workers"
            )
        self._workers = {
            worker.name: worker
            for stage in stages
            for worker in (Worker(stage=stage, number=number) for number in range(1, counts.get(stage, 1) + 1))
        }
        self._services = Supervisor(on_restart=self._restarted)
        self._kept = Supervisor(on_restart=self._restarted)
        self._kafka = kafka_service(self._run_dir)
        models = TritonSettings()
        self._triton = triton_service(self._run_dir, models.model_repository, trained=models.trained_models)
        self._health: dict[str, int] = {}
        self._children: dict[str, Child] = {}
        self._ledger: Child | None = None

    @property
    def health_ports(self) -> Mapping[str, int]:
        """Port of `/metrics`, `/healthz` and `/readyz` of each stage's processes on the loopback address, by name."""
        return self._health

    @property
    def children(self) -> Mapping[str, Child]:
        """The processes of the stages by name: `judge`, and where there are several, `inspect`, `inspect-2`, ..."""
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
        self._say(f"starting {len(self._workers)} stages")
        ports = free_ports(len(self._workers))
        self._health = dict(zip(self._workers, ports, strict=True))
        self._write_scrape_targets()
        for worker in self._workers.values():
            self._children[worker.name] = self._child(worker)
            self._kept.start(self._children[worker.name])

    def start_worker(self, stage: str) -> str:
        """Starts one more process of a stage while the line runs; returns its name. It works when its `/readyz` says so.

        Raises ConfigurationError where the stage cannot have one more.
        """
        numbers = {worker.number for worker in self._workers.values() if worker.stage == stage}
        check_workers({stage: len(numbers) + 1}, self._plant)
        worker = Worker(stage=stage, number=next(number for number in itertools.count(1) if number not in numbers))
        self._workers[worker.name] = worker
        (self._health[worker.name],) = free_ports(1)
        self._write_scrape_targets()
        self._start_beside(worker, self._child(worker))
        self._say(f"{worker.name} started")
        return worker.name

    def stop_worker(self, name: str) -> None:
        """Drains and stops one process of a stage for good; the others take its partitions over.

        Raises ConfigurationError for the last one.
        """
        worker = self._worker(name)
        if sum(other.stage == worker.stage for other in self._workers.values()) == 1:
            raise ConfigurationError(f"{name} is the only process of {worker.stage}: stop the line instead")
        self._kept.release(self._children.pop(name))
        del self._workers[name], self._health[name]
        self._write_scrape_targets()
        told = forget_member(worker, plant=self._plant, kafka=KafkaSettings())
        self._say(f"{name} stopped" if told else f"{name} stopped; the broker learns it when its session ends")

    def restart_worker(self, name: str, *, checkout: Path | None = None) -> None:
        """Drains one process of a stage and starts it again: one step of a rolling restart.

        With `checkout` it runs that folder's code from now on: one step of a rolling upgrade.
        """
        worker = self._worker(name)
        self._kept.release(self._children[name])
        self._start_beside(worker, self._child(worker, checkout=checkout))
        self._say(f"{name} started again")

    def await_stages(self) -> None:
        """Returns when every stage is ready; for a line whose machines are there. Raises `ServiceAway` with the log of one that is not."""
        self._await_ready()
        self._say("every stage is ready")

    def adopt(self, service: Supervised) -> None:
        """Keeps something further (the simulated plant) running beside the stages."""
        self._services.start(service)

    def tend(self) -> None:
        """Looks after the processes; call it often."""
        self._services.tend()
        self._kept.tend()

    def run_until_signal(self) -> None:
        """Looks after the processes until SIGINT or SIGTERM, says which stages wait and that the plant file was changed,
        and checkpoints the ledger every hour."""
        asked = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: asked.set())
        next_checkpoint_s = time.monotonic() + CHECKPOINT_EVERY_S
        readiness = Readiness(health=self._health, children=self._children, say=self._say)
        change = PlantChange(self._plant_file, say=self._say)
        while not asked.wait(LOOK_EVERY_S):
            self.tend()
            readiness.look(time.monotonic())
            change.look(time.monotonic())
            if time.monotonic() >= next_checkpoint_s:
                next_checkpoint_s += CHECKPOINT_EVERY_S
                self._checkpoint_ledger()
        self._say("stopping: sources first, then what they feed; this takes some seconds")

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
        self._kept.stop()

    def stop(self) -> None:
        """Stops everything that was started here."""
        self._kept.stop()
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

    def _worker(self, name: str) -> Worker:
        if name not in self._workers:
            raise ConfigurationError(f"there is no process {name!r}; expected one of: {', '.join(self._workers)}")
        return self._workers[name]

    def _start_beside(self, worker: Worker, child: Child) -> None:
        """Starts a process that is stopped together with the others of its stage, after the stages that feed it."""
        others = (other for other in self._workers.values() if other.stage == worker.stage and other != worker)
        beside = next(others, None)
        self._children[worker.name] = child
        self._kept.start(child, beside=None if beside is None else self._children[beside.name])

    def _child(self, worker: Worker, *, checkout: Path | None = None) -> Child:
        env = worker.environment()
        env["LINESIGHT_METRICS_PORT"] = str(self._health[worker.name])
        env["LINESIGHT_RUN_DIR"] = str(self._run_dir)
        env.setdefault("OBJECT_STORE_URL", str(self._run_dir / "objects"))
        assert worker.stage in STAGE_MODULES
        return Child(
            name=worker.name,
            command=[sys.executable, "-m", "cli.main", "run", worker.stage, "--plant", str(self._plant_file)],
            log_dir=self._run_dir / "logs",
            env=env,
            cwd=checkout,
            grace_s=STAGE_GRACE_S,
        )

    def _await_ready(self) -> None:
        waiting = set(self._health)
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
        """What `ops/prometheus/prometheus.yml` reads (file_sd): every process of a stage, and Triton where it is ours."""
        targets = [
            {
                "targets": [f"{HOST}:{port}"],
                "labels": {"stage": self._workers[name].stage, "worker": name, "plant": self._plant.plant},
            }
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
