"""Which parts have left: by what the PLC told of arrivals, departures and its own starts."""

from __future__ import annotations

import asyncio
import time

from gateways.departed_parts import REMEMBERED, DepartedParts


def test_a_part_is_gone_when_it_passed_the_gate_and_there_again_when_it_comes_again() -> None:
    departed = DepartedParts()
    departed.came([("p1", 1), ("p2", 1)], plc_session="a")
    assert not departed.has_left("p1", 1)
    departed.left([("p1", 1)])
    assert departed.has_left("p1", 1)
    assert not departed.has_left("p1", 2), "it comes again after repair"
    assert not departed.has_left("p2", 1)
    departed.came([("p1", 1)], plc_session="b")
    assert not departed.has_left("p1", 1), "the same serial in another run of the PLC"


def test_a_plc_that_started_anew_holds_no_part_of_before() -> None:
    departed = DepartedParts()
    departed.came([("p1", 1), ("p2", 1)], plc_session="a")
    departed.came([], plc_session="a")
    assert not departed.has_left("p2", 1)
    departed.came([("p2", 1)], plc_session="b")
    assert departed.has_left("p1", 1)
    assert not departed.has_left("p2", 1)


def test_what_nobody_told_of_has_not_left() -> None:
    """The PLC knows: it is asked."""
    assert not DepartedParts().has_left("p1", 1)


def test_the_parts_that_left_last_are_remembered_and_no_more() -> None:
    departed = DepartedParts()
    departed.left((f"p{number}", 1) for number in range(REMEMBERED + 1))
    assert not departed.has_left("p0", 1)
    assert departed.has_left("p1", 1)
    assert departed.has_left(f"p{REMEMBERED}", 1)


async def test_who_waits_for_departures_that_are_not_read_goes_on_when_the_command_has_expired() -> None:
    departed = DepartedParts()
    departed.is_read("another session")
    async with asyncio.timeout(5):
        await departed.until_read("this one", until_ns=time.time_ns() + 1_000_000)
        await departed.until_read("another session", until_ns=0)


async def test_after_a_time_in_which_the_station_was_not_served_departures_are_read_first_in_the_same_session_too() -> (
    None
):
    departed = DepartedParts()
    departed.is_read("the session")
    departed.is_unread()
    waiting = asyncio.create_task(departed.until_read("the session", until_ns=time.time_ns() + 5_000_000_000))
    await asyncio.sleep(0)
    assert not waiting.done()
    departed.is_read("the session")
    await asyncio.wait_for(waiting, 5)
