"""The whole simulated plant: parts that come and leave, fed or not, its cameras, its press, and what it cannot be."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from asyncua import ua
from plc_peer import GATE_MS, STATION, WAIT_S, Peer, connected, until

from cli.simulated_certificates import commission
from ops.local.ports import free_ports
from schemas.challenges import ChallengePart, Challenges
from schemas.errors import ConfigurationError
from schemas.plant import Camera, HttpSource, Plant
from schemas.plant_file import load_plant
from schemas.reasons import PlcAnswer
from schemas.recipes import View
from simulation import plant as simulated_plant

PLANTS = Path(__file__).parents[2] / "plants"


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Plant:
    monkeypatch.setenv("LINESIGHT_CERTIFICATES", str(tmp_path / "certificates"))
    plc_port, camera_port = free_ports(2)
    monkeypatch.setenv("LINESIGHT_SIM_PLC_PORT", str(plc_port))
    monkeypatch.setenv("LINESIGHT_SIM_CAMERA_PORT", str(camera_port))
    plant = load_plant(PLANTS / "demo.yaml")
    (line,) = plant.lines
    (station,) = line.stations
    quick = msgspec.structs.replace(station, gate_after_ms=GATE_MS, challenges=Challenges())
    return msgspec.structs.replace(plant, lines=(msgspec.structs.replace(line, stations=(quick,)),))


def challenged(plant: Plant) -> Plant:
    """The plant with a known-bad board of the demo."""
    (line,) = plant.lines
    part = ChallengePart(name="open", part_id="CHALLENGE-*", expects=("open",))
    proving = msgspec.structs.replace(line.stations[0], challenges=Challenges(parts=(part,)))
    return msgspec.structs.replace(plant, lines=(msgspec.structs.replace(line, stations=(proving,)),))


async def say_ready(peer: Peer) -> None:
    """As a gateway does: its heartbeat moves, and TriggerReady is true."""
    await peer.node("gateway_heartbeat").write_value(ua.Variant(1, ua.VariantType.UInt32))
    await peer.node("trigger_ready").write_value(ua.Variant(True, ua.VariantType.Boolean))


@asynccontextmanager
async def running(
    plant: Plant, truth: Path, *, parts: int, fed: bool = False, live: bool = False
) -> AsyncIterator[Peer]:
    stop = asyncio.Event()
    identity = commission(plant, plant_dir=PLANTS)
    run = asyncio.create_task(
        simulated_plant.run(
            plant, parts=parts, rate_per_s=20, seed=1, truth=truth, stop=stop, identity=identity, fed=fed, live=live
        )
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
        async with connected(plant.plcs[0], plant_dir=PLANTS) as peer:
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


async def test_the_known_bad_board_comes_first_and_is_not_repaired(demo: Plant, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with running(challenged(demo), truth, parts=4) as peer:
        await peer.call("Simulation", "Start")

        async def finished() -> bool:
            return bool((await peer.call("Simulation", "Status"))[2])

        await until(finished)
    first, *others = rows(truth, "part")
    assert first["part_id"].startswith("CHALLENGE-")
    assert {defect["class"] for defect in first["defects"]} == {"open"}
    assert not any(row["part_id"].startswith("CHALLENGE-") for row in others), "rejected, and it does not come back"
    assert len({row["part_id"] for row in others}) == 4


async def test_a_live_plant_feeds_at_trigger_ready_and_does_not_end(demo: Plant, tmp_path: Path) -> None:
    async with running(demo, tmp_path / "truth.jsonl", parts=7, live=True) as peer:
        assert await peer.call("Simulation", "Status") == [0, 0, False]
        await say_ready(peer)

        async def came(count: int) -> bool:
            fed, _, finished = await peer.call("Simulation", "Status")
            return bool(fed > count and not finished)

        await until(lambda: came(3 * 7))


async def test_a_live_plant_that_is_stopped_lets_all_leave_and_is_finished(demo: Plant, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with running(demo, truth, parts=7, live=True) as peer:
        await peer.call("Simulation", "Start")

        async def status(came: int, *, finished: bool) -> bool:
            fed, left, is_finished = await peer.call("Simulation", "Status")
            return bool(fed >= came and is_finished is finished and (fed == left or not finished))

        await until(lambda: status(10, finished=False))
        await peer.call("Simulation", "Stop")
        await until(lambda: status(10, finished=True))
    arrivals = rows(truth, "part")
    assert len(arrivals) == len(rows(truth, "left"))
    assert all(0 < row["at_ns"] <= time.time_ns() for row in arrivals)


async def test_the_plc_says_how_many_sessions_it_holds(demo: Plant, tmp_path: Path) -> None:
    async with running(demo, tmp_path / "truth.jsonl", parts=7) as peer:
        assert await peer.call("Simulation", "Sessions") == 1
        async with connected(demo.plcs[0], plant_dir=PLANTS) as other:
            assert await other.call("Simulation", "Sessions") == 2
        assert await peer.call("Simulation", "Sessions") == 1


async def test_the_next_product_is_announced_before_it_is_selected(demo: Plant, tmp_path: Path) -> None:
    async with running(demo, tmp_path / "truth.jsonl", parts=7, live=True) as peer:
        assert await peer.read("recipe") == [demo.recipes[0].key], "the first one is there before any part"
        await say_ready(peer)
        announced: set[str] = set()

        async def selected_as_announced() -> bool:
            recipe, coming = await peer.read("recipe", "next_recipe")
            announced.add(coming)
            return recipe != demo.recipes[0].key and recipe in announced

        await until(selected_as_announced)


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
