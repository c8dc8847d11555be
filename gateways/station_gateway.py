"""The station gateway: sees the PLC's trigger, takes the pictures, binds each to its part, publishes frames and manifests.

It has its own OPC UA session, which only reads, so it works with the PLC gateway or the broker away. Pictures are bound to
parts by the trigger count alone, never by time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp

from gateways.arrivals import Arrival, RingFollower, RingNews, RingTorn, arrival_ring, part_id_of
from gateways.camera_sources import open_source
from gateways.capture import CameraCapture
from gateways.framing import Framer, Subject
from gateways.lifetime import show_ready, together, until_stopped
from gateways.manifests import ManifestBook, new_session
from gateways.node_watch import NodeWatch
from gateways.opcua_session import OpcUaSession
from gateways.picture_source import CameraSource, Trigger
from gateways.plc_link import PlcLink
from gateways.publisher import RecordPublisher
from gateways.spool import open_spool
from gateways.station_link import StationLink, node_fault_gauge
from gateways.station_nodes import station_nodes, stations_of
from gateways.trigger_times import Moment, TriggerTimes, prompt_within_s
from schemas.errors import ServiceAway
from schemas.object_store import open_store
from schemas.patience import wait_at_most
from schemas.plant import Camera, Plant, Plc, Station
from schemas.settings import KafkaSettings, ObjectStoreSettings
from schemas.telemetry import Noticed, Stage
from schemas.topics import MANIFESTS, MIB_BYTES

WAITING_FRAMES_BYTES = 64 * MIB_BYTES
"""Frames kept in memory; more go to the spool, and without one the oldest are given up."""
MANIFEST_EVERY_S = 1.0
# A subscription may die without a word; the ring is looked at now and then in any case.
LOOK_ANYWAY_S = 1.0
FINISH_PICTURES_S = 3.0
FINISH_FRAMES_S = 3.0
FINISH_MANIFESTS_S = 1.5


async def run(plant: Plant, *, plant_dir: Path, stage: Stage, stop: asyncio.Event) -> None:
    """Runs the station gateway of all stations of `plant` that have a PLC, until `stop`. Raises `Fatal`."""
    publisher = RecordPublisher(
        plant=plant.plant,
        stage=stage,
        kafka=KafkaSettings(),
        budget_bytes=WAITING_FRAMES_BYTES,
        spool=open_spool(plant=plant.plant, stage=stage),
    )
    async with aiohttp.ClientSession() as http, publisher:
        gateway = _Gateway(plant=plant, plant_dir=plant_dir, stage=stage, publisher=publisher, http=http)
        await gateway.run(stop)


@dataclass(frozen=True, kw_only=True)
class _WatchedCamera:
    camera: Camera
    book: ManifestBook
    source: CameraSource
    capture: CameraCapture


class _WatchedStation:
    """A station with its share of the PLC's link, its cameras and the ring of its arrivals."""

    def __init__(
        self,
        *,
        station: Station,
        link: StationLink,
        trigger_count: str,
        follower: RingFollower[Arrival],
        cameras: Sequence[_WatchedCamera],
    ) -> None:
        self.station = station
        self.link = link
        self.trigger_count = trigger_count
        self.follower = follower
        self.cameras = cameras
        self.times = TriggerTimes(
            taken_for_ms=station.gate_after_ms,
            prompt_within_s=prompt_within_s(watched.camera for watched in cameras),
        )
        self.changed = asyncio.Event()


