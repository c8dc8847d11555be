"""The PLC gateway: what PLCs report goes to `plc-events`, commands go to their mailboxes, answers to `command-results`.

It is the only writer to a PLC. The PLC side works without the broker (heartbeats go on, events wait on disk), the broker
side without the PLC (commands expire by their own validity).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import Gauge

from gateways.arrivals import Arrival, Departure, RingFollower, RingTorn, arrival_ring, departure_ring
from gateways.command_intake import CommandIntake
from gateways.command_mailbox import CommandMailbox
from gateways.handshake import StationHandshake
from gateways.heartbeats import exchange_heartbeats
from gateways.interlocks import StationInterlocks
from gateways.lifetime import show_ready, together, until_stopped
from gateways.opcua_session import OpcUaSession
from gateways.plc_history import StationHistory, published_events
from gateways.plc_link import PlcLink
from gateways.plc_report import StationReport
from gateways.publisher import RecordPublisher
from gateways.readiness_watch import Presence, ReadinessWatch
from gateways.selected_recipes import SelectedRecipes
from gateways.spool import open_spool
from gateways.station_nodes import label_nodes, station_interlocks, station_nodes, stations_of, writable_nodes
from schemas.commands import CommandResult
from schemas.plant import ExternalSource, Plant, Plc, PlcNodes
from schemas.reasons import CommandOutcome, HandshakeCode
from schemas.settings import KafkaSettings
from schemas.telemetry import Noticed, Stage
from schemas.topics import PLC_EVENTS

LOOK_ANYWAY_S = 1.0
LOOK_AT_STAGES_S = 0.2
FINISH_EVENTS_S = 2.0


async def run(plant: Plant, *, plant_dir: Path, stage: Stage, stop: asyncio.Event) -> None:
    """Runs the PLC gateway of all PLCs of `plant` that control stations, until `stop`. Raises `Fatal`."""
    kafka = KafkaSettings()
    spool = open_spool(plant=plant.plant, stage=stage)
    publisher = RecordPublisher(plant=plant.plant, stage=stage, kafka=kafka, budget_bytes=0, spool=spool)
    gateway = _Gateway(plant=plant, plant_dir=plant_dir, stage=stage, publisher=publisher, kafka=kafka)
    async with publisher:
        await gateway.run(stop)


@dataclass(kw_only=True)
class _ControlledStation:
    """A station of a PLC: its nodes, its rings, its report."""

    name: str
    nodes: PlcNodes
    handshake: StationHandshake
    report: StationReport
    arrivals: RingFollower[Arrival]
    departures: RingFollower[Departure]
    needs: tuple[str, ...]
    interlocks: StationInterlocks
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


class _Gateway:
    def __init__(
        self, *, plant: Plant, plant_dir: Path, stage: Stage, publisher: RecordPublisher, kafka: KafkaSettings
    ) -> None:
        self._plant = plant
        self._stage = stage
        self._publisher = publisher
        self._kafka = kafka
        self._watch = ReadinessWatch(plant=plant, stage=stage, kafka=kafka)
        self._look = self._watch.presence.changed
        recipes = SelectedRecipes(plant=plant, stage=stage, changed=self._look)
        writes_allowed = stage.gauge(
            "writes_allowed", "1 where the PLC's bit allows writes, 0 where it forbids them.", "station"
        )
        self._controllers = [
            _Controller(
                plc=plc,
                plant=plant,
                plant_dir=plant_dir,
                stage=stage,
                publisher=publisher,
                writes_allowed=writes_allowed,
                recipes=recipes,
            )
            for plc in plant.plcs
            if stations_of(plant, plc)
        ]
        self._left_over = publisher.left_over(PLC_EVENTS)
        self._history_known = False
        self._intake = CommandIntake(
            plant=plant,
            told=self._told_result,
            mailboxes={name: box for controller in self._controllers for name, box in controller.mailboxes().items()},
            publisher=publisher,
            stage=stage,
            kafka=kafka,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop`, then finishes the commands under way before it lets go of the PLCs, and tells what they said."""
        links = asyncio.create_task(
            together(*(controller.link.run(controller.follow) for controller in self._controllers))
        )
        report = asyncio.create_task(self._report())
        try:
            await until_stopped(
                stop,
                self._publisher.failed(),
                show_ready(self._stage, self._is_ready),
                self._watch.run(),
                self._keep_handshakes(),
                _shielded(links),
                _shielded(report),
                self._take_commands(),
            )
            links.cancel()
            await asyncio.gather(links, return_exceptions=True)  # cancelled again, it would leave its sessions open
            await self._told(within_s=FINISH_EVENTS_S)
        finally:
            links.cancel()
            report.cancel()
            await asyncio.gather(links, report, return_exceptions=True)

    async def _keep_handshakes(self) -> None:
        while True:
            now_s = time.monotonic()
            heard = self._watch.presence.hears_anyone(now_s=now_s)
            broker_away = not (heard and self._publisher.connected and self._intake.assigned)
            for controller in self._controllers:
                controller.look(self._watch.presence, broker_away=broker_away, now_s=now_s)
            self._look.clear()
            try:
                async with asyncio.timeout(LOOK_AT_STAGES_S):
                    await self._look.wait()
            except TimeoutError:
                pass

    async def _take_commands(self) -> None:
        """Only when the results of a former life are on their topic, where the intake looks for them."""
        await self._publisher.left_over_sent()
        await self._intake.run()

    def _told_result(self, result: CommandResult) -> None:
        if result.outcome is CommandOutcome.NOT_ACKNOWLEDGED:
            for controller in self._controllers:
                controller.result_not_taken(result)

    def _is_ready(self) -> bool:
        links_up = all(controller.link.up for controller in self._controllers)
        return links_up and self._history_known and self._publisher.connected and self._intake.assigned

    async def _told(self, *, within_s: float) -> None:
        """Waits until what the PLCs reported is on its topic or on disk, for `within_s`; the next start reads the rest from the PLC."""
        try:
            async with asyncio.timeout(within_s):
                await together(*(station.report.settled() for plc in self._controllers for station in plc.stations))
        except TimeoutError:
            self._stage.log.warning("events_not_told", within_s=within_s)

    async def _report(self) -> None:
        """Publishes the stations' events, once it is known which of them are published already."""
        histories = {station.name: StationHistory() for plc in self._controllers for station in plc.stations}
        published = await published_events(
            plant=self._plant.plant, kafka=self._kafka, stage=self._stage, go_on_without=self._publisher.keeps
        )
        for event in [*published, *self._left_over]:
            if event.station in histories:
                histories[event.station].note(event)
        self._history_known = True
        await together(
            *(station.report.run(histories[station.name]) for plc in self._controllers for station in plc.stations)
        )


