"""Topics of a plant, created from the catalogue or verified against it, with every difference named."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, TopicAuthorizationFailedError, for_code

from schemas.broker_away import broker_away
from schemas.errors import ConfigurationError, TopicMismatch
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import CATALOGUE, Topic

Found = TypeVar("Found")

DEADLINE_S = 30.0
REQUEST_TIMEOUT_MS = 10_000
RETRY_S = 0.5
SHARED_PARTITIONS = 4
"""Topics with the catalogue's default count take the plant's `kafka.partitions`; the others (1) keep theirs."""


@dataclass(frozen=True, kw_only=True)
class TopicPlan:
    """What a topic should be on the broker."""

    name: str
    partitions: int
    replication: int
    config: dict[str, str]

    @property
    def settings(self) -> dict[str, str]:
        """Everything that is compared, by the name a person would use for it."""
        return {"partitions": str(self.partitions), "replication.factor": str(self.replication), **self.config}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One setting of one topic that is not as planned."""

    topic: str
    setting: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting} is {self.found}, expected {self.expected}"


@dataclass(frozen=True, kw_only=True)
class TopicState:
    """A topic as the broker has it: not at all, as planned, or with differences."""

    name: str
    present: bool
    differences: tuple[Difference, ...]


@dataclass(frozen=True, kw_only=True)
class TopicsEnsured:
    """Names on the broker: which were made now, and which were there and are as planned."""

    created: tuple[str, ...]
    verified: tuple[str, ...]


def plan_topic(topic: Topic, *, plant: Plant, kafka: KafkaSettings) -> TopicPlan:
    """How `topic` should be for this plant on this cluster."""
    shared = topic.partitions == SHARED_PARTITIONS
    return TopicPlan(
        name=topic.on(plant.plant),
        partitions=plant.kafka.partitions if shared else topic.partitions,
        replication=kafka.replication_factor,
        config={**topic.config, "min.insync.replicas": str(kafka.min_insync_replicas)},
    )


async def ensure_topics(
    plant: Plant, *, kafka: KafkaSettings, topics: Sequence[Topic] = CATALOGUE, deadline_s: float = DEADLINE_S
) -> TopicsEnsured:
    """Creates the missing topics of a plant and verifies all of them.

    Raises TopicMismatch with every difference, ServiceAway when the broker does not answer within `deadline_s`, and
    ConfigurationError when it refuses to create a topic.
    """
    plans = [plan_topic(topic, plant=plant, kafka=kafka) for topic in topics]
    return await _answer(kafka, partial(_ensure, plans=plans), deadline_s=deadline_s)


async def topic_states(
    plant: Plant, *, kafka: KafkaSettings, topics: Sequence[Topic] = CATALOGUE, deadline_s: float = DEADLINE_S
) -> list[TopicState]:
    """How the broker has the topics of a plant, in their order; changes nothing. Raises ServiceAway and ConfigurationError."""
    plans = [plan_topic(topic, plant=plant, kafka=kafka) for topic in topics]
    return await _answer(kafka, partial(_states, plans=plans), deadline_s=deadline_s)


async def _answer(
    kafka: KafkaSettings, question: Callable[[AIOKafkaAdminClient], Awaitable[Found]], *, deadline_s: float
) -> Found:
    """Asks until the broker answers. Raises ServiceAway when it does not within `deadline_s`."""
    give_up_at = time.monotonic() + deadline_s
    error: Exception | None = None
    while time.monotonic() < give_up_at:
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + give_up_at - time.monotonic()):
                admin = AIOKafkaAdminClient(**kafka.client(), request_timeout_ms=REQUEST_TIMEOUT_MS)
                try:
                    await admin.start()
                    return await question(admin)
                finally:
                    await admin.close()
        except (KafkaError, TimeoutError, OSError) as transient:
            error = transient
            await asyncio.sleep(min(RETRY_S, max(0.0, give_up_at - time.monotonic())))
    raise broker_away(kafka.bootstrap_servers, error, within_s=deadline_s) from error


async def _ensure(admin: AIOKafkaAdminClient, *, plans: Sequence[TopicPlan]) -> TopicsEnsured:
    present = set(await admin.list_topics())
    created = await _create(admin, [plan for plan in plans if plan.name not in present])
    await _visible(admin, created)
    differences = await _differences(admin, plans)
    if differences:
        raise TopicMismatch(
            "topics on the broker differ from the catalogue:\n"
            + "\n".join(f"  {difference}" for difference in differences)
            + "\nAlter them (kafka-configs, kafka-topics), or delete them and start again, or give the plant another name."
        )
    verified = tuple(plan.name for plan in plans if plan.name not in created)
    return TopicsEnsured(created=tuple(created), verified=verified)


async def _states(admin: AIOKafkaAdminClient, *, plans: Sequence[TopicPlan]) -> list[TopicState]:
    present = set(await admin.list_topics())
    differences = await _differences(admin, [plan for plan in plans if plan.name in present])
    return [
        TopicState(
            name=plan.name,
            present=plan.name in present,
            differences=tuple(difference for difference in differences if difference.topic == plan.name),
        )
        for plan in plans
    ]


async def _create(admin: AIOKafkaAdminClient, plans: Sequence[TopicPlan]) -> list[str]:
    """Creates topics; one that another process created meanwhile counts as there."""
    if not plans:
        return []
    response = await admin.create_topics(
        [NewTopic(plan.name, plan.partitions, plan.replication, topic_configs=plan.config) for plan in plans]
    )
    created = []
    for name, code, *details in response.topic_errors:
        error = for_code(code)
        if code == 0:
            created.append(name)
        elif error is TopicAuthorizationFailedError:
            raise ConfigurationError(f"not allowed to create topic {name}: grant CREATE on it, or create it beforehand")
        elif error.retriable:
            raise error(name)
        elif error is not TopicAlreadyExistsError:
            raise ConfigurationError(f"the broker refuses to create topic {name}: {error.__name__} {details}")
    return created


async def _visible(admin: AIOKafkaAdminClient, names: Sequence[str]) -> None:
    """Returns when every new topic has its leaders. Bounded by the caller's deadline."""
    while names:
        described = await admin.describe_topics(list(names))
        if all(
            topic["error_code"] == 0 and all(partition["error_code"] == 0 for partition in topic["partitions"])
            for topic in described
        ):
            return
        await asyncio.sleep(0.05)


async def _differences(admin: AIOKafkaAdminClient, plans: Sequence[TopicPlan]) -> list[Difference]:
    if not plans:
        return []
    found: dict[str, dict[str, str]] = {}
    for topic in await admin.describe_topics([plan.name for plan in plans]):
        partitions: list[dict[str, Any]] = topic["partitions"]
        found[topic["topic"]] = {
            "partitions": str(len(partitions)),
            "replication.factor": str(min((len(partition["replicas"]) for partition in partitions), default=0)),
        }
    resources = [ConfigResource(ConfigResourceType.TOPIC, plan.name) for plan in plans]
    for response in await admin.describe_configs(resources):
        for code, _, _, name, entries in response.resources:
            if for_code(code) is TopicAuthorizationFailedError:
                raise ConfigurationError(
                    f"not allowed to read the settings of topic {name}: grant DESCRIBE_CONFIGS on it"
                )
            found[name] |= {entry[0]: entry[1] for entry in entries}
    return [
        Difference(topic=plan.name, setting=setting, expected=expected, found=found[plan.name].get(setting, "nothing"))
        for plan in plans
        for setting, expected in plan.settings.items()
        if found[plan.name].get(setting) != expected
    ]
