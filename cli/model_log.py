"""The topic `models` from the command line: the registry as it is now, and one more step with its audit event."""

from __future__ import annotations

import time

from cli.exits import NotSo
from cli.producing import Sender
from processors.model_registry import Registry, Step
from processors.model_steps import audit_of
from schemas.plant import Plant
from schemas.records import ModelEvent
from schemas.settings import KafkaSettings
from schemas.topics import AUDIT, MODELS


def read_registry(plant: Plant, kafka: KafkaSettings) -> Registry:
    """The registry after everything that is on the topic. Raises ServiceAway, ConfigurationError where the topic is not there."""
    from cli.following import Follower

    registry = Registry()
    with Follower(plant=plant, settings=kafka, topics=(MODELS,), from_beginning=True) as follower:
        for seen in follower.drain():
            if seen.message is not None:  # what cannot be decoded is nobody's step
                registry.take(seen.message)
    return registry


def write_step(plant: Plant, kafka: KafkaSettings, event: ModelEvent) -> Step:
    """Writes a step of a model and its audit event, and reads the log again: only it knows whether the step had an effect.

    Raises NotSo with the reason where it had none: somebody else was quicker.
    """
    from cli.following import Follower

    with Sender(plant=plant, kafka=kafka) as sender:
        sender.send([(MODELS, event.model, event), (AUDIT, event.by, audit_of(event))])
    registry, step = Registry(), None
    with Follower(plant=plant, settings=kafka, topics=(MODELS,), from_beginning=True) as follower:
        for seen in follower.drain():
            if seen.message is not None:
                taken = registry.take(seen.message)
                if step is None and seen.message.id == event.id:
                    step = taken
    if step is None:
        raise NotSo(
            f"{event.id} is not on {MODELS.on(plant.plant)}: is the broker's retention set to less than it should be?"
        )
    if step.refused:
        raise NotSo(f"{event.model} version {event.version} is not {event.change}: {step.refused}")
    return Step(registry.state(event.model))


def now_ns() -> int:
    """The time of a step that a person takes."""
    return time.time_ns()
