"""Alerts in and out of Kafka: what the alerts and the sensors stage share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from processors.alert_actions import AlertStep
from schemas.alerts import Alert
from schemas.plant import Plant
from schemas.topics import ALERTS, AUDIT, COMMANDS
from topologies.history import History
from topologies.producer import Outgoing, Producer


async def send_steps(producer: Producer, steps: Iterable[AlertStep], *, traceparent: bytes | None = None) -> None:
    """Sends alerts and what follows from them; returns when the broker has everything.

    The command goes first: a restart reads open alerts back and does not raise them again, so an alert must not be out before
    its command. A command that is sent twice has one id, and the PLC gateway executes it once.
    """
    for step in steps:
        first: list[Outgoing] = []
        if step.command is not None:
            first.append(
                Outgoing(topic=COMMANDS, key=step.command.station, message=step.command, traceparent=traceparent)
            )
        if step.audit is not None:
            first.append(Outgoing(topic=AUDIT, key=step.audit.actor, message=step.audit, traceparent=traceparent))
        if first:
            await producer.send(first)
        await producer.send([Outgoing(topic=ALERTS, key=step.alert.line, message=step.alert, traceparent=traceparent)])


async def alerts_so_far(history: History, plant: Plant) -> AsyncIterator[Alert]:
    """Every alert that is on the topic, those of a line in their order. Alerts are few: the topic is read whole."""
    for number in range(plant.kafka.partitions):
        end = await history.end(ALERTS, number)
        async for found in history.since(ALERTS, number, from_ms=0, until_offset=end):
            yield found.message
