"""A gateway with a PLC that lies, an honest one, and one that takes connections and never answers."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from asyncua import ua
from broker import publish, read_to_end, until
from plant_floor import Floor, counted, floor_plant, make_topics, running

from gateways import plc_gateway
from schemas.commands import Command, CommandResult
from schemas.plant import Plant, Plc
from schemas.plc_events import PartArrived
from schemas.reasons import CommandKind, CommandOutcome, FailSafe, HandshakeCode, VerdictValue
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import COMMAND_RESULTS, COMMANDS, PLC_EVENTS
from simulation.plc import _RINGS, _SCALARS, _WRITABLE

LIAR, HONEST, MUTE = "aoi-1", "aoi-2", "aoi-3"
SECOND_NS = 1_000_000_000
TYPES = {**_SCALARS, **_WRITABLE, **_RINGS}
"""The type that the node of each role ought to have."""
_numbers = itertools.count(1)


class Lies:
    """Both floors, and what is asked of the gateway."""

    def __init__(self, floors: dict[str, Floor], plant: Plant, kafka: KafkaSettings, stage: Stage) -> None:
        self.floors = floors
        self.plant = plant
        self.kafka = kafka
        self.stage = stage
        self.sent: dict[str, Command] = {}

    @property
    def liar(self) -> Floor:
        return self.floors[LIAR]

    async def put(self, role: str, value: Any, kind: ua.VariantType) -> None:
        """Puts a value of any type into a node of the liar."""
        server = self.liar.server
        node = server._nodes[LIAR, role]
        # asyncua compares a new value's type with that of the old one
        server._server.iserver.aspace._nodes[node].attributes[ua.AttributeIds.Value].value = None
        await server._server.write_attribute_value(
            node, ua.DataValue(ua.Variant(value, kind, is_array=isinstance(value, list)))
        )
        assert self.liar.value(role) is value

    async def command(self, part_id: str, *, station: str = LIAR, valid_for_s: float = 30.0) -> Command:
        """A verdict on its way to the station."""
        now_ns = time.time_ns()
        command = Command(
            id=f"verdict/{station}/{part_id}/1/1",
            station=station,
            kind=CommandKind.VERDICT,
            issued_at_ns=now_ns,
            valid_until_ns=now_ns + int(valid_for_s * SECOND_NS),
            reason_code="defect",
            part_id=part_id,
            visit=1,
            verdict=VerdictValue.NOT_OK,
            action=FailSafe.REJECT,
            arrived_at_ns=now_ns,
        )
        self.sent[command.id] = command
        await publish(self.kafka, self.plant, COMMANDS, [(station, command)])
        return command

    async def result(self, command: Command) -> CommandResult:
        """What became of the command."""
        found: list[CommandResult] = []

        async def there() -> bool:
            found[:] = [
                result
                for result in await read_to_end(self.kafka, self.plant, COMMAND_RESULTS)
                if result.id == command.id
            ]
            return bool(found)

        await until(there, f"{command.id} has a result", within_s=20)
        assert len(found) == 1, "one result per command"
        return found[0]

    async def events(self, kind: type[Any], *, station: str = LIAR) -> list[Any]:
        return [
            event
            for event in await read_to_end(self.kafka, self.plant, PLC_EVENTS)
            if isinstance(event, kind) and event.station == station
        ]

    async def inspect(self, station: str) -> None:
        """A part comes to a station, is told, and its verdict is executed."""
        part_id = f"good-{next(_numbers)}"
        await self.floors[station].arrive(part_id, station=station)

        async def told() -> bool:
            return part_id in [event.part_id for event in await self.events(PartArrived, station=station)]

        await until(told, f"{part_id} at {station} is told", within_s=20)
        result = await self.result(await self.command(part_id, station=station))
        assert result.outcome is CommandOutcome.ACKNOWLEDGED, result.detail

    async def told(self) -> list[str]:
        """The parts that the liar is known to have had."""
        return [event.part_id for event in await self.events(PartArrived)]

    async def until_told(self, part_id: str) -> None:
        async def told() -> bool:
            return part_id in await self.told()

        await until(told, f"{part_id} is told", within_s=10)

    def noticed(self, what: str) -> float:
        return counted(self.stage, "noticed_total", what=what)

    def new_part(self) -> str:
        return f"p-{next(_numbers)}"

    @asynccontextmanager
    async def lying(self, role: str, lie: Callable[[Any], Any], kind: ua.VariantType) -> AsyncIterator[None]:
        """The liar's program writes `lie(value)` into the node of a role, and at the end the value."""
        server = self.liar.server
        honest = server._write
        hidden: list[Any] = []

        async def write(owner: str, written: str, value: Any) -> None:
            if written == role:
                hidden.append(value)
                await self.put(role, lie(value), kind)
            else:
                await honest(owner, written, value)

        server._write = write  # type: ignore[method-assign]
        yield
        server._write = honest  # type: ignore[method-assign]
        if hidden:
            await self.put(role, hidden[-1], TYPES[role])

    @contextmanager
    def program_stands_still(self) -> Iterator[None]:
        """The liar's server goes on, its program looks at no command."""
        looks = self.liar.server._mailbox
        self.liar.server._mailbox = lambda _station: None  # type: ignore[method-assign]
        yield
        self.liar.server._mailbox = looks  # type: ignore[method-assign]

    async def arrives(self) -> str:
        """A part comes to the liar. Nothing inspects here, so its trigger is early: that fault is reset, to see the next one."""
        part_id = self.new_part()
        await self._reset()
        await self.liar.arrive(part_id)
        await self.shows(HandshakeCode.EARLY_TRIGGER)
        await self._reset()
        return part_id

    async def _reset(self) -> None:
        await self.liar.set("reset_count", self.liar.value("reset_count") + 1)
        await until(lambda: self.liar.value("error_code") < HandshakeCode.EARLY_TRIGGER, "it is reset", within_s=10)

    async def shows(self, code: HandshakeCode) -> None:
        """The handshake shows the PLC this code."""
        await until(lambda: self.liar.value("error_code") == code, f"the handshake says {code!r}", within_s=10)


