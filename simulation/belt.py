"""The belt of the simulated line: brings the planned parts at their rate, and repaired ones once more."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace

from schemas.recipes import Recipe
from simulation.cameras import CameraServer
from simulation.pictures import PartPictures, PhotoStudio
from simulation.plc import PlcServer
from simulation.scenario import PlannedPart, comes_back
from simulation.station import Answer, Arrival, Departure, Request, Station, StationRefuses
from simulation.truth import Truth

LOOK_AHEAD_PARTS = 8
"""Parts whose pictures are taken before they come."""
REPAIR_TAKES_S = 3.0
CHANGEOVER_WAITS_S = 3.0
"""How long the belt stands at a change of products until the gateway is ready for the next one."""
_POLL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class _Coming:
    """A part on its way, with the pictures that are being taken of it."""

    part: PlannedPart
    part_id: str
    pictures: Future[PartPictures]


class Belt:
    """Feeds a station and keeps the truth.

    `started` is set by who wants the parts to come; `finished` is true when every part has left. It is the PLC's observer.
    """

    def __init__(
        self,
        *,
        station: Station,
        cameras: CameraServer,
        studio: PhotoStudio,
        truth: Truth,
        parts: Iterable[PlannedPart],
        recipes: Mapping[str, Recipe],
        rate_per_s: float,
        seed: int,
    ) -> None:
        self.station = station
        self.started = asyncio.Event()
        self.finished = False
        self._cameras = cameras
        self._studio = studio
        self._truth = truth
        self._recipes = recipes
        self._period_s = 1 / rate_per_s
        self._seed = seed
        self._new: Iterator[PlannedPart] = iter(parts)
        self._ahead: deque[_Coming] = deque()
        self._under_repair: deque[tuple[float, _Coming]] = deque()
        self._rejects = 0
        self._on_station: dict[str, PlannedPart] = {}

    async def lay_ready(self) -> None:
        """Has the pictures of the first part taken; later parts' are taken while it comes. For use before anybody asks for parts."""
        self._look_ahead()
        await asyncio.wrap_future(self._ahead[0].pictures)

    async def run(self, plc: PlcServer) -> None:
        """Brings all parts and returns when the last one has left."""
        self._look_ahead()
        if self._ahead:
            await plc.change_over(self.station.name, self._ahead[0].part.recipe, within_s=0.0)
        await self.started.wait()
        due_s = time.monotonic()
        while True:
            coming = self._next(now_s=time.monotonic())
            if coming is not None:
                await self._bring(coming, plc)
                due_s = max(due_s + self._period_s, time.monotonic())
                # the next pictures are taken when the line has done with this part: they share its machine
                await asyncio.sleep((due_s - time.monotonic()) / 2)
                self._look_ahead()
                await asyncio.sleep(due_s - time.monotonic())
            elif self._under_repair or not self.station.is_empty:
                await asyncio.sleep(_POLL_S)
            else:
                break
        self.finished = True
        self._truth.finished(self.station.departure_count)

    def stop(self) -> None:
        """No new part comes any more; those under repair do, and then it is finished."""
        self._new = iter(())
        self._ahead.clear()

    def asked(self, station: Station, request: Request, answer: Answer) -> None:
        """Writes down what stood in the mailbox, and the PLC's answer."""
        self._truth.asked(request, answer)

    def executed(self, station: Station, request: Request, at_ns: int) -> None:
        """Writes down what the PLC carried out."""
        self._truth.executed(request, at_ns)

    def left(self, station: Station, departure: Departure) -> None:
        """Writes down where the part went; one in a few rejected parts is sent to repair."""
        self._truth.left(departure)
        part = self._on_station.pop(departure.part_id)
        if departure.lane != "reject" or departure.visit > 1 or part.challenge:
            return
        self._rejects += 1
        if comes_back(self._rejects, self._seed):
            repaired = replace(part, defects=())
            coming = self._order(repaired, part_id=departure.part_id, visit=2)
            self._under_repair.append((time.monotonic() + REPAIR_TAKES_S, coming))

    def _next(self, *, now_s: float) -> _Coming | None:
        """A repaired part goes first; then the next new one."""
        if self._under_repair and self._under_repair[0][0] <= now_s:
            return self._under_repair.popleft()[1]
        if not self._ahead:
            self._look_ahead()
        return self._ahead.popleft() if self._ahead else None

    def _look_ahead(self) -> None:
        while len(self._ahead) < LOOK_AHEAD_PARTS and (part := next(self._new, None)) is not None:
            part_id = part.challenge or f"{self.station.session}-{part.number + 1:05d}"
            self._ahead.append(self._order(part, part_id=part_id, visit=1))

    def _next_recipe(self, present: str) -> str:
        """The next product that differs from the present one, as far as the belt can be seen; "" where there is none."""
        coming = (each.part.recipe for each in (*self._ahead, *(each for _, each in self._under_repair)))
        return next((recipe for recipe in coming if recipe != present), "")

    def _order(self, part: PlannedPart, *, part_id: str, visit: int) -> _Coming:
        pictures = self._studio.order(
            self._recipes[part.recipe],
            defects=part.defects,
            lighting_drift_ratio=part.lighting_drift_ratio,
            seed=(self._seed, part.number, visit),
        )
        return _Coming(part=part, part_id=part_id, pictures=pictures)

    async def _bring(self, coming: _Coming, plc: PlcServer) -> None:
        """Lets the part enter the station as soon as its pictures are taken and the line runs."""
        pictures = await asyncio.wrap_future(coming.pictures)

        def expose(arrival: Arrival) -> None:
            self._on_station[coming.part_id] = coming.part
            self._cameras.expose(arrival.trigger_count, pictures.jpegs, at_ns=arrival.at_ns)
            self._truth.part(self.station.name, arrival, pictures)

        await plc.change_over(self.station.name, coming.part.recipe, within_s=CHANGEOVER_WAITS_S)
        await plc.announce(self.station.name, self._next_recipe(coming.part.recipe))
        while True:
            try:
                await plc.arrive(
                    self.station.name,
                    part_id=coming.part_id,
                    recipe=coming.part.recipe,
                    batch=f"{self.station.session}-lot-{coming.part.batch}",
                    before=expose,
                )
            except StationRefuses:
                await asyncio.sleep(_POLL_S)
            else:
                return
