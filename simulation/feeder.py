"""Fed mode of the simulated plant: parts come only when a client asks for them, one by one."""

import asyncio

from asyncua import ua

from schemas.errors import Fatal
from simulation.plc import Method, PlcServer
from simulation.station import Answer, Departure, Request, Station, StationRefuses
from simulation.truth import Truth

_STRING, _UINT32, _BOOLEAN = ua.VariantType.String, ua.VariantType.UInt32, ua.VariantType.Boolean


class Feeder:
    """Parts that come through the method `<station>.Feed(part_id, batch, recipe)`.

    `failed` gets the error that a method call met and its caller cannot mend: the truth cannot be written.
    """

    def __init__(self, station: Station, truth: Truth) -> None:
        self.plc: PlcServer | None = None
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._station = station
        self._truth = truth

    def asked(self, station: Station, request: Request, answer: Answer) -> None:
        self._truth.asked(request, answer)

    def executed(self, station: Station, request: Request, at_ns: int) -> None:
        self._truth.executed(request, at_ns)

    def left(self, station: Station, departure: Departure) -> None:
        self._truth.left(departure)

    def methods(self) -> dict[str, tuple[Method, list[ua.VariantType], list[ua.VariantType]]]:
        """The methods of a fed plant."""
        return {
            f"{self._station.name}.Feed": (self._feed, [_STRING, _STRING, _STRING], [_UINT32]),
            "Simulation.Status": (self._status, [], [_UINT32, _UINT32, _BOOLEAN]),
        }

    async def _feed(
        self, parent: ua.NodeId, part_id: ua.Variant, batch: ua.Variant, recipe: ua.Variant
    ) -> list[ua.Variant] | ua.StatusCode:
        """Gives the trigger count; `BadInvalidState` while the line is stopped or the station is full: try again."""
        if self.plc is None or not all(isinstance(each.Value, str) for each in (part_id, batch, recipe)):
            return ua.StatusCode(ua.StatusCodes.BadTypeMismatch)
        try:
            arrival = await self.plc.arrive(
                self._station.name,
                part_id=part_id.Value,
                recipe=recipe.Value,
                batch=batch.Value,
                before=lambda arrival: self._truth.part(self._station.name, arrival, None),
            )
        except StationRefuses:
            return ua.StatusCode(ua.StatusCodes.BadInvalidState)
        except Fatal as error:
            if not self.failed.done():
                self.failed.set_exception(error)
            return ua.StatusCode(ua.StatusCodes.BadShutdown)
        return [ua.Variant(arrival.trigger_count, _UINT32)]

    async def _status(self, parent: ua.NodeId) -> list[ua.Variant]:
        return status(self._station, finished=False)


def status(station: Station, *, finished: bool) -> list[ua.Variant]:
    """Answer of `Simulation.Status`: parts that came, parts that left, whether all have."""
    return [
        ua.Variant(station.trigger_count, _UINT32),
        ua.Variant(station.departure_count, _UINT32),
        ua.Variant(finished, _BOOLEAN),
    ]
