"""One PLC with its stations: the link, what is followed on it, and what the stations' handshakes stand at."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from gateways.command_mailbox import CommandMailbox
from gateways.controlled_station import ControlledStation, controlled_station
from gateways.heartbeats import exchange_heartbeats, last_words, recall_fault
from gateways.lifetime import together
from gateways.machine_watch import MachineWatch
from gateways.node_watch import NodeWatch
from gateways.opcua_session import NodeFault, OpcUaSession
from gateways.plc_link import PlcLink
from gateways.publisher import RecordPublisher
from gateways.readiness_watch import Presence
from gateways.selected_recipes import SelectedRecipes
from gateways.station_check import check_nodes, keep_checking
from gateways.station_metrics import StationMetrics
from gateways.station_nodes import stations_of, writable_nodes
from schemas.commands import CommandResult
from schemas.plant import Plant, Plc
from schemas.reasons import HandshakeCode
from schemas.telemetry import Stage


class PlcController:
    """One PLC with its stations."""

    def __init__(
        self,
        *,
        plc: Plc,
        plant: Plant,
        plant_dir: Path,
        stage: Stage,
        publisher: RecordPublisher,
        metrics: StationMetrics,
        recipes: SelectedRecipes,
    ) -> None:
        self._plc = plc
        self._stage = stage
        self._recipes = recipes
        self.stations = [
            controlled_station(plc, station.name, plant=plant, stage=stage, publisher=publisher, metrics=metrics)
            for station in stations_of(plant, plc)
        ]
        # one for all: PLCs bound the subscriptions of a session
        self._machine = MachineWatch(nodes=[node for station in self.stations for node in station.interlocks.nodes])
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

    @property
    def ready(self) -> bool:
        """Whether the PLC is there and serves some station: one whose nodes are wrong keeps no other back, and is told of by itself."""
        return self.link.up and any(station.link.up for station in self.stations)

    def mailboxes(self) -> dict[str, CommandMailbox]:
        """The mailbox of each station, by its name."""
        return {
            station.name: CommandMailbox(
                nodes=station.nodes,
                link=station.link,
                stage=self._stage,
                acknowledge_timeout_ms=self._plc.acknowledge_timeout_ms,
                observe=self._plc.observe,
                interlocks=station.interlocks,
                machine=self._machine,
                departed=station.departed,
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
        """Reads what the PLC says and exchanges heartbeats, while its session lasts; each station as long as its own nodes serve."""
        by_node = {node: station for station in self.stations for node in station.watched}
        await self._machine.follow(session)
        watch = NodeWatch(
            session,
            publishing_ms=self._plc.publishing_interval_ms,
            changed=lambda node: by_node[node].has_changed(node),
        )
        await together(*(station.link.run(partial(self._serve, station, session, watch)) for station in self.stations))

    async def _serve(self, station: ControlledStation, session: OpcUaSession, watch: NodeWatch) -> None:
        """Raises `NodeFault` as soon as a node of the station does not serve; the PLC is shown why, where that can be written."""
        await recall_fault(session, handshake=station.handshake, nodes=station.nodes)
        try:
            await self._serve_whole(station, session, watch)
        except NodeFault as fault:
            if not self._plc.observe:
                station.handshake.leave(now_s=time.monotonic(), why=str(fault))
                await last_words(session, handshake=station.handshake, nodes=station.nodes)
            raise

    async def _serve_whole(self, station: ControlledStation, session: OpcUaSession, watch: NodeWatch) -> None:
        await check_nodes(session, nodes=station.nodes, labels=station.labels, observe=self._plc.observe)
        await watch.add(station.watched)
        station.departed.is_unread()

        def exchanged() -> None:
            # only now: the PLC may refuse a write for what it says, and would be up and down with each attempt
            if not station.link.up:
                station.link.stands(session)

        await together(
            station.follow(session, stage=self._stage, recipes=self._recipes),
            exchange_heartbeats(
                session,
                nodes=station.nodes,
                report=station.report,
                handshake=station.handshake,
                heartbeat_ms=self._plc.heartbeat_ms,
                observe=self._plc.observe,
                exchanged=exchanged,
            ),
            keep_checking(session, station.link, nodes=station.nodes, labels=station.labels, observe=self._plc.observe),
        )

    def _tell_fault(self, detail: str, *, cleared: bool) -> None:
        for station in self.stations:
            station.report.fault("plc_away", detail, cleared=cleared)
