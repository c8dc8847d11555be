"""The simulated PLC over OPC UA, asked by a real client: the mailbox contract, the rings, the fail-safe, fed parts."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from asyncua import Client, ua

from ops.local.ports import free_ports
from schemas.errors import ConfigurationError
from schemas.plant import Camera, HttpSource, Plant, Plc, PlcNodes
from schemas.plant_file import load_plant
from schemas.reasons import PLC_CODES, PlcAnswer
from schemas.recipes import View
from simulation import plant as simulated_plant
from simulation.plc import PlcServer
from simulation.station import HOLDS_AT_MOST, Arrival, Departure, Request, Station

STATION = "aoi-1"
GATE_MS = 400
WAIT_S = 10.0
DEMO = Path(__file__).parents[2] / "plants" / "demo.yaml"

STRING, UINT16, UINT32, INT64 = (
    ua.VariantType.String,
    ua.VariantType.UInt16,
    ua.VariantType.UInt32,
    ua.VariantType.Int64,
)


class Witness:
    """Remembers what the PLC says it did."""

    def __init__(self) -> None:
        self.carried_out: list[tuple[Request, int]] = []
        self.departed: list[Departure] = []

    def executed(self, station: Station, request: Request, at_ns: int) -> None:
        self.carried_out.append((request, at_ns))

    def left(self, station: Station, departure: Departure) -> None:
        self.departed.append(departure)


class Peer:
    """A client of the PLC that knows the nodes of the plant file."""

    def __init__(self, client: Client, index: int) -> None:
        self.client = client
        self.index = index

    def node(self, role: str) -> Any:
        identifier = getattr(PlcNodes(), role).replace("{station}", STATION)
        return self.client.get_node(f"ns={self.index};{identifier}")

    async def read(self, *roles: str) -> list[Any]:
        values: list[Any] = await self.client.read_values([self.node(role) for role in roles])
        return values

    async def write(self, sequence: int, **fields: Any) -> None:
        """The payload in one write, the sequence in a second one."""
        payload = {
            "command_id": (f"c{sequence}", STRING),
            "command_kind": ("verdict", STRING),
            "command_part_id": ("p0", STRING),
            "command_visit": (1, UINT16),
            "command_verdict": ("OK", STRING),
            "command_action": ("reject", STRING),
            "command_reason": ("defect", STRING),
            "command_valid_until_ns": (time.time_ns() + 60 * 10**9, INT64),
        }
        for role, value in fields.items():
            payload[role] = (value, payload[role][1])
        await self.client.write_values(
            [self.node(role) for role in payload], [ua.Variant(value, kind) for value, kind in payload.values()]
        )
        await self.node("command_sequence").write_value(ua.Variant(sequence, UINT32))

    async def command(self, sequence: int, **fields: Any) -> PlcAnswer:
        await self.write(sequence, **fields)
        await until(lambda: self._acknowledges(sequence))
        (result,) = await self.read("ack_result")
        return PLC_CODES[result]

    async def _acknowledges(self, sequence: int) -> bool:
        return await self.read("ack_sequence") == [sequence]

    async def call(self, owner: str, method: str, *arguments: str | float) -> Any:
        node = self.client.get_node(f"ns={self.index};s={owner}")
        return await node.call_method(
            ua.NodeId(f"{owner}.{method}", self.index),
            *[ua.Variant(each, STRING if isinstance(each, str) else ua.VariantType.Double) for each in arguments],
        )


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_S):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.005)


@pytest.fixture
def plc() -> Plc:
    return Plc(name="plc-1", endpoint=f"opc.tcp://127.0.0.1:{free_ports(1)[0]}/", security="none")


@asynccontextmanager
async def connected(plc: Plc) -> AsyncIterator[Peer]:
    async with Client(plc.endpoint) as client:
        yield Peer(client, await client.get_namespace_index(plc.namespace))


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


# --- the whole simulated plant -----------------------------------------------------------------------------------------


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Plant:
    plc_port, camera_port = free_ports(2)
    monkeypatch.setenv("LINESIGHT_SIM_PLC_PORT", str(plc_port))
    monkeypatch.setenv("LINESIGHT_SIM_CAMERA_PORT", str(camera_port))
    plant = load_plant(DEMO)
    (line,) = plant.lines
    (station,) = line.stations
    quick = msgspec.structs.replace(station, gate_after_ms=GATE_MS)
    return msgspec.structs.replace(plant, lines=(msgspec.structs.replace(line, stations=(quick,)),))


@asynccontextmanager
async def running(
    plant: Plant, truth: Path, *, parts: int, fed: bool = False, live: bool = False
) -> AsyncIterator[Peer]:
    stop = asyncio.Event()
    run = asyncio.create_task(
        simulated_plant.run(plant, parts=parts, rate_per_s=20, seed=1, truth=truth, stop=stop, fed=fed, live=live)
    )
    try:

        async def listening() -> bool:
            if run.done():
                run.result()
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", int(plant.plcs[0].endpoint[:-1].split(":")[-1]))
            except OSError:
                return False
            writer.close()
            return True

        await until(listening)
        async with connected(plant.plcs[0]) as peer:
            yield peer
    finally:
        stop.set()
        async with asyncio.timeout(WAIT_S):
            await run


def rows(truth: Path, event: str) -> list[dict[str, Any]]:
    return [row for row in map(json.loads, truth.read_text().splitlines()) if row["event"] == event]


async def test_parts_come_after_start_and_every_one_leaves(demo: Plant, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with running(demo, truth, parts=25, fed=False) as peer:
        assert await peer.call("Simulation", "Status") == [0, 0, False]
        await peer.call("Simulation", "Start")

        async def finished() -> bool:
            status = await peer.call("Simulation", "Status")
            return bool(status[2])

        async with asyncio.timeout(30):
            await until(finished)
        fed, left, _ = await peer.call("Simulation", "Status")
    # nobody judged them: every part was rejected, and one in five came back once
    assert fed == left == 30
    visits = [(row["part_id"], row["visit"]) for row in rows(truth, "part")]
    assert sorted(visits) == sorted((row["part_id"], row["visit"]) for row in rows(truth, "left"))
    assert len({part_id for part_id, visit in visits if visit == 1}) == 25
    assert [row["defects"] for row in rows(truth, "part") if row["visit"] == 2] == [[]] * 5
    assert any(row["defects"] for row in rows(truth, "part"))
    assert rows(truth, "finished") == [{"event": "finished", "parts": 30}]


async def test_a_live_plant_feeds_when_a_gateway_beats_and_does_not_end(demo: Plant, tmp_path: Path) -> None:
    (plc,) = demo.plcs
    quick = msgspec.structs.replace(demo, plcs=(msgspec.structs.replace(plc, heartbeat_ms=50),))
    async with running(quick, tmp_path / "truth.jsonl", parts=7, live=True) as peer:
        assert await peer.call("Simulation", "Status") == [0, 0, False]
        beat = 0

        async def came(count: int) -> bool:
            nonlocal beat
            beat += 1
            await peer.node("gateway_heartbeat").write_value(ua.Variant(beat, UINT32))
            fed, _, finished = await peer.call("Simulation", "Status")
            return bool(fed > count and not finished)

        await until(lambda: came(3 * 7))


async def test_a_live_plant_that_is_only_observed_feeds_at_once(demo: Plant, tmp_path: Path) -> None:
    (plc,) = demo.plcs
    observed = msgspec.structs.replace(demo, plcs=(msgspec.structs.replace(plc, observe=True),))
    async with running(observed, tmp_path / "truth.jsonl", parts=7, live=True) as peer:

        async def came() -> bool:
            return bool((await peer.call("Simulation", "Status"))[0] > 0)

        await until(came)


async def test_what_the_simulation_cannot_make_is_left_alone(demo: Plant, tmp_path: Path) -> None:
    """A camera of somebody else, its view first in the recipe, and a recipe of a product that cannot be drawn."""
    (line,) = demo.lines
    (station,) = line.stations
    extra = Camera(name="extra", views=("extra",), source=HttpSource(url="http://127.0.0.1:9/snapshot.jpg"))
    wider = msgspec.structs.replace(station, cameras=(extra, *station.cameras))
    board = demo.recipes[0]
    bumper = msgspec.structs.replace(board, name="bumper")
    seen_by_all = msgspec.structs.replace(board, views=(View(name="extra", required=False), *board.views))
    plant = msgspec.structs.replace(
        demo, lines=(msgspec.structs.replace(line, stations=(wider,)),), recipes=(bumper, seen_by_all)
    )
    truth = tmp_path / "truth.jsonl"
    async with running(plant, truth, parts=10) as peer:
        await peer.call("Simulation", "Start")

        async def finished() -> bool:
            return bool((await peer.call("Simulation", "Status"))[2])

        async with asyncio.timeout(30):
            await until(finished)
    parts = rows(truth, "part")
    assert {row["recipe"] for row in parts} == {board.key}
    assert {defect["view"] for row in parts for defect in row["defects"]} <= {"left", "middle", "right"}


async def test_a_fed_part_comes_when_it_is_asked_for_and_leaves_with_its_verdict(demo: Plant, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with running(demo, truth, parts=1, fed=True) as peer:
        assert await peer.call(STATION, "Feed", "img-1", "lot", "board-b@1") == 1
        assert await peer.read("recipe", "arrival_part_ids") == ["board-b@1", ["img-1"]]
        assert await peer.command(1, command_part_id="img-1", command_verdict="NOT_OK") is PlcAnswer.ACCEPTED

        async def gone() -> bool:
            return bool(await peer.call("Simulation", "Status") == [1, 1, False])

        await until(gone)
    (executed,) = rows(truth, "executed")
    assert (executed["command_id"], executed["verdict"], executed["sequence"]) == ("c1", "NOT_OK", 1)
    assert executed["at_ns"] < executed["valid_until_ns"]
    (left,) = rows(truth, "left")
    assert (left["part_id"], left["lane"], left["by_fail_safe"]) == ("img-1", "reject", False)
    assert [row["defects"] for row in rows(truth, "part")] == [None]


async def test_the_press_is_measured(demo: Plant, tmp_path: Path) -> None:
    async with running(demo, tmp_path / "truth.jsonl", parts=60, fed=False) as peer:
        vibration = peer.client.get_node(f"ns={peer.index};s=press.Vibration")
        temperature = peer.client.get_node(f"ns={peer.index};s=press.Temperature")
        limit = next(rule.high for rule in demo.alerts if rule.name == "press-vibration")

        async def quiet() -> bool:
            return 0 < await vibration.read_value() < limit

        async def shaking() -> bool:
            return bool(await vibration.read_value() > limit)

        await until(quiet)
        await peer.call("Simulation", "Start")
        await until(shaking)
        await until(quiet)
        assert 20 < await temperature.read_value() < 60


async def test_a_test_can_disturb_a_camera(demo: Plant, tmp_path: Path) -> None:
    async with running(demo, tmp_path / "truth.jsonl", parts=1, fed=False) as peer:
        assert await peer.call("Simulation", "SilenceCamera", "left", 1.0) is True
        assert await peer.call("Simulation", "SetCameraClockAhead", "left", 600.0) is True
        assert await peer.call("Simulation", "SilenceCamera", "nonesuch", 1.0) is False


async def test_a_plant_that_cannot_be_simulated_is_refused(demo: Plant, tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(demo.recipes[0], name="bumper")
    other = msgspec.structs.replace(demo, recipes=(recipe,))
    with pytest.raises(ConfigurationError, match="bumper"):
        await simulated_plant.run(
            other, parts=1, rate_per_s=1, seed=1, truth=tmp_path / "truth.jsonl", stop=asyncio.Event()
        )


@pytest.mark.parametrize("fed", [False, True])
async def test_a_full_disk_ends_the_simulation_with_one_sentence(demo: Plant, fed: bool) -> None:
    """A truth with holes would make the summary lie."""
    with pytest.raises(ConfigurationError, match="make room"):
        await bring_one_part(demo, Path("/dev/full"), fed=fed)


async def bring_one_part(plant: Plant, truth: Path, *, fed: bool) -> None:
    """Lets a part come and waits until the PLC is gone."""
    async with running(plant, truth, parts=3, fed=fed) as peer:
        try:
            await (peer.call(STATION, "Feed", "p", "b", "r@1") if fed else peer.call("Simulation", "Start"))
            while True:
                await peer.read("session")
        except (ConnectionError, TimeoutError, ua.UaError):
            pass
