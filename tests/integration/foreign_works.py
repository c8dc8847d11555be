"""A plant with cells whose PLC program is not ours, as a test works with it: parts, commands, and what the topics say of them."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from broker import publish, read_to_end, until
from node_opcua_cell import CELL, NodeOpcuaCells

from schemas.commands import Command, CommandResult
from schemas.plant import Plant
from schemas.plc_events import PartArrived, PartLeft
from schemas.reasons import CommandKind, FailSafe, HandshakeCode, VerdictValue
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import COMMAND_RESULTS, COMMANDS, PLC_EVENTS

SLOTS = 16
HOUR_MS = 3_600_000
SECOND_NS = 1_000_000_000
_numbers = itertools.count(1)
Event = TypeVar("Event")


@dataclass(frozen=True, kw_only=True)
class Works:
    """The cells, the gateway, and two stages that say that they can work."""

    cells: NodeOpcuaCells
    plant: Plant
    plant_file: Path
    kafka: KafkaSettings
    gateway: Stage
    inspect: Stage
    judge: Stage

    async def shows(self, ready: bool, code: HandshakeCode, *, cell: str = CELL) -> None:
        """Returns once TriggerReady and ErrorCode stand at these."""

        async def so() -> bool:
            return await self.cells.shows("Vision.Ready", "Vision.Fault", cell=cell) == [ready, code]

        await until(so, f"{cell}: TriggerReady {ready}, {code.name}", within_s=20)

    async def says(self, text: str, *, cell: str = CELL) -> None:
        """Returns once ErrorText, which is written after the rest, has this in it."""

        async def so() -> bool:
            return text in (await self.cells.shows("Vision.Text", cell=cell))[0]

        await until(so, f"{cell}: ErrorText with {text!r}", within_s=20)

    async def events(self, kind: type[Event], *, cell: str = CELL) -> list[Event]:
        found = await read_to_end(self.kafka, self.plant, PLC_EVENTS)
        return [event for event in found if isinstance(event, kind) and event.station == cell]  # type: ignore[attr-defined]

    async def event(self, kind: type[Event], *, cell: str = CELL, **fields: Any) -> Event:
        """The event with these fields, waited for."""
        found: list[Event] = []

        async def there() -> bool:
            told = await self.events(kind, cell=cell)
            found[:] = [one for one in told if all(getattr(one, name) == value for name, value in fields.items())]
            return bool(found)

        await until(there, f"{kind.__name__} with {fields}", within_s=20)
        return found[-1]

    async def pushed(self, serial: str, *, cell: str = CELL) -> PartArrived:
        """A part on a belt that does not wait has come, and is told."""
        await self.cells.ask("push", cell=cell, serials=[serial])
        return await self.event(PartArrived, cell=cell, part_id=serial)

    async def passes(self, name: str, *, cell: str = CELL) -> PartLeft:
        """A part has passed the gate, and is told."""
        await self.cells.ask("arriveAtGate", cell=cell, name=name)
        return await self.event(PartLeft, cell=cell, part_id=name)

    async def results(self, *commands: Command) -> list[CommandResult]:
        """What became of commands, given in this order."""
        await publish(self.kafka, self.plant, COMMANDS, [(command.station, command) for command in commands])
        found: dict[str, CommandResult] = {}

        async def there() -> bool:
            found.update({result.id: result for result in await read_to_end(self.kafka, self.plant, COMMAND_RESULTS)})
            return all(command.id in found for command in commands)

        await until(there, "every command has a result", within_s=30)
        return [found[command.id] for command in commands]

    async def rest(self) -> None:
        """The cell runs on the first product, its operator has quit what was wrong."""
        await self.cells.ask("hand", cell=CELL, on=False)
        await self.cells.ask("sticks", cell=CELL, stuck=False)
        await self.cells.ask("clock", cell=CELL, aheadMs=0)
        await self.cells.panel(Mode="running", Reason="", Product="board@1", Coming="", Enable=True)
        self.judge.ready = self.inspect.ready = True

        async def well() -> bool:
            ready, fault, quits = await self.cells.shows("Vision.Ready", "Vision.Fault", "Quit")
            if fault >= HandshakeCode.EARLY_TRIGGER:
                await self.cells.panel(Quit=quits + 1)
            return bool(ready) and not fault

        await until(well, "the cell is at rest", within_s=20)


def command(kind: CommandKind, *, cell: str = CELL, valid_for_s: float = 30.0, **fields: Any) -> Command:
    now_ns = time.time_ns()
    return Command(
        id=f"{kind}/{cell}/{next(_numbers)}", station=cell, kind=kind, issued_at_ns=now_ns,
        valid_until_ns=now_ns + int(valid_for_s * SECOND_NS), reason_code="because", **fields,
    )  # fmt: skip


def verdict(
    part_id: str, value: VerdictValue = VerdictValue.NOT_OK, action: FailSafe = FailSafe.REJECT, **fields: Any
) -> Command:
    return command(CommandKind.VERDICT, part_id=part_id, visit=1, verdict=value, action=action, **fields)


def serial() -> str:
    return f"S{next(_numbers):05}"
