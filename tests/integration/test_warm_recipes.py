"""Recipes with models of their own on a real Triton: loaded when they are wanted, let go of when nobody needs them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from board_frames import PLANT_DIR, demo_plant, frame
from broker import publish, read_to_end, read_until, until
from inspecting import inspecting
from recipe_models import loaded, mend, models_per_recipe, spoil

from ops.local.triton import LocalTriton
from schemas.frames import Frame
from schemas.inspections import Inspection
from schemas.plant import Plant
from schemas.readiness import RecipeStatus
from schemas.reasons import FrameOutcome
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import DEAD_LETTERS, FRAMES, INSPECTIONS, READINESS
from simulation.pictures import take_pictures
from topologies import warm_recipes
from topologies.readiness import ReadinessTeller
from topologies.topic_admin import ensure_topics

A, B, C = "board-a@1", "board-b@1", "board-c@1"
BELT_MS = 500


@dataclass(frozen=True, kw_only=True)
class Works:
    """A plant of three products, each with models of its own, and the services for it."""

    plant: Plant
    settings: KafkaSettings
    server: LocalTriton
    repository: Path

    def models(self, *recipes: str) -> set[str]:
        """The models that these recipes pin."""
        found = [recipe.inspection for recipe in self.plant.recipes if recipe.key in recipes]
        return {pin.name for inspection in found for pin in (inspection.compare, inspection.classifier)}

    def frames(self, recipe: str, *sequences: int) -> list[tuple[str, Frame]]:
        """Good boards of a product, as the left camera sees them."""
        product = self.plant.recipe(recipe)
        assert product is not None
        images = [
            take_pictures(product, defects=(), lighting_drift_ratio=0.0, seed=(number,)).jpegs["left"]
            for number in sequences
        ]
        return [
            ("left", frame(image, sequence=number, recipe=recipe))
            for image, number in zip(images, sequences, strict=True)
        ]

    async def loaded(self) -> set[str]:
        """What the server has ready now."""
        return await loaded(self.server.url)

    async def has(self, *recipes: str) -> bool:
        """Whether the server has the models of just these recipes."""
        return await self.loaded() == self.models(*recipes)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("repository") / "models"


@pytest.fixture(scope="module")
def server(triton_installed: None, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTriton]:
    models_per_recipe(repository, demo_plant("any"))
    with LocalTriton(tmp_path_factory.mktemp("triton"), repository, models=()) as running:
        yield running


@pytest.fixture
def surroundings(
    kafka: str, server: LocalTriton, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> KafkaSettings:
    """A stage finds its services in the environment, as in a plant; one recipe is kept, and nobody waits long."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("TRITON_URL", server.url)
    monkeypatch.setenv("TRITON_MODEL_REPOSITORY", str(repository))
    monkeypatch.setenv("TRITON_KEPT_RECIPES", "1")
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    monkeypatch.setattr("topologies.inspection_bench.BELT_MARGIN_S", 0.0)
    monkeypatch.setattr(warm_recipes, "RETRY_S", 0.2)
    monkeypatch.setattr(warm_recipes, "LOOK_EVERY_S", 0.1)
    return KafkaSettings()


@pytest.fixture
async def works(
    surroundings: KafkaSettings, server: LocalTriton, repository: Path, unique_prefix: str, tmp_path: Path
) -> Works:
    plant = models_per_recipe(tmp_path / "unused", demo_plant(unique_prefix))
    (line,) = plant.lines
    stations = tuple(msgspec.structs.replace(each, gate_after_ms=BELT_MS) for each in line.stations)
    plant = msgspec.structs.replace(plant, lines=(msgspec.structs.replace(line, stations=stations),))
    await ensure_topics(plant, kafka=surroundings, topics=(FRAMES, INSPECTIONS, DEAD_LETTERS, READINESS))
    return Works(plant=plant, settings=surroundings, server=server, repository=repository)


@asynccontextmanager
async def saying(
    works: Works, name: str, monkeypatch: pytest.MonkeyPatch, *, instance: str = "0"
) -> AsyncIterator[Stage]:
    """A process that says what it has or wants, and nothing else."""
    stage = Stage(name)
    stage.ready = True
    monkeypatch.setenv("LINESIGHT_INSTANCE", instance)
    teller = ReadinessTeller(plant=works.plant, stage=stage, kafka=works.settings)
    monkeypatch.delenv("LINESIGHT_INSTANCE")
    async with teller:
        yield stage


def warm(stage: Stage, *recipes: str) -> bool:
    return stage.recipes.warm == recipes


async def test_what_is_selected_is_loaded_what_is_announced_is_loaded_ahead_and_the_rest_makes_room(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        saying(works, "plc_gateway", monkeypatch) as gateway,
        inspecting(works.plant, plant_dir=PLANT_DIR) as stage,
    ):
        await until(
            lambda: stage.ready and warm(stage, A), "nobody asks: as many as are kept, in the plant file's order"
        )
        assert stage.recipes.lacking == (B, C)
        gateway.recipes = RecipeStatus(selected=(B,))
        await until(lambda: warm(stage, B), "the selected one is loaded, and the other makes room")
        await until(lambda: works.has(B), "the server has taken the other out")
        gateway.recipes = RecipeStatus(selected=(B,), coming=(C,))
        await until(lambda: warm(stage, B, C), "the announced one is loaded ahead")
        assert stage.recipes.lacking == (A,)
        gateway.recipes = RecipeStatus(selected=(C,))
        await until(lambda: works.has(C), "the one before goes when its parts are through")
        shown = stage.registry.get_sample_value("linesight_inspect_recipe_warm", {"recipe": C})
        assert shown == 1
        assert stage.registry.get_sample_value("linesight_inspect_recipe_warm", {"recipe": B}) == 0
        assert stage.registry.get_sample_value("linesight_inspect_retried_total", {"reason": "triton"}) == 0


