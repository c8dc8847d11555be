"""A node that does not serve takes down its own station: the others of the same PLC go on, and it is back by itself. No broker needed."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asyncua import ua
from broker import until
from plant_floor import Floor, counted, floor_plant

from gateways import plc_controller, station_check
from gateways.controlled_station import ControlledStation
from gateways.opcua_session import OpcUaSession
from gateways.outbox import Fate
from gateways.plc_controller import PlcController
from gateways.plc_history import StationHistory
from gateways.selected_recipes import SelectedRecipes
from gateways.station_check import check_nodes
from gateways.station_metrics import StationMetrics
from schemas.commands import Command, CommandResult
from schemas.plc_events import PartArrived, PlcEvent, PlcFault
from schemas.reasons import CommandKind, CommandOutcome, FailSafe, HandshakeCode, VerdictValue
from schemas.telemetry import Stage

SOUND, FAULTY = "aoi-1", "aoi-2"
SOON_S = 15.0
_numbers = itertools.count(1)
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Published:
    """In place of the publisher: what it was given is on the topic."""

    def __init__(self) -> None:
        self.events: list[PlcEvent] = []

    def submit(self, _topic: object, _key: str, event: PlcEvent, *, tell: Callable[[Fate], None]) -> None:
        self.events.append(event)
        tell(Fate.ACKNOWLEDGED)


class TwoStations:
    """The gateway's part for one PLC, and the PLC."""

    def __init__(self, floor: Floor, plant_dir: Path) -> None:
        self.floor = floor
        self.stage = Stage("plc_gateway")
        self._published = Published()
        plant = floor_plant("works", plc=floor.plc, stations=(SOUND, FAULTY))
        self.controller = PlcController(
            plc=floor.plc,
            plant=plant,
            plant_dir=plant_dir,
            stage=self.stage,
            publisher=self._published,  # type: ignore[arg-type]
            metrics=StationMetrics(self.stage),
            recipes=SelectedRecipes(plant=plant, stage=self.stage, changed=asyncio.Event()),
        )
        self._mailboxes = self.controller.mailboxes()

    async def run(self) -> None:
        reports = [station.report.run(StationHistory()) for station in self.controller.stations]
        await asyncio.gather(self.controller.link.run(self.controller.follow), *reports)

    def station(self, name: str) -> ControlledStation:
        return next(station for station in self.controller.stations if station.name == name)

    async def rest(self) -> None:
        """Nothing waits for a person: parts that come while no stage runs are early triggers."""
        for name in (SOUND, FAULTY):
            await self.floor.set("reset_count", self.floor.value("reset_count", station=name) + 1, station=name)

        def well() -> bool:
            codes = [self.floor.value("error_code", station=name) for name in (SOUND, FAULTY)]
            return max(codes) < HandshakeCode.EARLY_TRIGGER

        await until(well, "it is reset", within_s=SOON_S)

    async def until_up(self, name: str, *, up: bool = True) -> None:
        await until(lambda: self.station(name).link.up is up, f"{name}: served {up}", within_s=SOON_S)

    def fault(self, name: str) -> float:
        return counted(self.stage, "node_fault", station=name)

    def told(self, name: str) -> list[PlcFault]:
        """The faults of the station's nodes, as they were told."""
        return [fault for fault in self.faults(name) if fault.code == "node_fault"]

    async def until_told(self, name: str, *details: str, cleared: bool = False) -> None:
        """Returns once the newest fault of the station's nodes says all of this."""

        def so() -> bool:
            newest = self.told(name)[-1:]
            return [one.cleared for one in newest] == [cleared] and all(
                detail in newest[0].detail for detail in details
            )

        await until(so, f"{name}: told {details}, over {cleared}", within_s=SOON_S)

    def faults(self, name: str) -> list[PlcFault]:
        return [event for event in self._published.events if isinstance(event, PlcFault) and event.station == name]

    def arrived(self, name: str) -> list[str]:
        return [
            event.part_id
            for event in self._published.events
            if isinstance(event, PartArrived) and event.station == name
        ]

    async def verdict(self, name: str, part_id: str = "p", *, valid_for_s: float = 30.0) -> CommandResult:
        now_ns = time.time_ns()
        return await self._mailboxes[name].deliver(
            Command(
                id=f"verdict/{name}/{part_id}/{next(_numbers)}", station=name, kind=CommandKind.VERDICT, issued_at_ns=now_ns,
                valid_until_ns=now_ns + int(valid_for_s * 1e9), reason_code="defect", part_id=part_id, visit=1,
                verdict=VerdictValue.NOT_OK, action=FailSafe.REJECT,
            )
        )  # fmt: skip

    async def works(self, name: str) -> None:
        """A part comes to the station, is told, and its verdict is executed."""
        part_id = f"p{next(_numbers)}"
        await self.floor.arrive(part_id, station=name)
        await until(lambda: part_id in self.arrived(name), f"{part_id} at {name} is told", within_s=SOON_S)
        result = await self.verdict(name, part_id)
        assert result.outcome is CommandOutcome.ACKNOWLEDGED, result.detail

    @contextmanager
    def without(self, *roles: str) -> Iterator[None]:
        """The PLC's program does not have these nodes of the faulty station."""
        server = self.floor.server
        nodes = server._server.iserver.aspace._nodes
        gone = {server._nodes[FAULTY, role]: nodes.pop(server._nodes[FAULTY, role]) for role in roles}
        yield
        nodes.update(gone)

    @contextmanager
    def declared_as(self, role: str, kind: ua.VariantType) -> Iterator[None]:
        """The PLC's program declares the node of the faulty station with another type."""
        server = self.floor.server
        attributes = server._server.iserver.aspace._nodes[server._nodes[FAULTY, role]].attributes
        declared = attributes[ua.AttributeIds.DataType].value
        attributes[ua.AttributeIds.DataType].value = ua.DataValue(ua.Variant(ua.NodeId(kind.value)))
        yield
        attributes[ua.AttributeIds.DataType].value = declared


