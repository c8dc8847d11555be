"""Alerts in and out of Kafka: what the alerts and the sensors stage share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from processors.alert_actions import AlertStep
from schemas.alerts import Alert
from schemas.plant import Plant
from schemas.topics import ALERTS, AUDIT, COMMANDS
from topologies.history import History
from topologies.producer import Outgoing, Producer


async def send_steps(producer: Producer, steps: Iterable[AlertStep], *, traceparent: bytes | None = None) -> None:
    """Sends alerts and what follows from them; returns when the broker has everything."""
    await send_traced(producer, [(step, traceparent) for step in steps])


async def send_traced(producer: Producer, steps: Sequence[tuple[AlertStep, bytes | None]]) -> None:
    """The same for steps of several records, each with the trace context of its own.

    Commands go first: a restart reads open alerts back and does not raise them again, so an alert must not be out before its command. A
    command that is sent twice has one id, and the PLC gateway executes it once.
    """
    first = [outgoing for step, traceparent in steps for outgoing in _before_the_alert(step, traceparent)]
    alerts = [
        Outgoing(topic=ALERTS, key=step.alert.line, message=step.alert, traceparent=traceparent)
        for step, traceparent in steps
    ]
    for outgoing in (first, alerts):
        if outgoing:
            await producer.send(outgoing)


def _before_the_alert(step: AlertStep, traceparent: bytes | None) -> Iterator[Outgoing]:
    if step.command is not None:
        yield Outgoing(topic=COMMANDS, key=step.command.station, message=step.command, traceparent=traceparent)
    if step.audit is not None:
        yield Outgoing(topic=AUDIT, key=step.audit.actor, message=step.audit, traceparent=traceparent)


async def alerts_so_far(history: History, plant: Plant) -> AsyncIterator[Alert]:
    """Every alert that is on the topic, those of a line in their order. Alerts are few: the topic is read whole."""
    for number in range(plant.kafka.partitions):
        end = await history.end(ALERTS, number)
        async for found in history.since(ALERTS, number, from_ms=0, until_offset=end):
            yield found.message