class _Controller:
    """One PLC with its stations."""

    def __init__(
        self,
        *,
        plc: Plc,
        plant: Plant,
        plant_dir: Path,
        stage: Stage,
        publisher: RecordPublisher,
        writes_allowed: Gauge,
        recipes: SelectedRecipes,
    ) -> None:
        self._plc = plc
        self._stage = stage
        self._recipes = recipes
        self.stations = [
            _station(plc, station.name, plant=plant, stage=stage, publisher=publisher, writes_allowed=writes_allowed)
            for station in stations_of(plant, plc)
        ]
        self.link = PlcLink(
            plc=plc,
            plant_dir=plant_dir,
            stage=stage,
            writable=()
            if plc.observe
            else [node for station in self.stations for node in writable_nodes(station.nodes)],
            came_up=lambda: self._tell_fault("", cleared=True),
            went_down=lambda reason: self._tell_fault(reason, cleared=False),
        )

    def mailboxes(self) -> dict[str, CommandMailbox]:
        """The mailbox of each station, by its name."""
        return {
            station.name: CommandMailbox(
                nodes=station.nodes,
                link=self.link,
                stage=self._stage,
                acknowledge_timeout_ms=self._plc.acknowledge_timeout_ms,
                observe=self._plc.observe,
                interlocks=station.interlocks,
            )
            for station in self.stations
        }

    def look(self, presence: Presence, *, broker_away: bool, now_s: float) -> None:
        """Keeps the handshakes of the stations at how things stand."""
        for station in self.stations:
            away = [stage for stage in station.needs if not presence.is_ready(stage, now_s=now_s)]
            recipe = self._recipes.selected(station.name)
            station.handshake.look(
                broker_away=broker_away,
                stages_away=away,
                recipe=recipe,
                recipe_lacks=presence.lacks(recipe, now_s=now_s),
                now_s=now_s,
            )
            if station.handshake.shown.trigger_ready:
                station.report.early_trigger("", over=True)

    def result_not_taken(self, result: CommandResult) -> None:
        """The PLC did not take a result in time."""
        for station in self.stations:
            if station.name == result.station:
                station.handshake.fail(HandshakeCode.RESULT_NOT_TAKEN, f"{result.id}: {result.detail}")

    async def follow(self, session: OpcUaSession) -> None:
        """Reads what the PLC says and exchanges heartbeats, while its session lasts."""
        by_node = {node: station for station in self.stations for node in station.watched}
        await session.watch(list(by_node), lambda node: by_node[node].has_changed(node))
        await together(
            *(self._follow_station(station, session) for station in self.stations),
            *(
                exchange_heartbeats(
                    session,
                    nodes=station.nodes,
                    report=station.report,
                    handshake=station.handshake,
                    heartbeat_ms=self._plc.heartbeat_ms,
                    observe=self._plc.observe,
                )
                for station in self.stations
            ),
        )

    async def _follow_station(self, station: _ControlledStation, session: OpcUaSession) -> None:
        """Reads what changed, and all of it every `LOOK_ANYWAY_S`: a subscription may die without a word.

        A ring is hundreds of entries in six arrays or more: not to be read for nothing.
        """
        nodes, report = station.nodes, station.report
        clock = asyncio.get_running_loop().time
        look_anyway_s = clock()
        caught_up = False
        while True:
            news = await station.news(until_s=look_anyway_s)
            if news.issuperset(station.watched):
                look_anyway_s = clock() + LOOK_ANYWAY_S
            try:
                if nodes.trigger_count in news:
                    arrivals = await station.arrivals.read(session)
                    if arrivals.entries:
                        count = arrivals.entries[-1].count
                        if station.handshake.triggered(count, live=caught_up, now_s=time.monotonic()):
                            report.early_trigger(f"trigger {count} came while TriggerReady was false", over=False)
                    caught_up = True
                    await report.arrived(arrivals)
                if nodes.departure_count in news:
                    await report.left(await station.departures.read(session))
            except RingTorn as error:
                self._stage.emit(Noticed(what="ring_torn", subject=station.name, detail=str(error)))
                station.unread.update((nodes.trigger_count, nodes.departure_count))  # with the next news
            if not news.isdisjoint(station.line):
                mode, cause, recipe, *coming = await session.read(station.line)
                self._recipes.take(station.name, selected=recipe, coming=next(iter(coming), None), report=report)
                await report.line(mode, cause)
                await report.recipe(recipe)

    def _tell_fault(self, detail: str, *, cleared: bool) -> None:
        for station in self.stations:
            station.report.fault("plc_away", detail, cleared=cleared)