async def test_a_fault_of_a_former_life_outlives_a_node_that_is_missing_at_the_start(tmp_path: Path) -> None:
    async with Floor(stations=(SOUND, FAULTY)) as floor:
        stood = ua.DataValue(ua.Variant(int(HandshakeCode.LOST_TRIGGER), ua.VariantType.UInt16))
        await floor.server._server.write_attribute_value(floor.server._nodes[FAULTY, "error_code"], stood)
        found = TwoStations(floor, tmp_path)
        with found.without("line_cause"):
            running = asyncio.create_task(found.run())
            await until(lambda: found.fault(FAULTY) == 1, "the fault is seen", within_s=SOON_S)
        await found.until_up(FAULTY)
        assert floor.value("error_code", station=FAULTY) == HandshakeCode.LOST_TRIGGER, "it waits for a person"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TwoStations]:
    async with Floor(stations=(SOUND, FAULTY)) as floor:
        found = TwoStations(floor, tmp_path_factory.mktemp("plant"))
        running = asyncio.create_task(found.run())
        for name in (SOUND, FAULTY):
            await found.until_up(name)
        try:
            yield found
            assert floor.sessions == 1
            for name in (SOUND, FAULTY):
                assert "plc_away" not in [fault.code for fault in found.faults(name) if not fault.cleared]
            assert not [fault for fault in found.told(SOUND) if not fault.cleared]
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _begins_at_rest(two: TwoStations) -> None:
    await two.rest()


async def test_a_station_whose_node_is_gone_is_not_served_until_it_is_there_again(two: TwoStations) -> None:
    with two.without("line_cause"):
        await two.until_up(FAULTY, up=False)
        assert (two.fault(FAULTY), two.fault(SOUND)) == (1, 0)
        await until(lambda: two.floor.value("error_code", station=FAULTY) == HandshakeCode.STARTING, "the PLC is shown")
        assert two.floor.value("trigger_ready", station=FAULTY) is False
        await until(
            lambda: two.floor.value("error_text", station=FAULTY) == f"node s={FAULTY}.Line.Cause: BadNodeIdUnknown",
            "and told which",
        )
        stands = two.floor.value("gateway_heartbeat", station=FAULTY)
        await two.works(SOUND)
        result = await two.verdict(FAULTY, valid_for_s=0.2)
        assert (result.outcome, result.attempts) == (CommandOutcome.EXPIRED, 0)
        assert two.floor.value("gateway_heartbeat", station=FAULTY) == stands, "the heart of no half station beats"
        assert two.controller.ready
    await two.until_up(FAULTY)
    await two.until_told(FAULTY, cleared=True)
    assert two.fault(FAULTY) == 0
    assert f"s={FAULTY}.Line.Cause: BadNodeIdUnknown" in two.told(FAULTY)[-2].detail
    await two.works(FAULTY)


