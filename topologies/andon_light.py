"""An andon light: a command for each notification, and what the PLC made of it. A light that was not set is set again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from processors.notification_forms import andon_command
from schemas.commands import Command, CommandResult
from schemas.errors import Refused, Transient
from schemas.message import NS_PER_MS
from schemas.notifications import Notification
from schemas.plant import Plant
from schemas.reasons import CommandOutcome, RefusalReason
from schemas.receivers import AndonReceiver
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import AUDIT, COMMAND_RESULTS, COMMANDS
from topologies.history import CLOCK_MARGIN_MS, History
from topologies.key_partitions import partition_of
from topologies.producer import Outgoing, Producer

ANSWER_S = 15.0
"""The command's validity, and some time for the gateway to say what became of it."""
LOOK_EVERY_S = 0.5
SET = (CommandOutcome.ACKNOWLEDGED,)
NOT_MEANT = (CommandOutcome.OBSERVED, CommandOutcome.DRY_RUN, CommandOutcome.SWITCHED_OFF)
"""The plant file or a person wants nothing written: asking again changes nothing."""
NEVER = (CommandOutcome.REFUSED_INVALID,)


class AndonLight:
    """One light. `show` sends, `is_set` waits for the answer; for the same notification both may be asked again and again."""

    def __init__(
        self, receiver: AndonReceiver, *, plant: Plant, stage: Stage, kafka: KafkaSettings, producer: Producer
    ) -> None:
        self._receiver = receiver
        self._plant = plant
        self._stage = stage
        self._kafka = kafka
        self._producer = producer
        self._sent: tuple[str, Command] | None = None  # for which notification

    async def show(self, notification: Notification) -> None:
        """Returns when the broker has the command. One for a notification that had one already is another command: the gateway executes
        an id once."""
        again = self._sent is not None and self._sent[0] == notification.id
        now_ns = time.time_ns()
        command, audit = andon_command(
            notification, receiver=self._receiver, now_ns=now_ns, again_at_ns=now_ns if again else None
        )
        await self._producer.send(
            [
                Outgoing(topic=COMMANDS, key=command.station, message=command),
                Outgoing(topic=AUDIT, key=audit.actor, message=audit),
            ]
        )
        self._sent = notification.id, command

    async def is_set(self, notification: Notification) -> None:
        """Returns when the PLC has set the light, or is not to set it. Raises Transient where it did not, Refused where it never will."""
        assert self._sent is not None, "shown first"
        command = self._sent[1]
        try:
            async with asyncio.timeout(ANSWER_S):
                result = await self._result(command)
        except TimeoutError:
            raise Transient(f"no result of {command.id} within {ANSWER_S:g} s") from None
        said = f"{command.parameter} = {command.value:g}: {result.outcome}" + (
            f", {result.detail}" if result.detail else ""
        )
        if result.outcome in NEVER:
            raise Refused(RefusalReason.RECEIVER_REFUSED, said)
        if result.outcome not in SET + NOT_MEANT:
            raise Transient(said)

    async def _result(self, command: Command) -> CommandResult:
        async with (
            History(plant=self._plant.plant, stage=self._stage, kafka=self._kafka) as history,
            aclosing(self._results(history, from_ms=command.issued_at_ns // NS_PER_MS)) as results,
        ):
            return await anext(found async for found in results if found.id == command.id)

    async def _results(self, history: History, *, from_ms: int) -> AsyncGenerator[CommandResult]:
        """Those of the station's partition since then (by the gateway's clock, so a margin earlier), and then what comes."""
        number = partition_of(self._receiver.station, of=self._plant.kafka.partitions)
        end = await history.end(COMMAND_RESULTS, number)
        async for found in history.since(
            COMMAND_RESULTS, number, from_ms=from_ms, until_offset=end, margin_ms=CLOCK_MARGIN_MS
        ):
            yield found.message
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            seen, end = end, await history.end(COMMAND_RESULTS, number)
            async for found in history.between(COMMAND_RESULTS, number, from_offset=seen, until_offset=end):
                yield found.message
