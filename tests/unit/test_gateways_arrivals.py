"""The rings of a PLC are read whole or not at all, and every entry is news exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways import arrivals
from gateways.arrivals import Arrival, RingFollower, RingNews, RingTorn, arrival_ring, part_id_of
from gateways.station_nodes import station_nodes
from schemas.plant import PlcNodes

NODES = station_nodes(PlcNodes(), "s")
COLUMNS = (
    "arrival_trigger_counts",
    "arrival_part_ids",
    "arrival_visits",
    "arrival_recipes",
    "arrival_batches",
    "arrival_times_ns",
)
RING_LENGTH = 4


@pytest.fixture(scope="module", autouse=True)
def _quick_repeats() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrivals, "READ_AGAIN_AFTER_S", 0.0)
        yield


class Ring:
    """A PLC's ring, written array by array: a reader may come between any two writes.

    A PLC that writes its counters first may be as slow as it likes; one that does not is done before it is read again.
    """

    def __init__(self, *, order: Sequence[str] = COLUMNS) -> None:
        self.session_name = "a"
        self.values: dict[str, Any] = {**{column: [] for column in COLUMNS}, "trigger_count": 0}
        self._rows: list[tuple[int, str, int, str, str, int]] = []
        self._order = [*order, "trigger_count"]
        self._pending: list[tuple[str, Any]] = []

    def arrive(self, count: int, part_id: str = "") -> None:
        """Begins to write an arrival; what was begun before is finished first."""
        self.finish()
        self._rows = [*self._rows, (count, part_id or f"p{count}", 1, "r@1", "b", count)][-RING_LENGTH:]
        columns = dict(zip(COLUMNS, (list(column) for column in zip(*self._rows, strict=True)), strict=True))
        self._pending = [(name, count if name == "trigger_count" else columns[name]) for name in self._order]

    def write_next(self) -> None:
        if self._pending:
            name, value = self._pending.pop(0)
            self.values[name] = value

    def finish(self) -> None:
        while self._pending:
            self.write_next()

    async def read(self, identifiers: Sequence[str]) -> list[Any]:
        """In place of the session: one request, between two writes."""
        await asyncio.sleep(0)
        roles = {getattr(NODES, role): role for role in NODES.__struct_fields__}
        found = [
            self.session_name if roles[identifier] == "session" else self.values[roles[identifier]]
            for identifier in identifiers
        ]
        if self._order[0] == COLUMNS[0]:
            self.write_next()
        else:
            self.finish()
        return found


def follower() -> RingFollower[Arrival]:
    return RingFollower(ring=arrival_ring(NODES), session_node=NODES.session)


async def news(follower: RingFollower[Arrival], ring: Ring) -> RingNews[Arrival]:
    return await follower.read(ring)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=400)
@given(
    rounds=st.lists(st.tuples(st.integers(0, RING_LENGTH + 2), st.integers(0, 7)), max_size=12),
    order=st.permutations(COLUMNS),
    counters_first=st.booleans(),
)
async def test_whatever_the_moment_of_reading_each_arrival_is_news_once_whole_and_in_order(
    rounds: list[tuple[int, int]], order: list[str], counters_first: bool
) -> None:
    if counters_first:
        order = [COLUMNS[0], *(column for column in order if column != COLUMNS[0])]
    ring, reader, seen, missed, count = Ring(order=order), follower(), list[Arrival](), 0, 0
    await news(reader, ring)
    for arrivals_between, writes in [*rounds, (0, len(COLUMNS) + 1)]:
        for _ in range(arrivals_between):
            count += 1
            ring.arrive(count)
        for _ in range(writes):
            ring.write_next()
        try:
            found = await news(reader, ring)
        except RingTorn:
            continue
        seen += found.entries
        missed += found.missed
    for arrival in seen:
        assert arrival == Arrival(
            count=arrival.count,
            part_id=f"p{arrival.count}",
            visit=1,
            recipe="r@1",
            batch="b",
            occurred_at_ns=arrival.count,
        )
    counts = [arrival.count for arrival in seen]
    assert counts == sorted(set(counts))
    assert len(counts) + missed == count


async def test_a_reader_that_was_away_is_told_how_many_it_missed() -> None:
    ring, reader = Ring(), follower()
    ring.arrive(1)
    ring.finish()
    assert (await news(reader, ring)).first
    for count in range(2, 9):
        ring.arrive(count)
    ring.finish()
    found = await news(reader, ring)
    assert [arrival.count for arrival in found.entries] == [5, 6, 7, 8]
    assert (found.missed, found.first) == (3, False)


async def test_a_plc_that_started_again_counts_from_1_and_nothing_is_missed_or_repeated() -> None:
    ring, reader = Ring(), follower()
    for count in (1, 2, 3):
        ring.arrive(count)
    ring.finish()
    assert len((await news(reader, ring)).entries) == 3
    ring.__init__()  # type: ignore[misc]
    ring.session_name = "b"
    ring.arrive(1, "x1")
    ring.finish()
    found = await news(reader, ring)
    assert [arrival.part_id for arrival in found.entries] == ["x1"]
    assert (found.plc_session, found.missed) == ("b", 0)


async def test_a_counter_that_goes_back_without_a_new_session_is_believed_once_it_stands_still() -> None:
    ring, reader = Ring(), follower()
    for count in (7, 8, 9):
        ring.arrive(count)
    ring.finish()
    await news(reader, ring)
    ring.arrive(1, "again")
    ring.finish()
    found = await news(reader, ring)
    assert [arrival.part_id for arrival in found.entries] == ["again"], "and not what lies before it in the ring"
    assert found.missed == 0


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("arrival_visits", ["one"], "wrong type"),
        ("arrival_visits", [70_000], "wrong type"),
        ("arrival_part_ids", ["x" * 257], "wrong type"),
        ("arrival_times_ns", [2**63], "wrong type"),
        ("arrival_visits", 1, "expected arrays"),
        ("arrival_batches", ["a", "b"], "equal length"),
        ("trigger_count", 5, "the last counter is 1"),
    ],
)
async def test_a_ring_that_holds_nonsense_is_refused_with_what_was_found(column: str, value: Any, said: str) -> None:
    ring = Ring()
    ring.arrive(1)
    ring.finish()
    ring.values[column] = value
    with pytest.raises(RingTorn, match=said):
        await news(follower(), ring)


async def test_arrays_of_a_fixed_length_are_filled_up_with_zeros_and_those_are_no_arrivals() -> None:
    class Padded(Ring):
        async def read(self, identifiers: Any) -> list[Any]:
            return [
                [{int: 0, str: ""}[type(value[0])]] * 2 + value if isinstance(value, list) and value else value
                for value in await super().read(identifiers)
            ]

    ring, reader = Padded(), follower()
    ring.arrive(1)
    ring.finish()
    assert [arrival.count for arrival in (await news(reader, ring)).entries] == [1]


async def test_null_strings_and_null_arrays_are_empty() -> None:
    ring = Ring()
    ring.values = dict.fromkeys(COLUMNS) | {"trigger_count": 0}
    assert (await news(follower(), ring)).entries == ()
    ring.arrive(1)
    ring.finish()
    ring.values["arrival_part_ids"] = [None]
    (arrival,) = (await news(follower(), ring)).entries
    assert part_id_of("s", "a", arrival) == "s:a:1"


async def test_an_arrival_carries_the_labels_that_the_plant_file_names_and_none_where_the_plc_says_nothing() -> None:
    class Session:
        async def read(self, identifiers: Sequence[str]) -> list[Any]:
            cells = {"s=Tools": ["T3", None], "s=Cavities": [2, 1], NODES.arrival_trigger_counts: [1, 2]}
            cells |= {NODES.trigger_count: 2, NODES.session: "a"}
            cells |= {NODES.arrival_visits: [1, 1], NODES.arrival_times_ns: [5, 6]}
            return [cells.get(identifier, ["x", "y"]) for identifier in identifiers]

    ring = arrival_ring(NODES, {"tool": "s=Tools", "cavity": "s=Cavities"})
    reader = RingFollower(ring=ring, session_node=NODES.session)
    first, second = (await reader.read(Session())).entries  # type: ignore[arg-type]
    assert (first.batch, first.labels) == ("x", {"tool": "T3", "cavity": "2"})
    assert (second.batch, second.labels) == ("y", {"cavity": "1"})


async def test_a_session_that_is_another_with_each_reading_is_named() -> None:
    """A program that writes the time there: no reading follows from the one before, and nothing of the ring may be believed."""

    class Clock(Ring):
        async def read(self, identifiers: Sequence[str]) -> list[Any]:
            self.session_name += "1"
            return await super().read(identifiers)

    ring = Clock()
    ring.arrive(1)
    ring.finish()
    with pytest.raises(RingTorn, match=r"was 'a1+', then 'a1+'; a session lasts until the PLC starts anew"):
        await news(follower(), ring)


async def test_a_session_without_end_is_not_carried_on_with_every_part() -> None:
    ring = Ring()
    ring.arrive(1)
    ring.finish()
    ring.session_name = "x" * 2_000_000
    with pytest.raises(RingTorn, match="has 2000000 characters, expected at most 256"):
        await news(follower(), ring)
