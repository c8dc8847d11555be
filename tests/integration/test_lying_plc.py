"""A PLC that lies: each lie has a name, gives no wrong command, disturbs no other station, and ends with the lie.

One gateway for all tests of this file, with a liar, an honest PLC and a mute one.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import psutil
import pytest
import pytest_asyncio
from asyncua import ua
from broker import read_to_end, until
from lying import HONEST, LIAR, MUTE, SECOND_NS, TYPES, Lies, floor_of_lies
from plant_floor import counted

from schemas.plc_events import PartArrived, PlcFault
from schemas.reasons import CommandOutcome, HandshakeCode
from schemas.settings import KafkaSettings
from schemas.topics import COMMAND_RESULTS

FLOOD_PER_S, FLOOD_S = 10_000, 2.0
MEMORY_BYTES = 64 << 20
INT16, UINT32, INT64, DOUBLE, STRING = (
    ua.VariantType.Int16,
    ua.VariantType.UInt32,
    ua.VariantType.Int64,
    ua.VariantType.Double,
    ua.VariantType.String,
)
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lies(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lies]:
    folder = tmp_path_factory.mktemp("lies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
        patch.setenv("LINESIGHT_SPOOL_DIR", str(folder / "spool"))
        settings = KafkaSettings(bootstrap_servers=kafka)
        async with floor_of_lies(f"lies-{uuid.uuid4().hex[:8]}", settings, folder) as found:
            yield found


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _nothing_else_happens_and_it_ends(lies: Lies) -> AsyncIterator[None]:
    """The honest station works during each lie; afterwards the liar does, too, and it executed nothing that was not asked."""
    yield
    for station in (HONEST, LIAR):
        await lies.inspect(station)
    for station, floor in lies.floors.items():
        for request in floor.executed_requests:
            assert request.command_id in lies.sent
            asked = lies.sent[request.command_id]
            assert (asked.station, asked.part_id) == (station, request.part_id)
        executed = [request.command_id for request in floor.executed_requests]
        assert len(executed) == len(set(executed)), "each once"


@pytest.mark.parametrize(
    ("role", "value", "kind"),
    [
        ("ack_sequence", "seven", STRING),
        ("ack_sequence", math.nan, DOUBLE),
        ("ack_result", [1], INT16),
        ("command_sequence", 3.5, DOUBLE),
    ],
)
async def test_a_mailbox_with_a_wrong_type_acknowledges_nothing_until_it_is_right_again(
    lies: Lies, role: str, value: Any, kind: ua.VariantType
) -> None:
    part_id, last = lies.new_part(), lies.liar.value("command_sequence")
    with lies.program_stands_still():
        await lies.liar.arrive(part_id)
        command = await lies.command(part_id)
        await until(lambda: lies.liar.value("command_sequence") == last + 1, "the command is written", within_s=10)
        right = lies.liar.value(role)
        retried = counted(lies.stage, "retried_total", reason="plc")
        await lies.put(role, value, kind)
        # the one that never answers is tried again, too, but not as often
        await until(lambda: counted(lies.stage, "retried_total", reason="plc") > retried + 5, "it is not believed")
        assert command.id not in [result.id for result in await read_to_end(lies.kafka, lies.plant, COMMAND_RESULTS)]
        await lies.put(role, right, TYPES[role])
    assert (await lies.result(command)).outcome is CommandOutcome.ACKNOWLEDGED


async def test_a_plc_that_answers_good_and_does_nothing_has_not_taken_the_result(lies: Lies) -> None:
    part_id = await lies.arrives()
    with lies.program_stands_still():
        result = await lies.result(await lies.command(part_id, valid_for_s=0.3))
        assert (result.outcome, result.attempts) == (CommandOutcome.NOT_ACKNOWLEDGED, 1)
        assert lies.liar.value("command_id") == result.id, "the write was good"
    await lies.shows(HandshakeCode.RESULT_NOT_TAKEN)


async def test_an_echo_with_another_id_is_no_acknowledgement(lies: Lies) -> None:
    part_id = await lies.arrives()
    async with lies.lying("ack_command_id", lambda _id: "another", STRING):
        result = await lies.result(await lies.command(part_id))
    assert (result.outcome, result.attempts) == (CommandOutcome.NOT_ACKNOWLEDGED, 1)
    assert "'another'" in result.detail
    await lies.shows(HandshakeCode.RESULT_NOT_TAKEN)


@pytest.mark.parametrize(
    ("role", "lie", "kind"),
    [
        ("arrival_visits", lambda found: ["one"] * len(found), STRING),
        ("arrival_visits", lambda found: [math.nan] * len(found), DOUBLE),
        ("arrival_part_ids", lambda found: [*found[:-1], "x" * 100_000], STRING),
        ("arrival_recipes", lambda found: found[:-1], STRING),
        ("trigger_count", lambda _found: math.nan, DOUBLE),
    ],
    ids=["text", "not a number", "endless name", "half written", "count not a number"],
)
async def test_a_ring_that_holds_what_no_ring_may_hold_is_torn_and_read_when_it_is_right(
    lies: Lies, role: str, lie: Callable[[Any], Any], kind: ua.VariantType
) -> None:
    part_id, torn = lies.new_part(), lies.noticed("ring_torn")
    async with lies.lying(role, lie, kind):
        await lies.liar.arrive(part_id)
        await until(lambda: lies.noticed("ring_torn") > torn, "the torn ring is noticed", within_s=10)
        assert part_id not in await lies.told()
    await lies.until_told(part_id)


async def test_a_part_id_that_is_used_again_is_a_double_trigger_and_no_second_part(lies: Lies) -> None:
    part_id, before = lies.new_part(), await lies.told()
    async with lies.lying("arrival_part_ids", lambda found: [*found[:-1], before[0]], STRING):
        await lies.liar.arrive(part_id)

        async def fault() -> bool:
            return "double_trigger" in [fault.code for fault in await lies.events(PlcFault)]

        await until(fault, "it is told as a double trigger", within_s=10)
        assert await lies.told() == before


async def test_a_counter_that_goes_back_is_noticed_and_the_part_is_told(lies: Lies) -> None:
    part_id, noticed = lies.new_part(), lies.noticed("counter_went_back")
    async with (
        lies.lying("arrival_trigger_counts", lambda found: [*found[:-1], 1], UINT32),
        lies.lying("trigger_count", lambda _found: 1, UINT32),
    ):
        await lies.liar.arrive(part_id)
        await until(lambda: lies.noticed("counter_went_back") > noticed, "it is noticed", within_s=10)
        await lies.until_told(part_id)


@pytest.mark.parametrize("at_ns", [-1, 4_102_444_800 * SECOND_NS])
async def test_a_wrong_clock_keeps_no_verdict_back(lies: Lies, at_ns: int) -> None:
    # judge flags it (`clock_skew`) and counts deadlines from the broker's time
    async with lies.lying("arrival_times_ns", lambda found: [*found[:-1], at_ns], INT64):
        await lies.inspect(LIAR)
        assert (await lies.events(PartArrived))[-1].occurred_at_ns == at_ns


async def test_a_heartbeat_that_is_no_number_is_no_heartbeat(lies: Lies) -> None:
    async def last_fault() -> tuple[str, bool]:
        faults = [(fault.code, fault.cleared) for fault in await lies.events(PlcFault)]
        return next((fault for fault in reversed(faults) if fault[0] == "heartbeat_lost"), ("", True))

    async def lost() -> bool:
        return await last_fault() == ("heartbeat_lost", False)

    async def back() -> bool:
        return await last_fault() == ("heartbeat_lost", True)

    async with lies.lying("plc_heartbeat", lambda _found: math.nan, DOUBLE):
        await until(lost, "the heartbeat counts as lost", within_s=10)
    await until(back, "and is back", within_s=10)


async def test_a_flood_of_changes_costs_bounded_memory_and_disturbs_no_other_station(lies: Lies) -> None:
    count, torn = lies.liar.value("trigger_count"), lies.noticed("ring_torn")
    memory_bytes, written = psutil.Process().memory_info().rss, 0

    async def flood() -> None:
        nonlocal written
        until_s = time.monotonic() + FLOOD_S
        while time.monotonic() < until_s:
            due = int((time.monotonic() - until_s + FLOOD_S) * FLOOD_PER_S)
            while written < due:
                await lies.put("trigger_count", count + 1 + written, UINT32)
                await lies.put("line_cause", f"cause {written}", STRING)
                written += 2
            await asyncio.sleep(0)

    flooding = asyncio.create_task(flood())
    while not flooding.done():
        await lies.inspect(HONEST)
    await flooding
    await lies.put("trigger_count", count, UINT32)
    assert written > FLOOD_PER_S
    assert lies.noticed("ring_torn") > torn
    assert psutil.Process().memory_info().rss - memory_bytes < MEMORY_BYTES


async def test_a_server_that_takes_connections_and_never_answers_gets_no_command(lies: Lies) -> None:
    retried = counted(lies.stage, "retried_total", reason="plc")
    result = await lies.result(await lies.command(lies.new_part(), station=MUTE, valid_for_s=0.5))
    assert (result.outcome, result.attempts) == (CommandOutcome.EXPIRED, 0)
    await until(lambda: counted(lies.stage, "retried_total", reason="plc") > retried, "it is tried again", within_s=15)


async def test_a_part_id_that_is_no_utf_8_is_told_and_its_result_is_taken(lies: Lies) -> None:
    said = f"{lies.new_part()}-Geh\udce4use"  # asyncua's way to hold the single byte E4 of Latin-1
    shown = said.replace("\udce4", "\\xe4")
    await lies.liar.arrive(said)
    await lies.until_told(shown)
    assert (await lies.result(await lies.command(shown))).outcome is CommandOutcome.ACKNOWLEDGED
    assert lies.noticed("text_not_utf8") >= 1
