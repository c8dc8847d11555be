"""What a station's PLC reports, as events on `plc-events`: in order, each once, kept on disk while the broker is away."""

from __future__ import annotations

import asyncio
import time

from gateways.arrivals import Arrival, Departure, RingNews, part_id_of
from gateways.handshake import StationHandshake
from gateways.outbox import Fate
from gateways.plc_history import StationHistory
from gateways.publisher import RecordPublisher
from gateways.station_metrics import StationMetrics
from schemas.errors import DETAIL_LIMIT
from schemas.plant import Plant
from schemas.plc_events import (
    LineMode,
    LineStateChanged,
    PartArrived,
    PartLeft,
    PlcEvent,
    PlcFault,
    RecipeChanged,
    RejectConfirmed,
)
from schemas.reasons import HandshakeCode
from schemas.telemetry import Noticed, Stage
from schemas.topics import PLC_EVENTS

WAITING_EVENTS = 20_000
"""Events kept in memory until they are on the topic or on disk: about an hour at 2 parts a second, a few MB."""

A_NEW_START = "a PLC that starts anew has to begin a new Session"
OPEN_EVENTS = 1_000
"""Of them, those that the publisher may have and whose fate is open."""


class StationReport:
    """Events of one station on their way to Kafka. Its methods are called with what was read from the PLC."""

    def __init__(
        self,
        *,
        station: str,
        plant: Plant,
        publisher: RecordPublisher,
        stage: Stage,
        handshake: StationHandshake,
        metrics: StationMetrics,
    ) -> None:
        self._station = station
        self._handshake = handshake
        self._plant = plant
        self._publisher = publisher
        self._stage = stage
        self._events: asyncio.Queue[PlcEvent] = asyncio.Queue(maxsize=WAITING_EVENTS)
        self._slots = asyncio.Semaphore(OPEN_EVENTS)
        self._untold = 0
        self._all_told = asyncio.Event()
        self._said: dict[str, object] = {"writes_forbidden": True}  # a PLC that allows writes has no news
        self._writes_allowed = metrics.writes_allowed.labels(station)
        self._told_before = metrics.told_before.labels(station)

    async def run(self, history: StationHistory) -> None:
        """Publishes what is not in `history`; ends by cancellation."""
        while True:
            event = await self._events.get()
            news = self._news(history, event)
            for told in news:
                await self._slots.acquire()
                self._untold += 1
                self._publisher.submit(PLC_EVENTS, self._station, told, tell=self._told)
            if news:
                history.note(event)
            self._events.task_done()

    async def settled(self) -> None:
        """Returns when every event so far is on the topic or on disk: a part that left is told with the gate's confirmation."""
        await self._events.join()
        while self._untold:
            self._all_told.clear()
            await self._all_told.wait()

    async def arrived(self, news: RingNews[Arrival]) -> None:
        """Parts entered the station."""
        if news.went_back:
            detail = "triggers that were read before have changed, in the same PLC session"
            self._stage.emit(Noticed(what="counter_went_back", subject=self._station, detail=detail))
        if news.missed:
            self._handshake.fail(HandshakeCode.LOST_TRIGGER, f"{news.missed} triggers left the ring unread")
        for arrival in news.entries:
            part_id = part_id_of(self._station, news.plc_session, arrival)
            recipe = self._plant.recipe(arrival.recipe)
            await self._events.put(
                PartArrived(
                    id=f"{self._station}/{part_id}/{arrival.visit}/arrived",
                    station=self._station,
                    part_id=part_id,
                    visit=arrival.visit,
                    recipe=arrival.recipe,
                    expected_views=recipe.required_views if recipe is not None else (),
                    trigger_count=arrival.count,
                    occurred_at_ns=arrival.occurred_at_ns,
                    batch=arrival.batch,
                    labels=arrival.labels,
                    plc_session=news.plc_session,
                )
            )

    async def left(self, news: RingNews[Departure]) -> None:
        """Parts passed the gate."""
        if news.missed:
            await self._events.put(self._missed("departures_missed", news.missed))
        nameless = [departure.count for departure in news.entries if not departure.part_id]
        if nameless:
            await self._events.put(self._departure_without_part(nameless))
        for departure in news.entries:
            if not departure.part_id:
                continue
            place = f"{self._station}/{departure.part_id}/{departure.visit}"
            await self._events.put(
                PartLeft(
                    id=f"{place}/left",
                    station=self._station,
                    part_id=departure.part_id,
                    visit=departure.visit,
                    lane=departure.lane if departure.lane in ("good", "reject") else "unknown",
                    by_fail_safe=departure.by_fail_safe,
                    occurred_at_ns=departure.occurred_at_ns,
                )
            )
            if departure.reject_confirmed:
                await self._events.put(
                    RejectConfirmed(
                        id=f"{place}/reject_confirmed",
                        station=self._station,
                        part_id=departure.part_id,
                        visit=departure.visit,
                        occurred_at_ns=departure.occurred_at_ns,
                    )
                )

    async def line(self, mode: object, cause: object) -> None:
        """The line is in `mode`, for `cause`."""
        if not self._changed("line", (mode, cause)):
            return
        try:
            known = LineMode(str(mode))
        except ValueError:
            detail = f"expected one of {', '.join(LineMode)}, found {mode!r}"
            self._stage.emit(Noticed(what="unknown_line_mode", subject=self._station, detail=detail))
            return
        now_ns = time.time_ns()
        await self._events.put(
            LineStateChanged(
                id=f"{self._station}/line/{known}/{now_ns}",
                station=self._station,
                mode=known,
                cause=str(cause or "")[:DETAIL_LIMIT],
                occurred_at_ns=now_ns,
            )
        )

    async def recipe(self, recipe: object) -> None:
        """The PLC has selected `recipe`."""
        if not recipe or not self._changed("recipe", recipe):
            return
        now_ns = time.time_ns()
        await self._events.put(
            RecipeChanged(
                id=f"{self._station}/recipe/{str(recipe)[:DETAIL_LIMIT]}/{now_ns}",
                station=self._station,
                recipe=str(recipe)[:DETAIL_LIMIT],
                occurred_at_ns=now_ns,
            )
        )

    def fault(self, code: str, detail: str, *, cleared: bool = False) -> None:
        """Raises or clears the fault `code`. Repeats are not said again."""
        if not self._changed(code, cleared):
            return
        now_ns = time.time_ns()
        event = PlcFault(
            id=f"{self._station}/fault/{code}/{now_ns}",
            station=self._station,
            code=code,
            detail=detail[:DETAIL_LIMIT],  # it may quote what the PLC holds
            occurred_at_ns=now_ns,
            cleared=cleared,
        )
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            self._stage.emit(Noticed(what="fault_not_told", subject=f"{self._station}/{code}", detail=detail))

    def writes_allowed(self, value: object) -> None:
        """What the PLC's bit says with which it forbids every write but heartbeat and handshake; anything but True forbids."""
        self._writes_allowed.set(value is True)
        self.fault("writes_forbidden", f"the PLC's bit is {value!r}, expected True", cleared=value is True)

    def _changed(self, what: str, value: object) -> bool:
        changed = self._said.get(what) != value
        self._said[what] = value
        return changed

    def early_trigger(self, detail: str, *, over: bool) -> None:
        """Parts come although TriggerReady is false; over when it is true again."""
        self.fault("early_trigger", detail, cleared=over)

    def _news(self, history: StationHistory, event: PlcEvent) -> list[PlcEvent]:
        """What `event` gives to be told."""
        if history.is_news(event):
            missed = history.missed_before(event)
            return [self._missed("arrivals_missed", missed), event] if missed else [event]
        if history.is_double(event):
            return [self._double(event)]
        if isinstance(event, PartArrived | PartLeft | RejectConfirmed):
            self._told_before.inc()
        return []

    def _told(self, fate: Fate) -> None:
        self._slots.release()
        self._untold -= 1
        self._all_told.set()
        if fate in (Fate.ACKNOWLEDGED, Fate.SPOOLED):
            self._stage.last_processed.set_to_current_time()

    def _missed(self, code: str, count: int) -> PlcFault:
        """Entries that the PLC's ring dropped before they were read: said on the topic, for nobody else can know of them."""
        return self._moment(code, f"{count} dropped out of the PLC's ring before they were read")

    def _double(self, event: PlcEvent) -> PlcFault:
        """A part that is told already comes or leaves once more: it gets no second verdict, and the PLC's fail-safe decides."""
        if isinstance(event, PartArrived):
            detail = (
                f"trigger {event.trigger_count} names {event.part_id}, visit {event.visit}, once more; {A_NEW_START}"
            )
            self._handshake.fail(HandshakeCode.DOUBLE_TRIGGER, detail)
            return self._moment("double_trigger", detail)
        return self._moment("double_departure", f"{event.id} once more, at another time; {A_NEW_START}")

    def _departure_without_part(self, counts: list[int]) -> PlcFault:
        """Nobody can say which part left: no confirmed reject, no wrong lane is seen of it."""
        return self._moment(
            "departure_without_part",
            f"departures {counts[0]} to {counts[-1]}: {len(counts)} without a part id; expected that of the part's arrival, or, of a "
            f"part without a serial, Mailbox.PartId or `{self._station}:<Session>:<trigger count>`",
        )

    def _moment(self, code: str, detail: str) -> PlcFault:
        """A fault that is over when it is told."""
        self._stage.emit(Noticed(what=code, subject=self._station, detail=detail))
        now_ns = time.time_ns()
        return PlcFault(
            id=f"{self._station}/fault/{code}/{now_ns}",
            station=self._station,
            code=code,
            detail=detail,
            occurred_at_ns=now_ns,
            cleared=True,
        )
