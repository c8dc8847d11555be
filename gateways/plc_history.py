"""What of a station is on `plc-events` already, so that a gateway that starts again says only what is new."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import Any

from gateways.topic_tail import read_tail
from schemas.errors import Transient
from schemas.patience import pause_s
from schemas.plc_events import (
    LineStateChanged,
    PartArrived,
    PartLeft,
    PlcEvent,
    PlcFault,
    RecipeChanged,
    RejectConfirmed,
)
from schemas.settings import KafkaSettings
from schemas.telemetry import AttemptRepeated, Noticed, Stage
from schemas.topics import PLC_EVENTS

REMEMBERED = 4096
GO_ON_AFTER_S = 5.0
"""How long a start asks a broker that is away what was told before."""
MOMENTARY = ("arrivals_missed", "departures_missed", "double_trigger", "double_departure", "departure_without_part")
"""Faults that are no state: each says something of its own."""


class StationHistory:
    """The last events of one station.

    Parts are told apart by PLC session, too: a PLC that started again may give the same serials to a new run.
    """

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()
        self._session_of: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._last_arrival = ("", 0)
        self._line: tuple[str, str] | None = None
        self._recipe: str | None = None
        self._faults: set[str] = set()

    def is_news(self, event: PlcEvent) -> bool:
        """Whether `event` says something that the events noted so far do not."""
        if isinstance(event, LineStateChanged):
            return (event.mode.value, event.cause) != self._line
        if isinstance(event, RecipeChanged):
            return event.recipe != self._recipe
        if isinstance(event, PlcFault):
            return event.code in MOMENTARY or (event.code in self._faults) == event.cleared
        return self._key(event) not in self._told

    def note(self, event: PlcEvent) -> None:
        """`event` is on the topic."""
        if isinstance(event, LineStateChanged):
            self._line = (event.mode.value, event.cause)
        elif isinstance(event, RecipeChanged):
            self._recipe = event.recipe
        elif isinstance(event, PlcFault):
            if event.code in MOMENTARY:
                return
            (self._faults.discard if event.cleared else self._faults.add)(event.code)
        else:
            if isinstance(event, PartArrived):
                self._last_arrival = (event.plc_session, event.trigger_count)
                _remember(self._session_of, (event.part_id, event.visit), event.plc_session)
            _remember(self._told, self._key(event), _moment(event))

    def missed_before(self, event: PlcEvent) -> int:
        """How many arrivals of the same PLC session lie between the last one noted and `event`."""
        if not isinstance(event, PartArrived):
            return 0
        session, count = self._last_arrival
        # a PLC that names no session may have begun anew
        follows = bool(event.plc_session) and event.plc_session == session
        return max(0, event.trigger_count - count - 1) if follows else 0

    def is_double(self, event: PlcEvent) -> bool:
        """Whether the PLC tells a second time that a part and visit came or left, in the same session, and not the same ring entry again.

        A PLC that began anew under its old session counts from 1 again: the entry's time tells it from one that was read before.
        """
        if not isinstance(event, PartArrived | PartLeft):
            return False
        told = self._told.get(self._key(event))
        return told is not None and told != _moment(event)

    def _key(self, event: PartArrived | PartLeft | RejectConfirmed) -> tuple[str, str]:
        if isinstance(event, PartArrived):
            return event.plc_session, event.id
        # a part leaves in the session in which it came last
        return self._session_of.get((event.part_id, event.visit), ""), event.id


def _moment(event: PartArrived | PartLeft | RejectConfirmed) -> tuple[int, int]:
    """What tells two entries of a ring apart that name the same part: trigger count (0 of a departure) and the PLC's time."""
    return (event.trigger_count if isinstance(event, PartArrived) else 0), event.occurred_at_ns


def _remember(memory: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    memory.pop(key, None)
    memory[key] = value
    while len(memory) > REMEMBERED:
        memory.popitem(last=False)


async def published_events(*, plant: str, kafka: KafkaSettings, stage: Stage, go_on_without: bool) -> list[PlcEvent]:
    """The last events on the topic, of all stations, in order. Waits for the broker; not for long with `go_on_without`.

    Nothing is known then: what the PLC still holds is told a second time, with the same ids.
    """
    go_on_s = time.monotonic() + GO_ON_AFTER_S
    attempt = 0
    while True:
        try:
            return await read_tail(PLC_EVENTS, plant=plant, kafka=kafka)
        except Transient as error:
            if go_on_without and time.monotonic() > go_on_s:
                stage.emit(Noticed(what="history_unknown", subject=PLC_EVENTS.name, detail=str(error)))
                return []
            attempt += 1
            stage.emit(AttemptRepeated(service="broker", detail=str(error), attempt=attempt))
            await asyncio.sleep(pause_s(attempt))
