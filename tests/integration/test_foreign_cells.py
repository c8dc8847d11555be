"""A PLC program that is not ours, written from the guide alone, on a server that is not ours: the handshake and what goes wrong with it,
interlocks, the gate's confirmation, a change of product, a node that is taken away. One server and one gateway for all tests.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from broker import publish, read_to_end, until
from foreign_works import HOUR_MS, SLOTS, Works, command, serial, verdict
from node_opcua_cell import CELL, OBSERVED, OTHER, NodeOpcuaCells, plant_text
from peers import require_node_opcua
from plant_floor import counted, make_topics, running

from gateways import plc_gateway
from ops.local.ports import free_ports
from schemas.plant_file import load_plant
from schemas.plc_events import LineStateChanged, PartArrived, PlcFault, RecipeChanged, RejectConfirmed
from schemas.readiness import RecipeStatus
from schemas.reasons import CommandKind, CommandOutcome, FailSafe, HandshakeCode, VerdictValue
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import COMMAND_RESULTS, VERDICTS
from schemas.verdicts import Verdict
from topologies import alerts_stage
from topologies.readiness import ReadinessTeller

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def works(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Works]:
    require_node_opcua()
    folder = tmp_path_factory.mktemp("cells")
    file, (port,) = folder / "plant.yaml", free_ports(1)
    file.write_text(plant_text(f"cells-{uuid.uuid4().hex[:8]}", port=port))
    plant, settings = load_plant(file), KafkaSettings(bootstrap_servers=kafka)
    inspect, judge = Stage("inspect"), Stage("judge")
    inspect.ready = judge.ready = True
    inspect.recipes = RecipeStatus(warm=("board@1",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
        await make_topics(plant, settings)
        async with (
            NodeOpcuaCells(port=port, folder=folder) as cells,
            ReadinessTeller(plant=plant, stage=inspect, kafka=settings),
            ReadinessTeller(plant=plant, stage=judge, kafka=settings),
            running(plc_gateway.run, plant, name="plc_gateway", plant_dir=folder) as gateway,
        ):
            yield Works(
                cells=cells, plant=plant, plant_file=file, kafka=settings, gateway=gateway, inspect=inspect, judge=judge
            )


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _from_rest_to_rest(works: Works) -> AsyncIterator[None]:
    await works.rest()
    yield
    await works.rest()
    assert await works.cells.ask("sessions", cell=CELL) == 2, "one for each PLC of the plant file"


@pytest.mark.parametrize(
    ("value", "action", "lane"),
    [(VerdictValue.OK, FailSafe.PASS, "good"), (VerdictValue.NOT_OK, FailSafe.REJECT, "reject")],
)
async def test_a_part_that_waited_for_trigger_ready_goes_the_way_of_its_verdict_and_the_gate_confirms(
    works: Works, value: VerdictValue, action: FailSafe, lane: str
) -> None:
    name = serial()
    await works.cells.ask("bring", cell=CELL, serial=name)
    arrived = await works.event(PartArrived, part_id=name)
    assert (arrived.recipe, arrived.batch, arrived.expected_views) == ("board@1", "lot-7", ("top",))

    async def seen() -> bool:
        return await works.cells.shows("Vision.Seen") == [arrived.trigger_count]

    await until(seen, "the PLC is shown that its trigger was seen")
    (result,) = await works.results(verdict(name, value, action))
    assert result.outcome is CommandOutcome.ACKNOWLEDGED, result.detail
    assert await works.cells.shows("Order.Result", "Order.Do", "Order.Why") == [value, action, "because"]
    left = await works.passes(name)
    assert (left.lane, left.by_fail_safe) == (lane, False)
    if lane == "reject":
        await works.event(RejectConfirmed, part_id=name)


async def test_a_part_without_a_verdict_is_the_fail_safes_and_a_late_one_is_not_written(works: Works) -> None:
    name = serial()
    await works.pushed(name)
    left = await works.passes(name)
    assert (left.lane, left.by_fail_safe) == ("reject", True)
    stood = await works.cells.shows("Order.Nr")
    (late,) = await works.results(verdict(name))
    assert (late.outcome, late.attempts) == (CommandOutcome.PART_LEFT, 0)
    assert await works.cells.shows("Order.Nr") == stood


async def test_a_part_without_a_serial_has_the_same_name_on_both_sides(works: Works) -> None:
    await works.cells.ask("push", cell=CELL, serials=[""])
    (count,) = await works.cells.shows("In.Last")
    name = f"{CELL}:{CELL}/start 1:{count}"
    await works.event(PartArrived, part_id=name)
    (result,) = await works.results(verdict(name))
    assert result.outcome is CommandOutcome.ACKNOWLEDGED, result.detail
    assert (await works.passes(name)).by_fail_safe is False


async def test_what_the_program_refuses_is_told_with_its_reason(works: Works) -> None:
    name = serial()
    await works.pushed(name)
    unknown, first, second = await works.results(verdict("nobody"), verdict(name), verdict(name))
    assert [each.outcome for each in (unknown, first, second)] == [
        CommandOutcome.REFUSED_UNKNOWN_PART,
        CommandOutcome.ACKNOWLEDGED,
        CommandOutcome.REFUSED_STATE,
    ]
    await works.cells.ask("clock", cell=CELL, aheadMs=HOUR_MS)
    (expired,) = await works.results(verdict(name))
    assert expired.outcome is CommandOutcome.REFUSED_EXPIRED
    assert "ahead of ours; set both by one NTP server" in expired.detail


async def test_a_part_that_comes_unasked_is_an_early_trigger_and_one_that_can_wait_does(works: Works) -> None:
    works.judge.ready = False
    await works.shows(False, HandshakeCode.JUDGE_AWAY)
    waits = serial()
    await works.cells.ask("bring", cell=CELL, serial=waits)

    async def early() -> bool:
        fault, read, last = await works.cells.shows("Vision.Fault", "Vision.Seen", "In.Last")
        if read == last:
            await works.cells.ask("push", cell=CELL, serials=[serial()])
        return bool(fault == HandshakeCode.EARLY_TRIGGER)

    await until(early, "a part that comes all the same is early, after a second")
    await works.event(PlcFault, code="early_trigger", cleared=False)
    assert await works.cells.ask("outside", cell=CELL) == 1
    works.judge.ready = True
    await works.event(PartArrived, part_id=waits)
    await works.shows(True, HandshakeCode.EARLY_TRIGGER)
    await works.event(PlcFault, code="early_trigger", cleared=True)


async def test_a_part_that_triggers_twice_has_one_verdict_and_is_shown_as_double(works: Works) -> None:
    name = serial()
    await works.pushed(name)
    await works.cells.ask("push", cell=CELL, serials=[name])
    await works.shows(True, HandshakeCode.DOUBLE_TRIGGER)
    await works.says(f"names {name}, visit 1")
    assert [event.part_id for event in await works.events(PartArrived)].count(name) == 1


async def test_triggers_that_left_the_register_unread_are_counted_and_the_others_are_told(works: Works) -> None:
    names = [serial() for _ in range(SLOTS + 5)]
    await works.cells.ask("push", cell=CELL, serials=names)  # within one scan
    await works.shows(True, HandshakeCode.LOST_TRIGGER)
    missed = await works.event(PlcFault, code="arrivals_missed")
    assert missed.detail.startswith("5 dropped out of the PLC's ring")
    await works.event(PartArrived, part_id=names[-1])
    told = [event.part_id for event in await works.events(PartArrived)]
    assert told[-SLOTS:] == names[-SLOTS:]


async def test_a_result_that_the_program_does_not_take_is_shown_and_never_carried_out(works: Works) -> None:
    name = serial()
    await works.pushed(name)
    await works.cells.ask("hand", cell=CELL, on=True)
    order = verdict(name, valid_for_s=0.3)
    (result,) = await works.results(order)
    assert (result.outcome, result.attempts) == (CommandOutcome.NOT_ACKNOWLEDGED, 1)
    await works.shows(True, HandshakeCode.RESULT_NOT_TAKEN)
    await works.cells.ask("hand", cell=CELL, on=False)
    await works.rest()
    (after,) = await works.results(verdict(name))
    assert after.outcome is CommandOutcome.ACKNOWLEDGED, "the mailbox goes on"
    assert order.id not in await works.cells.ask("carriedOut", cell=CELL)


async def test_commands_stay_within_their_interlocks_and_two_signals_stop_the_line(works: Works) -> None:
    (stands,) = await works.cells.shows("Drive.Speed")
    faster, too_fast, jump, sudden, dry, first, second, stopped = await works.results(
        command(CommandKind.SPEED, value=stands + 10.0),
        command(CommandKind.SPEED, value=61.0),
        command(CommandKind.SPEED, value=stands + 26.0),
        command(CommandKind.PARAMETER, parameter="lamp", value=100.0),
        command(CommandKind.REJECT, part_id="nobody", visit=1),
        command(CommandKind.STOP_LINE, signals=("verdicts",)),
        command(CommandKind.STOP_LINE, signals=("cameras",)),
        command(CommandKind.SPEED, value=stands),
    )
    assert faster.outcome is CommandOutcome.ACKNOWLEDGED, faster.detail
    assert "outside 10..60" in too_fast.detail
    assert "a step of 16 is more than 15" in jump.detail
    assert "is faster than 0.01 per s" in sudden.detail
    assert dry.outcome is CommandOutcome.DRY_RUN
    assert "1 of 2 independent signals" in first.detail
    assert second.outcome is CommandOutcome.ACKNOWLEDGED, second.detail
    assert "the line is stopped" in stopped.detail
    assert await works.cells.shows("Drive.Speed", "Lamp.Level", "Mode", "Reason") == [
        stands + 10, 0, "stopped", "because",
    ]  # fmt: skip
    state = await works.event(LineStateChanged, mode="stopped")
    assert state.cause == "because"
    assert (await works.cells.ask("carriedOut", cell=CELL))[-2:] == [faster.id, second.id]


async def test_with_the_switch_off_nothing_is_ordered_and_the_life_sign_goes_on(works: Works) -> None:
    name = serial()
    await works.pushed(name)
    await works.cells.panel(Enable=False)
    await until(lambda: counted(works.gateway, "writes_allowed", station=CELL) == 0, "the switch is seen")
    stood, life = await works.cells.shows("Order.Nr", "Life.Vision")
    (forbidden,) = await works.results(verdict(name))
    assert forbidden.outcome is CommandOutcome.SWITCHED_OFF

    async def lives() -> bool:
        number, beats = await works.cells.shows("Order.Nr", "Life.Vision")
        return bool(number == stood and beats > life)

    await until(lives, "the life sign goes on, and no order came")
    await works.event(PlcFault, code="writes_forbidden", cleared=False)
    await works.cells.panel(Enable=True)
    await until(lambda: counted(works.gateway, "writes_allowed", station=CELL) == 1, "the switch is seen again")
    (allowed,) = await works.results(verdict(name))
    assert allowed.outcome is CommandOutcome.ACKNOWLEDGED, allowed.detail


async def test_a_cell_that_is_observed_is_read_and_never_written(works: Works) -> None:
    name = serial()
    await works.pushed(name, cell=OBSERVED)
    (result,) = await works.results(verdict(name, cell=OBSERVED))
    assert result.outcome is CommandOutcome.OBSERVED
    left = await works.passes(name, cell=OBSERVED)
    assert left.by_fail_safe, "the machine heard no verdict"
    written = await works.cells.shows(
        "Life.Vision", "Vision.Ready", "Vision.Fault", "Order.Nr", "Order.Id", cell=OBSERVED
    )
    assert written == [0, False, 0, 0, ""]


async def test_the_next_product_is_fed_once_it_is_warm_and_not_before(works: Works) -> None:
    await works.cells.panel(Coming="board@2")
    await until(lambda: works.gateway.recipes.coming == ("board@2",), "it is announced to inspect")
    await works.shows(True, HandshakeCode.NONE)
    await works.cells.panel(Product="board@2", Coming="")
    name = serial()
    await works.cells.ask("bring", cell=CELL, serial=name)
    await works.shows(False, HandshakeCode.RECIPE_LACKING)
    assert await works.cells.ask("outside", cell=CELL) == 1
    assert name not in [event.part_id for event in await works.events(PartArrived)]
    works.inspect.recipes = RecipeStatus(warm=("board@1", "board@2"))
    arrived = await works.event(PartArrived, part_id=name)
    assert arrived.recipe == "board@2"
    assert await works.cells.shows("Vision.Product") == ["board@2"]
    assert (await works.events(RecipeChanged))[-1].recipe == "board@2"
    await works.cells.panel(Product="board@9")
    await works.shows(False, HandshakeCode.UNKNOWN_RECIPE)
    await works.says("board@9 is none of board@1, board@2")


async def test_a_rejected_part_that_leaves_on_the_good_lane_stops_the_line(works: Works) -> None:
    name = serial()
    async with running(alerts_stage.run, works.plant, name="alerts", plant_dir=works.plant_file.parent):
        await works.pushed(name)
        now_ns = time.time_ns()
        judged = Verdict(
            id=f"{CELL}/{name}/1/1", station=CELL, line="line-1", part_id=name, visit=1, revision=1,
            verdict=VerdictValue.NOT_OK, action=FailSafe.REJECT, arrived_at_ns=now_ns, decided_at_ns=now_ns, recipe="board@1",
        )  # fmt: skip
        await publish(works.kafka, works.plant, VERDICTS, [(CELL, judged)])
        (taken,) = await works.results(verdict(name))
        assert taken.outcome is CommandOutcome.ACKNOWLEDGED, taken.detail
        await works.cells.ask("sticks", cell=CELL, stuck=True)
        assert (await works.passes(name)).lane == "good"

        async def stopped() -> bool:
            return await works.cells.shows("Mode", "Reason") == ["stopped", "wrong-lane"]

        await until(stopped, "the line is stopped by it")
    assert name not in [event.part_id for event in await works.events(RejectConfirmed)]
    results = await read_to_end(works.kafka, works.plant, COMMAND_RESULTS)
    (stop,) = [result for result in results if result.signals == ("lane sensor", "verdicts")]
    assert (stop.kind, stop.outcome) == (CommandKind.STOP_LINE, CommandOutcome.ACKNOWLEDGED)


async def test_a_variable_that_the_program_lost_takes_down_its_own_cell_until_it_is_back(works: Works) -> None:
    def fault(cell: str) -> float:
        return counted(works.gateway, "node_fault", station=cell)

    await works.pushed(serial(), cell=OTHER)
    for name in ("In.Last", "Order.Result"):
        await works.cells.ask("take", cell=OTHER, name=name)
    await works.cells.ask("put", cell=OTHER, name="Order.Result", type="Int16")
    await until(lambda: fault(OTHER) == 1, "the fault is seen", within_s=20)
    wrong = await works.event(PlcFault, cell=OTHER, code="node_fault", cleared=False)
    assert 'node s="DB_cell-2".In.Last: BadNodeIdUnknown' in wrong.detail
    name = serial()
    await works.pushed(name)
    (result,) = await works.results(verdict(name))
    assert (result.outcome, fault(CELL)) == (CommandOutcome.ACKNOWLEDGED, 0)
    assert await works.cells.shows("Vision.Ready", cell=OTHER) == [False]

    await works.cells.ask("put", cell=OTHER, name="In.Last")
    told = 'node s="DB_cell-2".Order.Result: Int16, expected String'

    async def only_the_type() -> bool:
        return (await works.cells.shows("Vision.Text", cell=OTHER))[0] == told

    await until(only_the_type, "what is still wrong is shown at the machine", within_s=20)
    await works.cells.ask("take", cell=OTHER, name="Order.Result")
    await works.cells.ask("put", cell=OTHER, name="Order.Result")
    await until(lambda: fault(OTHER) == 0, "it is served again", within_s=20)
    await works.event(PlcFault, cell=OTHER, code="node_fault", cleared=True)
    await works.shows(True, HandshakeCode.NONE, cell=OTHER)
