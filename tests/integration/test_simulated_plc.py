"""The simulated PLC over OPC UA, asked by a real client: the mailbox contract, the rings, the fail-safe."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asyncua import ua
from plc_peer import GATE_MS, INT64, STATION, STRING, UINT16, UINT32, WAIT_S, Peer, connected, until

from ops.local.ports import free_ports
from schemas.errors import ConfigurationError
from schemas.plant import Plc, PlcNodes
from schemas.reasons import PlcAnswer
from simulation.plc import PlcServer
from simulation.station import HOLDS_AT_MOST, Answer, Arrival, Departure, Request, Station


class Witness:
    """Remembers what the PLC says it did."""

    def __init__(self) -> None:
        self.carried_out: list[tuple[Request, int]] = []
        self.departed: list[Departure] = []
        self.answers: list[tuple[str, int]] = []

    def asked(self, station: Station, request: Request, answer: Answer) -> None:
        self.answers.append((request.command_id, answer.result))

    def executed(self, station: Station, request: Request, at_ns: int) -> None:
        self.carried_out.append((request, at_ns))

    def left(self, station: Station, departure: Departure) -> None:
        self.departed.append(departure)


@pytest.fixture
def plc() -> Plc:
    return Plc(name="plc-1", endpoint=f"opc.tcp://127.0.0.1:{free_ports(1)[0]}/", security="none")


class Bench:
    """A running PLC, its client and its witness."""

    def __init__(self, server: PlcServer, peer: Peer, witness: Witness) -> None:
        self.server, self.peer, self.witness = server, peer, witness

    async def arrive(self, part_id: str) -> Arrival:
        return await self.server.arrive(STATION, part_id=part_id, recipe="r@1", batch="b", before=lambda _: None)

    async def departure(self) -> Departure:
        async def gone() -> bool:
            return bool(self.witness.departed)

        await until(gone)
        return self.witness.departed[0]


@pytest.fixture
async def bench(plc: Plc) -> AsyncIterator[Bench]:
    witness = Witness()
    station = Station(name=STATION, session="s1", gate_after_ms=GATE_MS)
    async with PlcServer(plc=plc, stations=[station], observer=witness) as server, connected(plc) as peer:
        yield Bench(server, peer, witness)


async def test_every_node_of_the_plant_file_is_there_with_its_type(bench: Bench) -> None:
    await bench.arrive("p0")
    await bench.departure()
    expected = {
        "plc_heartbeat": UINT32, "session": STRING, "trigger_count": UINT32, "arrival_trigger_counts": UINT32,
        "arrival_part_ids": STRING, "arrival_visits": UINT16, "arrival_times_ns": INT64, "departure_count": UINT32,
        "departure_lanes": STRING, "departure_by_fail_safe": ua.VariantType.Boolean, "line_mode": STRING,
        "departure_reject_confirmed": ua.VariantType.Boolean, "command_sequence": UINT32, "ack_sequence": UINT32,
        "ack_result": ua.VariantType.Int16, "ack_time_ns": INT64, "gateway_heartbeat": UINT32, "command_visit": UINT16,
    }  # fmt: skip
    for role in PlcNodes.__struct_fields__:
        value = await bench.peer.node(role).read_data_value()
        assert value.Value.VariantType == expected.get(role, value.Value.VariantType), role
        is_ring = role.startswith(("arrival_", "departure_")) and role != "departure_count"
        assert isinstance(value.Value.Value, list) == is_ring, role


async def test_an_accepted_verdict_opens_the_good_lane(bench: Bench) -> None:
    await bench.arrive("p0")
    assert await bench.peer.command(1) is PlcAnswer.ACCEPTED
    assert await bench.peer.read("ack_command_id") == ["c1"]
    departure = await bench.departure()
    assert (departure.lane, departure.by_fail_safe) == ("good", False)

    async def published() -> bool:
        return await bench.peer.read("departure_count") == [1]

    await until(published)
    assert await bench.peer.read("departure_part_ids", "departure_lanes") == [["p0"], ["good"]]


async def test_a_part_that_gets_no_verdict_is_rejected_at_the_gate(bench: Bench) -> None:
    await bench.arrive("p0")
    departure = await bench.departure()
    assert (departure.lane, departure.by_fail_safe, departure.reject_confirmed) == ("reject", True, True)
    assert await bench.peer.command(1) is PlcAnswer.UNKNOWN_PART
    assert bench.witness.carried_out == []


async def test_a_part_that_it_does_not_hold_is_refused(bench: Bench) -> None:
    await bench.arrive("p0")
    assert await bench.peer.command(1, command_part_id="p1") is PlcAnswer.UNKNOWN_PART
    assert await bench.peer.command(2, command_visit=2) is PlcAnswer.UNKNOWN_PART


async def test_an_expired_command_is_refused_and_never_executed(bench: Bench) -> None:
    await bench.arrive("p0")
    assert await bench.peer.command(1, command_valid_until_ns=time.time_ns() - 1) is PlcAnswer.EXPIRED
    assert bench.witness.answers == [("c1", 3)], "who watches is told of it all the same"
    assert (await bench.departure()).by_fail_safe
    assert bench.witness.carried_out == []


async def test_a_repeated_command_is_acknowledged_and_executed_once(bench: Bench) -> None:
    await bench.arrive("p0")
    for sequence in (1, 2, 3):
        assert await bench.peer.command(sequence, command_id="same") is PlcAnswer.ACCEPTED
    assert [request.command_id for request, _ in bench.witness.carried_out] == ["same"]


async def test_a_command_of_nulls_is_refused_as_nonsense(bench: Bench) -> None:
    await bench.peer.node("command_id").write_value(ua.DataValue(StatusCode=ua.StatusCode(ua.StatusCodes.Bad)))
    await bench.peer.node("command_sequence").write_value(ua.Variant(1, UINT32))

    async def answered() -> bool:
        return await bench.peer.read("ack_sequence", "ack_result") == [1, 5]

    await until(answered)


async def test_only_the_mailbox_can_be_written_and_only_with_its_types(bench: Bench) -> None:
    with pytest.raises(ua.UaError, match="BadUserAccessDenied"):
        await bench.peer.node("trigger_count").write_value(ua.Variant(9, UINT32))
    with pytest.raises(ua.UaError, match="BadTypeMismatch"):
        await bench.peer.node("command_sequence").write_value(ua.Variant("1", STRING))


async def test_a_stopped_line_says_why_and_runs_again(bench: Bench) -> None:
    modes: asyncio.Queue[str] = asyncio.Queue()

    class Listener:
        def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
            modes.put_nowait(value)

    subscription = await bench.peer.client.create_subscription(20, Listener())
    await subscription.subscribe_data_change(bench.peer.node("line_mode"))
    assert await bench.peer.command(1, command_kind="stop_line", command_reason="bad-batch") is PlcAnswer.ACCEPTED
    async with asyncio.timeout(WAIT_S):
        assert [await modes.get() for _ in range(2)] == ["running", "stopped"]
        assert await bench.peer.read("line_cause") == ["bad-batch"]
        assert await modes.get() == "running"


async def test_the_rings_are_consistent_whenever_a_reader_looks(bench: Bench) -> None:
    """While parts pour in, a read whose count agrees with the ring shows whole entries and misses none."""
    roles = ("trigger_count", "arrival_trigger_counts", "arrival_part_ids", "arrival_visits", "arrival_times_ns")
    parts = 300
    seen: dict[int, tuple[str, int, int]] = {}

    async def has_room(arrived: int) -> bool:
        return arrived - len(bench.witness.departed) <= HOLDS_AT_MOST // 2

    async def pour() -> None:
        for number in range(parts):
            await until(lambda arrived=number: has_room(arrived))
            await bench.arrive(f"p{number + 1}")

    pouring = asyncio.create_task(pour())

    async def all_read() -> bool:
        count, counts, *columns = await bench.peer.read(*roles)
        if counts and counts[-1] == count:
            assert counts == list(range(count - len(counts) + 1, count + 1))
            assert {len(column) for column in columns} == {len(counts)}
            seen.update(dict(zip(counts, zip(*columns, strict=True), strict=True)))
        return bool(count == parts)

    async with asyncio.timeout(60):
        while not await all_read():
            pass
    await pouring
    await all_read()
    assert [seen[count][:2] for count in range(1, parts + 1)] == [(f"p{count}", 1) for count in range(1, parts + 1)]


async def test_nothing_stale_is_executed_however_commands_come(bench: Bench) -> None:
    """A careless client writes commands in any order, late, twice and for parts that left: only valid ones are executed."""
    for number in range(12):
        arrival = await bench.arrive(f"p{number}")
        for offset, valid_ms in enumerate((-50, 1, 150, 60_000)):
            await bench.peer.command(
                4 * number + offset + 1,
                command_id=f"c{number - offset}/{valid_ms}",
                command_part_id=f"p{max(number - offset, 0)}",
                command_valid_until_ns=arrival.at_ns + valid_ms * 1_000_000,
            )
    assert bench.witness.carried_out
    decided = [request.part_id for request, _ in bench.witness.carried_out]
    assert len(decided) == len(set(decided))
    left_at = {departure.part_id: departure.at_ns for departure in bench.witness.departed}
    for request, at_ns in bench.witness.carried_out:
        assert at_ns < request.valid_until_ns
        assert at_ns <= left_at.get(request.part_id, at_ns)


async def test_a_taken_port_is_said_in_one_sentence(bench: Bench, plc: Plc) -> None:
    station = Station(name=STATION, session="s2", gate_after_ms=GATE_MS)
    with pytest.raises(ConfigurationError, match="choose another one"):
        async with PlcServer(plc=plc, stations=[station], observer=Witness()):
            pass


async def test_trigger_ready_of_a_gateway_whose_heart_stands_still_is_not_believed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that was killed takes nothing back."""
    monkeypatch.setattr("simulation.plc.STILL_AT_LEAST_S", 60.0)
    await bench.peer.node("trigger_ready").write_value(ua.Variant(True, ua.VariantType.Boolean))
    waiting = asyncio.create_task(bench.server.until_trigger_ready(STATION))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.1)
    await bench.peer.node("gateway_heartbeat").write_value(ua.Variant(1, UINT32))
    await asyncio.wait_for(waiting, WAIT_S)
    monkeypatch.setattr("simulation.plc.STILL_AT_LEAST_S", 0.0)
    monkeypatch.setattr("simulation.plc.STILL_BEATS", 0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bench.server.until_trigger_ready(STATION), 0.1)