@asynccontextmanager
async def floor_of_lies(name: str, kafka: KafkaSettings, folder: Path) -> AsyncIterator[Lies]:
    """The three PLCs with a gateway that has them. `KAFKA_BOOTSTRAP_SERVERS` has to be set."""
    async with AsyncExitStack() as stack:
        floors = {
            station: await stack.enter_async_context(Floor(stations=(station,), acknowledge_timeout_ms=200))
            for station in (LIAR, HONEST)
        }
        mute = await stack.enter_async_context(await asyncio.start_server(_say_nothing, "127.0.0.1", 0))
        plant = _plant(name, floors, mute_port=mute.sockets[0].getsockname()[1])
        await make_topics(plant, kafka)
        stage = await stack.enter_async_context(
            running(plc_gateway.run, plant, name="plc_gateway", plant_dir=folder, ready=False)
        )
        found = Lies(floors, plant, kafka, stage)
        for station in (LIAR, HONEST):
            await found.inspect(station)
        yield found


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


def _plant(name: str, floors: dict[str, Floor], *, mute_port: int) -> Plant:
    plcs = [
        *(msgspec.structs.replace(floor.plc, name=f"plc-{name}") for name, floor in floors.items()),
        Plc(name=f"plc-{MUTE}", endpoint=f"opc.tcp://127.0.0.1:{mute_port}/", security="none"),
    ]
    plant = floor_plant(name, plc=plcs[0])
    (line,) = plant.lines
    stations = tuple(
        msgspec.structs.replace(line.stations[0], name=name, plc=f"plc-{name}") for name in (LIAR, HONEST, MUTE)
    )
    return msgspec.structs.replace(plant, plcs=tuple(plcs), lines=(msgspec.structs.replace(line, stations=stations),))
