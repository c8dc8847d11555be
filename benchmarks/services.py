"""The services that every candidate shares: one Kafka, one Triton with the product's and the benchmark's models."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from tritonclient.grpc import InferenceServerClient

from benchmarks.bench_models import lay_out
from benchmarks.bench_plants import CHECKOUT, BenchPlants
from cli.simulated_plant import choose_ports
from ops.local.kafka import LocalKafka
from ops.local.triton import LocalTriton
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from topologies.topic_admin import ensure_topics


@dataclass(frozen=True, kw_only=True)
class Services:
    """Where they are; `triton` can be stopped and started again. `folder` is for what a run writes; it is gone afterwards."""

    folder: Path
    kafka: KafkaSettings
    broker: LocalKafka
    triton_url: str
    triton: LocalTriton
    repository: Path
    plants: BenchPlants

    def environment(self) -> dict[str, str]:
        """What a process of ours has to be told of them."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "TRITON_URL": self.triton_url,
            "TRITON_MODEL_REPOSITORY": str(self.repository),
            "OBJECT_STORE_URL": str(self.folder / "objects"),
            "LINESIGHT_LOG_LEVEL": "WARNING",
        }

    def make_topics(self, plant: Plant) -> None:
        """Makes the plant's topics."""
        asyncio.run(ensure_topics(plant, kafka=self.kafka))

    def pids(self) -> dict[str, list[int]]:
        """The processes of the broker and of Triton now, those of its models included."""
        families = {"broker": self.broker.child.pid, "triton": self.triton.child.pid}
        return {
            name: [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
            for name, pid in families.items()
        }

    def executions(self, model: str) -> tuple[int, int]:
        """Images that Triton has inferred with a model since it started, and the runs in which it did so."""
        answer = InferenceServerClient(self.triton_url).get_inference_statistics(model)
        return (
            sum(version.inference_count for version in answer.model_stats),
            sum(version.execution_count for version in answer.model_stats),
        )


@contextmanager
def services() -> Iterator[Services]:
    """Starts Kafka and Triton, and stops them. What they wrote is kept where something goes wrong."""
    choose_ports()
    folder = Path(tempfile.mkdtemp(prefix="linesight-bench-"))
    plants = BenchPlants(folder / "plants")
    repository = folder / "models"
    lay_out(repository, models=CHECKOUT / "triton_models", version=plants.golden().compare.version)
    with ExitStack() as stack:
        kafka = stack.enter_context(LocalKafka(folder))
        triton = stack.enter_context(LocalTriton(folder, repository))
        yield Services(
            folder=folder,
            kafka=KafkaSettings(bootstrap_servers=kafka.bootstrap_servers),
            broker=kafka,
            triton_url=triton.url,
            triton=triton,
            repository=repository,
            plants=plants,
        )
    shutil.rmtree(folder, ignore_errors=True)
