"""Reads the rings in which a PLC keeps its last arrivals and departures, and says which entries are new.

A ring is several arrays and a count, written one after the other; a reader may come in between. The PLC writes the array
of counters first and the count last. The reader goes the other way round: count, arrays, counters, count again, in one
request. If the count it saw first is the last counter it saw last, no write had begun (a sequence lock). What it already
knew of the ring must still stand there, too: that catches a PLC that writes its arrays in another order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import msgspec

from gateways.opcua_session import OpcUaSession
from schemas.codec import NAME_LIMIT
from schemas.errors import Transient
from schemas.plant import PlcNodes

READ_AGAIN_TIMES = 5
READ_AGAIN_AFTER_S = 0.01


class RingTorn(Transient):
    """The ring could not be read whole, or holds what no ring may hold."""


# What the nodes' types hold (docs/connect-a-station.md): a PLC that says more than that would get it back in a command.
_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
_Visit = Annotated[int, msgspec.Meta(ge=0, lt=2**16)]
_TimeNs = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Name = Annotated[str, msgspec.Meta(max_length=NAME_LIMIT)]


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A part that entered the station. `count` is the trigger count; `occurred_at_ns` is the PLC's clock."""

    count: _Count
    part_id: _Name
    visit: _Visit
    recipe: _Name
    batch: _Name
    occurred_at_ns: _TimeNs
    labels: dict[str, _Name] = {}


class Departure(msgspec.Struct, frozen=True, kw_only=True):
    """A part that passed the gate."""

    count: _Count
    part_id: _Name
    visit: _Visit
    lane: _Name
    by_fail_safe: bool
    reject_confirmed: bool
    occurred_at_ns: _TimeNs


def part_id_of(station: str, plc_session: str, entry: Arrival) -> str:
    """The part's serial; for parts without one, a name that is unique all the same."""
    return entry.part_id or f"{station}:{plc_session}:{entry.count}"


Entry = TypeVar("Entry", Arrival, Departure)


@dataclass(frozen=True, kw_only=True)
class RingNodes(Generic[Entry]):
    """Where a ring lies: its count, and the array of each field of `entry`, that of `count` first, and of each label."""

    entry: type[Entry]
    count: str
    columns: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)


def arrival_ring(nodes: PlcNodes, labels: Mapping[str, str] | None = None) -> RingNodes[Arrival]:
    """The ring of arrivals of a station; `nodes`, and those of `labels` by name, with the station's name put in."""
    return RingNodes(
        entry=Arrival,
        count=nodes.trigger_count,
        columns={
            "count": nodes.arrival_trigger_counts,
            "part_id": nodes.arrival_part_ids,
            "visit": nodes.arrival_visits,
            "recipe": nodes.arrival_recipes,
            "batch": nodes.arrival_batches,
            "occurred_at_ns": nodes.arrival_times_ns,
        },
        labels=labels or {},
    )


def departure_ring(nodes: PlcNodes) -> RingNodes[Departure]:
    """The ring of departures of a station."""
    return RingNodes(
        entry=Departure,
        count=nodes.departure_count,
        columns={
            "count": nodes.departure_counts,
            "part_id": nodes.departure_part_ids,
            "visit": nodes.departure_visits,
            "lane": nodes.departure_lanes,
            "by_fail_safe": nodes.departure_by_fail_safe,
            "reject_confirmed": nodes.departure_reject_confirmed,
            "occurred_at_ns": nodes.departure_times_ns,
        },
    )


class RingNews(NamedTuple, Generic[Entry]):
    """Entries not seen before, oldest first. `missed` counts those that were overwritten before they could be read.

    `first` is set on the first reading of a PLC session: how old its entries are is not known. `went_back`: entries that were
    read before are others now, or gone, although the PLC names no new session: it counts anew, or what it says is not so.
    """

    plc_session: str
    entries: tuple[Entry, ...]
    missed: int
    first: bool
    went_back: bool = False