async def test_a_frame_of_a_recipe_that_is_not_loaded_waits_for_it_and_is_inspected_with_its_own_models(
    works: Works,
) -> None:
    async with inspecting(works.plant, plant_dir=PLANT_DIR) as stage:
        await until(lambda: stage.ready and warm(stage, A), "the stage is ready")
        await publish(
            works.settings, works.plant, FRAMES, [*works.frames(B, 0), *works.frames(A, 1), *works.frames(C, 2)]
        )
        found: list[Inspection] = await read_until(works.settings, works.plant, INSPECTIONS, 3)
        assert [each.recipe for each in found] == [B, A, C], "in the order of their camera"
        assert all(each.outcome is FrameOutcome.INSPECTED and not each.defects for each in found)
        for each in found:
            assert each.models[0].model in works.models(each.recipe)

        async def one_is_left() -> bool:
            return await works.loaded() in (works.models(B), works.models(C))

        await until(one_is_left, "one is kept, of those used last")
        await publish(works.settings, works.plant, FRAMES, works.frames(A, 3))
        found = await read_until(works.settings, works.plant, INSPECTIONS, 4)
        assert found[3].outcome is FrameOutcome.INSPECTED, "one that was let go of is loaded again"


async def test_what_another_process_keeps_is_not_taken_out(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        saying(works, "plc_gateway", monkeypatch) as gateway,
        saying(works, "inspect", monkeypatch, instance="2") as other,
    ):
        gateway.recipes, other.recipes = RecipeStatus(selected=(A,)), RecipeStatus(warm=(A,))
        async with inspecting(works.plant, plant_dir=PLANT_DIR) as stage:
            await until(lambda: stage.ready and warm(stage, A), "the stage is ready")
            gateway.recipes = RecipeStatus(selected=(B,))
            await until(lambda: warm(stage, B), "it has let go of the other")
            gateway.recipes = RecipeStatus(selected=(C,))
            await until(lambda: works.has(A, C), "only what nobody else keeps is out")
            other.recipes = RecipeStatus(warm=(C,))
            await until(lambda: works.has(C), "then nobody keeps it")


async def test_a_model_that_cannot_be_loaded_costs_its_own_recipe_and_comes_back_when_it_is_mended(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = works.plant.recipes[1].inspection.compare
    right = spoil(works.repository, broken)
    try:
        async with saying(works, "plc_gateway", monkeypatch) as gateway:
            gateway.recipes = RecipeStatus(selected=(A,), coming=(B,))
            async with inspecting(works.plant, plant_dir=PLANT_DIR) as stage:
                await until(
                    lambda: B in stage.recipes.reasons and "cannot load" in stage.recipes.reasons[B], "it is told"
                )
                await until(lambda: stage.ready and warm(stage, A), "the selected one goes on")
                await publish(works.settings, works.plant, FRAMES, [*works.frames(B, 0), *works.frames(A, 1)])
                found: list[Inspection] = await read_until(works.settings, works.plant, INSPECTIONS, 2)
                assert [(each.recipe, each.reason) for each in found] == [(B, "recipe_lacking"), (A, None)]
                (letter,) = await read_to_end(works.settings, works.plant, DEAD_LETTERS)
                assert (letter.reason, broken.name in letter.detail) == ("recipe_lacking", True)
                gateway.recipes = RecipeStatus(selected=(B,))
                await until(
                    lambda: B in stage.recipes.lacking and broken.name in stage.recipes.reasons[B], "and lacking"
                )
                mend(works.repository, broken, right)
                await until(lambda: warm(stage, B), "it is tried again")
                assert (
                    stage.registry.get_sample_value("linesight_inspect_noticed_total", {"what": "recipe_lacking"}) == 1
                )
    finally:
        mend(works.repository, broken, right)


async def test_a_change_while_the_server_is_away_is_made_up_for_when_it_is_back(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        saying(works, "plc_gateway", monkeypatch) as gateway,
        inspecting(works.plant, plant_dir=PLANT_DIR) as stage,
    ):
        gateway.recipes = RecipeStatus(selected=(A,))
        await until(lambda: stage.ready and warm(stage, A), "the stage is ready")
        works.server.child.kill()
        await until(lambda: not stage.ready, "the server is missed")
        gateway.recipes = RecipeStatus(selected=(B,))
        await publish(works.settings, works.plant, FRAMES, [*works.frames(A, 0), *works.frames(B, 1)])
        await until(lambda: B in stage.recipes.reasons, "the wish is heard")
        works.server.start()
        found: list[Inspection] = await read_until(works.settings, works.plant, INSPECTIONS, 2)
        assert [(each.recipe, each.outcome) for each in found] == [(A, "inspected"), (B, "inspected")]
        await until(lambda: stage.ready and warm(stage, B), "the stage is ready for it")
