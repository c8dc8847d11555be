"""Changing the product at a station: what the PLC is told, on a real PLC server and a real broker.

What loads recipes is in test_warm_recipes; here processes say what they have.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from broker import read_to_end, until
from plant_floor import STATION, Floor, floor_plant, make_topics, running

from gateways import plc_gateway
from schemas.plant import Plant
from schemas.plc_events import PlcFault
from schemas.readiness import RecipeStatus, StageReadiness
from schemas.reasons import HandshakeCode
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import PLC_EVENTS, READINESS
from topologies.readiness import ReadinessTeller

BOARD, OTHER = "board@1", "board@2"
EVERYTHING = RecipeStatus(warm=(BOARD, OTHER))


@pytest.fixture
def settings(kafka: str, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    return KafkaSettings()


class Line:
    """A PLC with two products, its gateway, a judge, and two inspect workers that say what they are told to."""

    def __init__(self, floor: Floor, plant: Plant, gateway: Stage, workers: list[Stage]) -> None:
        self.floor = floor
        self.plant = plant
        self.gateway = gateway
        self.workers = workers

    async def shows(self, code: HandshakeCode, *, recipe: str = "", because: str = "") -> None:
        """The PLC is told so: ready for `recipe`, or not ready with `code` and a text with `because` in it."""

        def as_expected() -> bool:
            ready = self.floor.value("trigger_ready"), self.floor.value("ready_recipe")
            why = self.floor.value("error_code"), self.floor.value("error_text")
            return ready == (code is HandshakeCode.NONE, recipe) and why[0] == code and because in why[1]

        await until(as_expected, f"{code.name} {recipe}{because}")

    async def say(self, *statuses: RecipeStatus) -> None:
        """What the workers have from now on."""
        for worker, status in zip(self.workers, statuses, strict=True):
            worker.recipes = status


@asynccontextmanager
async def telling(
    plant: Plant, settings: KafkaSettings, stage: Stage, monkeypatch: pytest.MonkeyPatch, *, instance: str = "0"
) -> AsyncIterator[Stage]:
    """A stage that says that it can work."""
    stage.ready = True
    monkeypatch.setenv("LINESIGHT_INSTANCE", instance)
    teller = ReadinessTeller(plant=plant, stage=stage, kafka=settings)
    monkeypatch.delenv("LINESIGHT_INSTANCE")
    async with teller:
        yield stage


@pytest.fixture
async def line(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Line]:
    async with Floor() as floor:
        plant = floor_plant(unique_prefix, plc=floor.plc)
        second = msgspec.structs.replace(plant.recipes[0], revision=2)
        plant = msgspec.structs.replace(plant, recipes=(*plant.recipes, second))
        await make_topics(plant, settings)
        async with (
            running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path) as gateway,
            telling(plant, settings, gateway, monkeypatch),
            telling(plant, settings, Stage("judge"), monkeypatch),
            telling(plant, settings, Stage("inspect"), monkeypatch, instance="1") as first,
            telling(plant, settings, Stage("inspect"), monkeypatch, instance="2") as second_worker,
        ):
            yield Line(floor, plant, gateway, [first, second_worker])


async def said_by_the_gateway(line: Line, settings: KafkaSettings) -> list[StageReadiness]:
    found = await read_to_end(settings, line.plant, READINESS)
    return [said for said in found if said.stage == "plc_gateway"]


async def test_trigger_ready_waits_until_every_worker_is_warm_and_says_who_is_not(line: Line) -> None:
    await line.say(RecipeStatus(warm=(BOARD,), lacking=(OTHER,)), RecipeStatus(warm=(BOARD,), lacking=(OTHER,)))
    await line.floor.set("recipe", BOARD)
    await line.shows(HandshakeCode.NONE, recipe=BOARD)
    await line.floor.set("recipe", OTHER)
    await line.shows(HandshakeCode.RECIPE_LACKING, because="inspect/1")
    await line.say(EVERYTHING, RecipeStatus(warm=(BOARD,), lacking=(OTHER,), reasons={OTHER: "golden/2: no file"}))
    await line.shows(HandshakeCode.RECIPE_LACKING, because=f"{OTHER}: inspect/2: golden/2: no file")
    await line.say(EVERYTHING, EVERYTHING)
    await line.shows(HandshakeCode.NONE, recipe=OTHER)


async def test_what_is_selected_and_announced_is_passed_on_and_an_unknown_announcement_is_a_fault_and_no_more(
    line: Line, settings: KafkaSettings
) -> None:
    await line.say(EVERYTHING, EVERYTHING)
    await line.floor.set("recipe", BOARD)
    await line.floor.set("next_recipe", OTHER)
    await line.shows(HandshakeCode.NONE, recipe=BOARD)

    async def passed_on(selected: tuple[str, ...], coming: tuple[str, ...]) -> bool:
        last = (await said_by_the_gateway(line, settings))[-1]
        return (last.selected_recipes, last.next_recipes) == (selected, coming)

    async def faults(*cleared: bool) -> bool:
        events: list[Any] = await read_to_end(settings, line.plant, PLC_EVENTS)
        found = [event for event in events if isinstance(event, PlcFault) and event.code == "unknown_next_recipe"]
        return [event.cleared for event in found] == list(cleared)

    await until(lambda: passed_on((BOARD,), (OTHER,)), "inspect is told both")
    await line.floor.set("next_recipe", "bumper@7")
    await until(lambda: faults(False), "it is told")
    await until(lambda: passed_on((BOARD,), ()), "nobody looks for it")
    await line.shows(HandshakeCode.NONE, recipe=BOARD)
    await line.floor.set("next_recipe", "")
    await until(lambda: faults(False, True), "it is over")


async def test_an_unknown_recipe_changes_in_quick_succession_and_a_plc_that_begins_anew_end_with_the_last_word(
    line: Line,
) -> None:
    await line.say(EVERYTHING, EVERYTHING)
    await line.floor.set("recipe", "bumper@7")
    await line.shows(HandshakeCode.UNKNOWN_RECIPE, because="bumper@7 is none of board@1, board@2")
    for recipe in (BOARD, OTHER, "bumper@7", OTHER, BOARD, OTHER):
        await line.floor.set("recipe", recipe)
    await line.shows(HandshakeCode.NONE, recipe=OTHER)
    await line.floor.cable.cut()
    line.floor.programs[STATION].session = "plc-session-2"
    await line.floor.set("session", "plc-session-2")
    await line.floor.set("recipe", BOARD)
    await line.floor.set("trigger_ready", False)
    await line.floor.set("ready_recipe", "")
    await line.floor.cable.plug()
    await line.shows(HandshakeCode.NONE, recipe=BOARD)


async def test_the_simulated_belt_stands_until_the_line_is_ready_for_the_next_product_but_not_for_ever(
    line: Line,
) -> None:
    only_board = RecipeStatus(warm=(BOARD,), lacking=(OTHER,))
    await line.say(only_board, only_board)
    await line.floor.set("recipe", BOARD)
    await line.shows(HandshakeCode.NONE, recipe=BOARD)
    changing = asyncio.create_task(line.floor.server.change_over(STATION, OTHER, within_s=60))
    await line.shows(HandshakeCode.RECIPE_LACKING)
    assert not changing.done()
    await line.say(EVERYTHING, EVERYTHING)
    await asyncio.wait_for(changing, 30)
    assert line.floor.value("ready_recipe") == OTHER
    await line.say(only_board, only_board)
    await line.shows(HandshakeCode.RECIPE_LACKING)
    await line.floor.set("recipe", BOARD)
    await line.shows(HandshakeCode.NONE, recipe=BOARD)
    await line.floor.server.change_over(STATION, OTHER, within_s=0.1)
    assert line.floor.value("ready_recipe") != OTHER, "a belt that cannot wait longer goes on"


async def test_a_plc_without_the_nodes_of_the_changeover_is_served_as_before(
    settings: KafkaSettings, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Floor() as floor:
        nodes = msgspec.structs.replace(floor.plc.nodes, next_recipe=None, ready_recipe=None)
        plant = floor_plant(unique_prefix, plc=msgspec.structs.replace(floor.plc, nodes=nodes))
        await make_topics(plant, settings)
        async with (
            running(plc_gateway.run, plant, name="plc_gateway", plant_dir=tmp_path),
            telling(plant, settings, Stage("judge"), monkeypatch),
            telling(plant, settings, Stage("inspect"), monkeypatch) as inspect,
        ):
            inspect.recipes = RecipeStatus(warm=(BOARD,))
            await floor.set("recipe", BOARD)
            await until(lambda: floor.value("trigger_ready"), "the line is ready")
            assert floor.value("ready_recipe") == ""