@pytest.mark.parametrize(
    ("role", "kind", "told"),
    [
        ("command_verdict", ua.VariantType.Int16, "Mailbox.Verdict: Int16, expected String"),
        ("command_valid_until_ns", ua.VariantType.Int32, "Mailbox.ValidUntilNs: Int32, expected Int64"),
        ("arrival_visits", ua.VariantType.String, "Arrivals.Visits: String, expected UInt16[]"),
    ],
)
async def test_a_type_that_does_not_hold_what_is_said_there_is_a_fault_of_its_station(
    two: TwoStations, role: str, kind: ua.VariantType, told: str
) -> None:
    with two.declared_as(role, kind):
        two.station(FAULTY).link.doubted.set()  # else it is looked at within 10 s
        await two.until_up(FAULTY, up=False)
        await two.until_told(FAULTY, f"node s={FAULTY}.{told}")
        await two.works(SOUND)
    await two.until_up(FAULTY)


async def test_a_command_that_finds_a_node_of_the_mailbox_gone_takes_its_station_down(
    two: TwoStations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(station_check, "LOOK_AGAIN_S", 3600.0)
    two.station(FAULTY).link.doubted.set()  # what it waits for is an hour away from now on
    await until(lambda: not two.station(FAULTY).link.doubted.is_set(), "it was looked at", within_s=SOON_S)
    await two.works(FAULTY)
    with two.without("command_verdict", "ack_time_ns"):
        result = await two.verdict(FAULTY, valid_for_s=0.3)
        assert result.outcome is not CommandOutcome.ACKNOWLEDGED
        await two.until_up(FAULTY, up=False)
        # all that is wrong, at once
        await two.until_told(
            FAULTY, "Mailbox.Verdict: BadNodeIdUnknown, expected String", "Mailbox.AckTimeNs: BadNodeIdUnknown"
        )
    await two.until_up(FAULTY)
    await two.works(FAULTY)


async def test_a_write_that_is_refused_again_and_again_is_one_fault_and_not_one_each_second(
    two: TwoStations, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[str] = []

    async def counted_check(session: OpcUaSession, **asked: Any) -> None:
        attempts.append(asked["nodes"].recipe)
        await check_nodes(session, **asked)

    monkeypatch.setattr(plc_controller, "check_nodes", counted_check)
    told = len(two.told(FAULTY))
    server = two.floor.server._server
    node = server.get_node(two.floor.server._nodes[FAULTY, "ready_recipe"])
    await node.set_read_only()
    await two.until_up(FAULTY, up=False)
    stands = two.floor.value("gateway_heartbeat", station=FAULTY)
    await until(lambda: attempts.count(f"s={FAULTY}.Recipe") >= 3, "it was tried again and again", within_s=SOON_S)
    assert two.floor.value("gateway_heartbeat", station=FAULTY) == stands, "no heart beats for it meanwhile"
    await until(lambda: "refused the write" in two.floor.value("error_text", station=FAULTY), "the PLC is told why")
    await two.until_told(FAULTY, "refused the write to s=aoi-2.Handshake.ReadyRecipe")
    raised = [fault for fault in two.told(FAULTY)[told:] if not fault.cleared]
    assert len(raised) == 1
    await node.set_writable()
    await two.until_up(FAULTY)


async def test_a_text_for_people_that_is_not_there_takes_nobody_down(two: TwoStations) -> None:
    told = two.told(FAULTY)
    with two.without("error_text"):
        two.station(FAULTY).link.doubted.set()
        await until(lambda: not two.station(FAULTY).link.doubted.is_set(), "it was looked at", within_s=SOON_S)
        await two.works(FAULTY)
        assert two.told(FAULTY) == told
