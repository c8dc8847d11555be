"""What waits for a station that does not answer holds up no other, and nothing is lost or overtaken."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import example, given
from hypothesis import strategies as st

from gateways.station_queues import StationQueues


def test_a_station_whose_queue_is_full_holds_up_its_own_partition_alone() -> None:
    queues: StationQueues[int] = StationQueues(("stuck", "other"), length=2)
    for number in range(4):
        queues.put("stuck", number, partition=0)
    assert queues.behind == {0}
    queues.put("other", 10, partition=1)
    assert queues._queues["other"].qsize() == 1
    queues.place()
    assert queues.behind == {0}


@given(
    events=st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.sampled_from("abc")),
            st.tuples(st.just("next"), st.sampled_from("abc")),
            st.tuples(st.just("place"), st.just("")),
        ),
        max_size=80,
    )
)
@example(events=[("put", "a")] * 3 + [("next", "a"), ("put", "a")])
async def test_every_order_comes_out_once_in_its_stations_order(events: list[tuple[str, str]]) -> None:
    queues: StationQueues[int] = StationQueues("abc", length=2)
    partition = {"a": 0, "b": 0, "c": 1}
    put, got = defaultdict(list), defaultdict(list)
    for number, (what, station) in enumerate(events):
        match what:
            case "put":
                queues.put(station, number, partition=partition[station])
                put[station].append(number)
            case "next" if not queues._queues[station].empty():
                got[station].append(await queues.next(station))
            case _:
                queues.place()
    for _ in events:
        queues.place()
        for station in "abc":
            while not queues._queues[station].empty():
                got[station].append(await queues.next(station))
    assert got == {station: numbers for station, numbers in put.items() if numbers}
    assert queues.behind == frozenset()