class _Gateway:
    def __init__(
        self,
        *,
        plant: Plant,
        plant_dir: Path,
        stage: Stage,
        publisher: RecordPublisher,
        http: aiohttp.ClientSession,
    ) -> None:
        self._plant = plant
        self._plant_dir = plant_dir
        self._stage = stage
        self._publisher = publisher
        self._http = http
        self._session = new_session()
        self._store = open_store(ObjectStoreSettings())
        self._node_fault = node_fault_gauge(stage)
        self._stations = {plc.name: self._watched(plc) for plc in plant.plcs}
        self._links = {
            plc.name: PlcLink(plc=plc, plant_dir=plant_dir, stage=stage)
            for plc in plant.plcs
            if self._stations[plc.name]
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop`, then finishes the pictures that are owed and closes the books."""
        cameras = [camera for stations in self._stations.values() for station in stations for camera in station.cameras]
        capturing = asyncio.create_task(
            together(*(camera.source.run() for camera in cameras), *(camera.capture.run() for camera in cameras))
        )
        try:
            await until_stopped(
                stop,
                self._publisher.failed(),
                show_ready(self._stage, self._is_ready),
                self._tell_manifests(cameras),
                _fails_with(capturing),
                *(link.run(partial(self._follow, name)) for name, link in self._links.items()),
            )
            await asyncio.gather(*(camera.capture.finish(within_s=FINISH_PICTURES_S) for camera in cameras))
        finally:
            capturing.cancel()
            await asyncio.gather(capturing, return_exceptions=True)
        for camera in cameras:
            camera.capture.give_up()
        await self._publisher.drained(within_s=FINISH_FRAMES_S)
        await self._close_books(cameras)

    def _is_ready(self) -> bool:
        """A station whose nodes are wrong keeps no other of its PLC back; it is told of by itself."""
        return self._publisher.connected and all(
            link.up and any(watched.link.up for watched in self._stations[name]) for name, link in self._links.items()
        )

    # --- arrivals ----------------------------------------------------------------------------------------------------

    def _watched(self, plc: Plc) -> list[_WatchedStation]:
        watched = []
        for station in stations_of(self._plant, plc):
            cameras = [found for camera in station.cameras if (found := self._watched_camera(station, camera))]
            nodes = station_nodes(plc.nodes, station.name)
            follower = RingFollower(ring=arrival_ring(nodes), session_node=nodes.session)
            if cameras:
                link = StationLink(station=station.name, stage=self._stage, gauge=self._node_fault)
                watched.append(
                    _WatchedStation(
                        station=station,
                        link=link,
                        trigger_count=nodes.trigger_count,
                        follower=follower,
                        cameras=cameras,
                    )
                )
        return watched

    def _watched_camera(self, station: Station, camera: Camera) -> _WatchedCamera | None:
        source = open_source(
            camera, plant_dir=self._plant_dir, http=self._http, tell=partial(self._camera_tells, camera.name)
        )
        if source is None:
            return None
        book = ManifestBook(station=station.name, camera=camera.name, session=self._session)
        framer = Framer(
            station=station.name,
            camera=camera.name,
            session=self._session,
            store=self._store,
            stage=self._stage,
            inline_limit_bytes=self._plant.kafka.inline_limit_bytes,
        )
        capture = CameraCapture(
            camera=camera.name,
            source=source,
            framer=framer,
            book=book,
            publisher=self._publisher,
            stage=self._stage,
            useful_for_s=station.gate_after_ms / 1000,
            refuse_repeats=camera.repeats == "refuse",
        )
        return _WatchedCamera(camera=camera, book=book, source=source, capture=capture)

    def _camera_tells(self, camera: str, what: str, detail: str) -> None:
        self._stage.emit(Noticed(what=what, subject=camera, detail=detail))

    async def _follow(self, plc_name: str, session: OpcUaSession) -> None:
        """Follows all stations of a PLC while its session lasts."""
        stations = self._stations[plc_name]
        plc = self._plant.plc(plc_name)
        assert plc is not None
        by_node = {watched.trigger_count: watched for watched in stations}
        watch = NodeWatch(
            session, publishing_ms=plc.publishing_interval_ms, changed=lambda node: by_node[node].changed.set()
        )
        await together(
            *(watched.link.run(partial(self._follow_station, watched, session, watch)) for watched in stations)
        )

    async def _follow_station(self, watched: _WatchedStation, session: OpcUaSession, watch: NodeWatch) -> None:
        """Raises `NodeFault` as soon as a node of the station's arrivals does not serve."""
        await watch.add([watched.trigger_count])
        reconnected = True
        while True:
            watched.changed.clear()
            asked = Moment.now()
            try:
                news = await watched.follower.read(session)
            except RingTorn as error:
                self._stage.emit(Noticed(what="ring_torn", subject=watched.station.name, detail=str(error)))
            else:
                triggers = watched.times.of(news, asked=asked, answered=Moment.now(), reconnected=reconnected)
                self._take(watched, news, triggers)
                reconnected = False
            if not watched.link.up:  # a ring that is torn is a matter of its own: its nodes are there
                watched.link.stands(session)
            await wait_at_most(watched.times.look_within_s(LOOK_ANYWAY_S), watched.changed)

    def _take(self, watched: _WatchedStation, news: RingNews[Arrival], triggers: Sequence[Trigger]) -> None:
        name = watched.station.name
        if news.missed:
            self._stage.emit(Noticed(what="arrivals_missed", subject=name, detail=f"{news.missed} arrivals"))
        for arrival, trigger in zip(news.entries, triggers, strict=True):
            age_ms = (time.time_ns() - arrival.occurred_at_ns) // 1_000_000
            if news.first and age_ms > watched.station.gate_after_ms:
                # before this gateway started: the part has passed the gate without it
                self._stage.emit(
                    Noticed(what="arrival_too_old", subject=name, detail=f"{arrival.part_id}: {age_ms} ms")
                )
                continue
            subject = Subject(
                part_id=part_id_of(name, news.plc_session, arrival),
                visit=arrival.visit,
                recipe=arrival.recipe,
                trigger_count=arrival.count,
            )
            for camera in watched.cameras:
                camera.capture.take(subject, self._views(camera.camera, arrival.recipe), trigger)

    def _views(self, camera: Camera, recipe_key: str) -> list[str]:
        """The views of `camera` that the recipe asks for; all where the recipe is unknown, for inspect to refuse by name."""
        recipe = self._plant.recipe(recipe_key)
        if recipe is None:
            return list(camera.views)
        wanted = {view.name for view in recipe.views}
        return [view for view in camera.views if view in wanted]

    # --- manifests ---------------------------------------------------------------------------------------------------

    async def _tell_manifests(self, cameras: Sequence[_WatchedCamera]) -> None:
        while True:
            await asyncio.sleep(MANIFEST_EVERY_S)
            await asyncio.gather(*(self._tell(camera, closing=False) for camera in cameras))

    async def _tell(self, camera: _WatchedCamera, *, closing: bool) -> None:
        manifest = camera.book.next_manifest(now_ns=time.time_ns(), closing=closing)
        if manifest is not None:
            await self._publisher.keep(MANIFESTS, camera.camera.name, manifest)

    async def _close_books(self, cameras: Sequence[_WatchedCamera]) -> None:
        try:
            async with asyncio.timeout(FINISH_MANIFESTS_S):
                await asyncio.gather(*(self._tell(camera, closing=True) for camera in cameras))
        except (TimeoutError, ServiceAway):
            # neither broker nor disk take it; the ledger counts the frames by their headers
            self._stage.emit(Noticed(what="books_not_closed", subject=self._session))


async def _fails_with(task: asyncio.Task[None]) -> None:
    """Raises what `task` raises, and leaves it running when cancelled."""
    await asyncio.shield(task)
