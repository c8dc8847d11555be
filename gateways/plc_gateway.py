"""The PLC gateway: what PLCs report goes to `plc-events`, commands go to their mailboxes, answers to `command-results`.

It is the only writer to a PLC. The PLC side works without the broker (heartbeats go on, events wait on disk), the broker
side without the PLC (commands expire by their own validity).
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from gateways.command_intake import CommandIntake
from gateways.lifetime import show_ready, together, until_stopped
from gateways.plc_controller import PlcController
from gateways.plc_history import StationHistory, published_events
from gateways.publisher import RecordPublisher
from gateways.readiness_watch import ReadinessWatch
from gateways.selected_recipes import SelectedRecipes
from gateways.spool import open_spool
from gateways.station_metrics import StationMetrics
from gateways.station_nodes import stations_of
from schemas.commands import CommandResult
from schemas.patience import wait_at_most
from schemas.plant import Plant
from schemas.reasons import CommandOutcome
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import PLC_EVENTS

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
        metrics = StationMetrics(stage)
        self._controllers = [
            PlcController(
                plc=plc,
                plant=plant,
                plant_dir=plant_dir,
                stage=stage,
                publisher=publisher,
                metrics=metrics,
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
            await wait_at_most(LOOK_AT_STAGES_S, self._look)

    async def _take_commands(self) -> None:
        """Only when the results of a former life are on their topic, where the intake looks for them."""
        await self._publisher.left_over_sent()
        await self._intake.run()

    def _told_result(self, result: CommandResult) -> None:
        if result.outcome is CommandOutcome.NOT_ACKNOWLEDGED:
            for controller in self._controllers:
                controller.result_not_taken(result)

    def _is_ready(self) -> bool:
        plcs_served = all(controller.ready for controller in self._controllers)
        return plcs_served and self._history_known and self._publisher.connected and self._intake.assigned

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


async def _shielded(task: asyncio.Task[None]) -> None:
    """Raises what `task` raises, and leaves it running when cancelled."""
    await asyncio.shield(task)