class RingFollower(Generic[Entry]):
    """Follows one ring through reconnections and restarts of the PLC."""

    def __init__(self, *, ring: RingNodes[Entry], session_node: str) -> None:
        self._ring: RingNodes[Entry] = ring
        others: list[str] = [node for name, node in ring.columns.items() if name != "count"]
        # the order is the point, see the module's docstring
        self._order = [ring.count, *ring.labels.values(), *others, ring.columns["count"], ring.count, session_node]
        self._fields = [*(name for name in ring.columns if name != "count"), "count"]
        self._known: dict[int, Entry] | None = None
        self._rows: dict[Any, tuple[Sequence[Any], Entry]] = {}  # of the last reading, by counter: most are read again
        self._plc_session = ""
        self._last = 0

    async def read(self, session: OpcUaSession) -> RingNews[Entry]:
        """What is new in the ring. Raises `RingTorn` where it cannot be read whole, and what `OpcUaSession.read` raises."""
        previous: list[Any] | None = None
        why = ""
        for _ in range(READ_AGAIN_TIMES):
            values = await session.read(self._order)
            entries, why = self._whole(values)
            # read twice alike it is not torn: nothing was known to compare it with, or the PLC restarted without telling
            if not why or (values == previous and why in (_CHANGED, _NEW)):
                return self._news(entries, plc_session=str(values[-1] or ""), restarted=why == _CHANGED)
            if previous is not None and why in (_CHANGED, _NEW) and values[-1] != previous[-1]:
                why = f"{self._order[-1]} was {previous[-1]!r}, then {values[-1]!r}; a session lasts until the PLC starts anew"
            previous = values
            await asyncio.sleep(READ_AGAIN_AFTER_S)
        raise RingTorn(f"ring {self._ring.count}: {why}")

    def _whole(self, values: Sequence[Any]) -> tuple[list[Entry], str]:
        """The entries of one reading, and why they cannot be trusted ("" if they can)."""
        *ring, plc_session = values
        # an array that was never written may be null
        ring = [[] if value is None else value for value in ring]
        why = _torn(ring)
        if len(str(plc_session or "")) > NAME_LIMIT:
            why = f"{self._order[-1]} has {len(str(plc_session))} characters, expected at most {NAME_LIMIT}"
        if why:
            return [], why
        try:
            # counts begin at 1: a PLC whose arrays have a fixed length fills them up with zeros
            entries = _increasing([entry for entry in self._entries(ring[1:-1]) if entry.count])
        except msgspec.ValidationError as error:
            return [], f"an entry is of the wrong type: {error}"
        return entries, self._differs(entries, plc_session=str(plc_session or ""))

    def _differs(self, entries: Sequence[Entry], *, plc_session: str) -> str:
        """Why entries do not follow from what is known of the ring; "" where they do."""
        if self._known is None or plc_session != self._plc_session:
            return _NEW if entries else ""
        newest = entries[-1].count if entries else 0
        if newest < self._last or any(self._known.get(entry.count, entry) != entry for entry in entries):
            return _CHANGED
        return "" if not entries or any(entry.count in self._known for entry in entries) else _NEW

    def _entries(self, columns: Sequence[list[Any]]) -> list[Entry]:
        read = [self._seen_or_converted(row) for row in zip(*columns, strict=True)]
        self._rows = {entry.count: (row, entry) for row, entry in read}
        return [entry for _, entry in read]

    def _seen_or_converted(self, row: Sequence[Any]) -> tuple[Sequence[Any], Entry]:
        seen = self._rows.get(row[-1]) if isinstance(row[-1], int) else None
        return seen if seen is not None and seen[0] == row else (row, self._entry(row))

    def _entry(self, row: Sequence[Any]) -> Entry:
        # an OPC UA string may be null
        values = ["" if value is None else value for value in row]
        named = len(self._ring.labels)
        fields = dict(zip(self._fields, values[named:], strict=True))
        if named:  # a cavity may be a number
            fields["labels"] = {
                name: str(value) for name, value in zip(self._ring.labels, values[:named], strict=True) if value != ""
            }
        entry: Entry = msgspec.convert(fields, self._ring.entry)
        return entry

    def _news(self, entries: list[Entry], *, plc_session: str, restarted: bool) -> RingNews[Entry]:
        first = self._known is None
        continues = not first and not restarted and plc_session == self._plc_session
        fresh = [entry for entry in entries if not continues or entry.count > self._last]
        missed = fresh[0].count - self._last - 1 if fresh and continues else 0
        self._known = {entry.count: entry for entry in entries}
        self._plc_session = plc_session
        self._last = entries[-1].count if entries else 0
        return RingNews(plc_session, tuple(fresh), missed, first, restarted)


_CHANGED = "entries that were read before have changed"
_NEW = "no entry is known"


def _torn(ring: Sequence[Any]) -> str:
    """Why a reading of count, arrays, counters and count again is not whole; "" where it is."""
    count, *columns, count_again = ring
    if any(not isinstance(column, list) for column in columns):
        return f"expected arrays, found {[type(column).__name__ for column in columns]}"
    last = columns[-1][-1] if columns[-1] else 0
    if count != count_again or last != count:
        return f"the count was {count}, then {count_again}; the last counter is {last}"
    if len({len(column) for column in columns}) != 1:
        return f"expected arrays of equal length, found {[len(column) for column in columns]}"
    return ""


def _increasing(entries: list[Entry]) -> list[Entry]:
    """The newest entries whose counters increase: what lies before is from a count that started again."""
    start = len(entries) - 1
    while start > 0 and entries[start - 1].count < entries[start].count:
        start -= 1
    return entries[max(start, 0) :]