def _station(
    plc: Plc, name: str, *, plant: Plant, stage: Stage, publisher: RecordPublisher, writes_allowed: Gauge
) -> _ControlledStation:
    nodes = station_nodes(plc.nodes, name)
    handshake = StationHandshake(station=name, recipes=[recipe.key for recipe in plant.recipes])
    return _ControlledStation(
        name=name,
        nodes=nodes,
        needs=_needed_stages(plant, name),
        interlocks=StationInterlocks(
            interlocks=station_interlocks(plant, name), nodes=nodes, began_at_ns=time.time_ns()
        ),
        handshake=handshake,
        report=StationReport(
            station=name,
            plant=plant,
            publisher=publisher,
            stage=stage,
            handshake=handshake,
            writes_allowed=writes_allowed.labels(name),
        ),
        arrivals=RingFollower(ring=arrival_ring(nodes, label_nodes(plc, name)), session_node=nodes.session),
        departures=RingFollower(ring=departure_ring(nodes), session_node=nodes.session),
    )


def _needed_stages(plant: Plant, name: str) -> tuple[str, ...]:
    """What a part at the station needs for its verdict, besides this gateway."""
    cameras = next(station.cameras for station in plant.stations if station.name == name)
    captured = any(not isinstance(camera.source, ExternalSource) for camera in cameras)
    return (*(("station_gateway",) if captured else ()), "inspect", "judge")


async def _shielded(task: asyncio.Task[None]) -> None:
    """Raises what `task` raises, and leaves it running when cancelled."""
    await asyncio.shield(task)
