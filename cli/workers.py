"""Several processes of one stage: which stages can have them, what each is called, and its place in the consumer group."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kafka.admin import KafkaAdminClient, MemberToRemove
from kafka.errors import KafkaError

from schemas.errors import ConfigurationError
from schemas.plant import Plant
from schemas.settings import KafkaSettings, StageSettings

SCALABLE = ("inspect", "backfill", "judge", "statistics")
"""Stages that share the partitions of their topics out. Of a gateway there is one: it is its PLC's only writer, or reads its cameras."""
ASK_MS = 5000

WORKERS = re.compile(r"(?P<stage>[a-z-]+)=(?P<count>[1-9]\d{0,3})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One process of a stage; the first has the stage's name."""

    stage: str
    number: int = 1

    @property
    def name(self) -> str:
        """Its name in logs, files and messages: `inspect`, `inspect-2`, `inspect-3`."""
        return self.stage if self.number == 1 else f"{self.stage}-{self.number}"

    @property
    def instance(self) -> str:
        """Its `LINESIGHT_INSTANCE`: the same after every restart, so that it gets its partitions back without a rebalance."""
        first = StageSettings().instance
        return first if self.number == 1 else f"{first}.{self.number}"

    def environment(self) -> dict[str, str]:
        """This process's environment with the worker's instance in it."""
        return {**os.environ, "LINESIGHT_INSTANCE": self.instance}


def read_workers(given: Iterable[str]) -> dict[str, int]:
    """Processes by stage from texts as `inspect=2`. Raises ConfigurationError for anything else."""
    counts: dict[str, int] = {}
    for text in given:
        found = WORKERS.fullmatch(text)
        if found is None:
            raise ConfigurationError(f"--workers {text!r}: expected STAGE=N with N from 1 on, for example inspect=2")
        if found["stage"] in counts:
            raise ConfigurationError(f"--workers names {found['stage']} twice: give one number for it")
        counts[found["stage"]] = int(found["count"])
    return counts


def check_workers(counts: Mapping[str, int], plant: Plant) -> None:
    """Raises ConfigurationError where a stage cannot have as many processes as `counts` says."""
    for stage, count in counts.items():
        if stage not in SCALABLE:
            raise ConfigurationError(
                f"{stage} cannot have {count} workers: stages that can have several are {', '.join(SCALABLE)}"
            )
        if count < 1:
            raise ConfigurationError(f"{stage} cannot have {count} workers: expected 1 or more")
        if count > plant.kafka.partitions:
            raise ConfigurationError(
                f"{stage} cannot have {count} workers: the topics of {plant.plant} have {plant.kafka.partitions} partitions "
                "(kafka.partitions of the plant file), and a further worker would get none"
            )


def forget_member(worker: Worker, *, plant: Plant, kafka: KafkaSettings) -> bool:
    """Tells the broker that a stopped worker does not come back, so that the others get its partitions now and not when its session ends.

    False where the broker could not be told; the session ends by itself then.
    """
    group = f"{plant.plant}.{worker.stage.replace('-', '_')}"
    member = MemberToRemove(group_instance_id=f"{group}.{worker.instance}", reason="stopped for good")
    try:
        admin = KafkaAdminClient(**kafka.client(), request_timeout_ms=ASK_MS, bootstrap_timeout_ms=ASK_MS)
    except (KafkaError, OSError, ValueError):
        return False
    try:
        admin.remove_group_members(group, [member])
    except KafkaError:
        return False
    finally:
        admin.close()
    return True
