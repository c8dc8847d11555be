"""A station of a PLC, as the PLC gateway knows it and follows what the PLC says of it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from gateways.arrivals import Arrival, Departure, RingFollower, RingTorn, arrival_ring, departure_ring, part_id_of
from gateways.departed_parts import DepartedParts
from gateways.handshake import StationHandshake
from gateways.interlocks import StationInterlocks
from gateways.opcua_session import OpcUaSession
from gateways.plc_report import StationReport
from gateways.publisher import RecordPublisher
from gateways.selected_recipes import SelectedRecipes
from gateways.station_link import NODE_FAULT, StationLink
from gateways.station_metrics import StationMetrics
from gateways.station_nodes import label_nodes, station_interlocks, station_nodes
from schemas.plant import ExternalSource, Plant, Plc, PlcNodes
from schemas.telemetry import Noticed, Stage

LOOK_ANYWAY_S = 1.0


@dataclass(kw_only=True)
class ControlledStation:
    """Its nodes and rings, the report of what it says, and what a command to it is judged by."""

    name: str
    nodes: PlcNodes
    labels: tuple[str, ...]
    link: StationLink
    handshake: StationHandshake
    report: StationReport
    arrivals: RingFollower[Arrival]
    departures: RingFollower[Departure]
    needs: tuple[str, ...]
    interlocks: StationInterlocks
    departed: DepartedParts
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    unread: set[str] = field(default_factory=set)

    @property
    def watched(self) -> tuple[str, ...]:
        """Nodes whose change means that something is to be read."""
        return self.nodes.trigger_count, self.nodes.departure_count, *self.line

    @property
    def line(self) -> tuple[str, ...]:
        """The state of the line: mode, cause, recipe, and the next recipe where the PLC announces it."""
        announced = () if self.nodes.next_recipe is None else (self.nodes.next_recipe,)
        return self.nodes.line_mode, self.nodes.line_cause, self.nodes.recipe, *announced

    def has_changed(self, node: str) -> None:
        """Notes that `node`, one of `watched`, is to be read again."""
        self.unread.add(node)
        self.changed.set()

    async def news(self, *, until_s: float) -> frozenset[str]:
        """The nodes that changed since the last call, waited for; all of `watched` once the loop's clock reads `until_s`."""
        try:
            async with asyncio.timeout_at(until_s):
                await self.changed.wait()
        except TimeoutError:
            pass
        if asyncio.get_running_loop().time() >= until_s:
            self.unread.update(self.watched)
        news = frozenset(self.unread)
        self.unread.clear()
        self.changed.clear()
        return news

    async def follow(self, session: OpcUaSession, *, stage: Stage, recipes: SelectedRecipes) -> None:
        """Reads what changed, and all of it every `LOOK_ANYWAY_S`: a subscription may die without a word.

        A ring is hundreds of entries in six arrays or more: not to be read for nothing.
        """
        clock = asyncio.get_running_loop().time
        look_anyway_s = clock()
        caught_up = False
        while True:
            news = await self.news(until_s=look_anyway_s)
            if news.issuperset(self.watched):
                look_anyway_s = clock() + LOOK_ANYWAY_S
            try:
                caught_up = await self._follow_rings(session, news, caught_up=caught_up)
            except RingTorn as error:
                stage.emit(Noticed(what="ring_torn", subject=self.name, detail=str(error)))
                self.unread.update((self.nodes.trigger_count, self.nodes.departure_count))  # with the next news
            self.departed.is_read(session)
            if not news.isdisjoint(self.line):
                mode, cause, recipe, *coming = await session.read(self.line)
                recipes.take(self.name, selected=recipe, coming=next(iter(coming), None), report=self.report)
                await self.report.line(mode, cause)
                await self.report.recipe(recipe)

    async def _follow_rings(self, session: OpcUaSession, news: frozenset[str], *, caught_up: bool) -> bool:
        """Takes what is new in the rings; True once arrivals were read in this session. Raises `RingTorn`."""
        if self.nodes.trigger_count in news:
            arrivals = await self.arrivals.read(session)
            if arrivals.entries:
                count = arrivals.entries[-1].count
                if self.handshake.triggered(count, live=caught_up, now_s=time.monotonic()):
                    self.report.early_trigger(f"trigger {count} came while TriggerReady was false", over=False)
            caught_up = True
            session_id = arrivals.plc_session
            parts = [(part_id_of(self.name, session_id, part), part.visit) for part in arrivals.entries]
            self.departed.came(parts, plc_session=session_id)
            await self.report.arrived(arrivals)
        if self.nodes.departure_count in news:
            departures = await self.departures.read(session)
            self.departed.left((part.part_id, part.visit) for part in departures.entries)
            await self.report.left(departures)
        return caught_up


def controlled_station(
    plc: Plc, name: str, *, plant: Plant, stage: Stage, publisher: RecordPublisher, metrics: StationMetrics
) -> ControlledStation:
    """A station of `plc`, as the plant file describes it."""
    nodes, labels = station_nodes(plc.nodes, name), label_nodes(plc, name)
    handshake = StationHandshake(station=name, recipes=[recipe.key for recipe in plant.recipes])
    departed = DepartedParts()
    interlocks = StationInterlocks(
        interlocks=station_interlocks(plant, name), nodes=nodes, began_at_ns=time.time_ns(), departed=departed
    )
    report = StationReport(
        station=name, plant=plant, publisher=publisher, stage=stage, handshake=handshake, metrics=metrics
    )
    return ControlledStation(
        name=name,
        nodes=nodes,
        labels=tuple(labels.values()),
        link=StationLink(
            station=name,
            stage=stage,
            gauge=metrics.node_fault,
            fell=lambda why: report.fault(NODE_FAULT, why, cleared=not why),
        ),
        needs=_needed_stages(plant, name),
        interlocks=interlocks,
        departed=departed,
        handshake=handshake,
        report=report,
        arrivals=RingFollower(ring=arrival_ring(nodes, labels), session_node=nodes.session),
        departures=RingFollower(ring=departure_ring(nodes), session_node=nodes.session),
    )


def _needed_stages(plant: Plant, name: str) -> tuple[str, ...]:
    """What a part at the station needs for its verdict, besides this gateway."""
    cameras = next(station.cameras for station in plant.stations if station.name == name)
    captured = any(not isinstance(camera.source, ExternalSource) for camera in cameras)
    return (*(("station_gateway",) if captured else ()), "inspect", "judge")
