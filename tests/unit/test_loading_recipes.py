"""In which order recipes are loaded, how many at a time, how long a frame waits. With a server: tests/integration/test_warm_recipes.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from processors.recipe_keeping import RecipeKeeping
from schemas.errors import Refused
from schemas.readiness import StageReadiness
from schemas.recipes import DefectClass, GoldenInspection, ModelPin, Recipe, View
from schemas.telemetry import Stage
from topologies import warm_recipes
from topologies.recipe_wishes import RecipeWishes
from topologies.triton import Model, ModelUnusable
from topologies.warm_recipes import LOADS_AT_ONCE, WarmRecipes

RECIPES = tuple(
    Recipe(
        name=f"board-{number}",
        views=(View(name="top"),),
        inspection=GoldenInspection(compare=ModelPin(name=f"compare-{number}", version=1)),
        classes=(DefectClass(name="open"),),
    )
    for number in range(10)
)
KEYS = [recipe.key for recipe in RECIPES]


class Server:
    """Stands for a client of the server; loads take until the test lets them end."""

    def __init__(self) -> None:
        self.ready = True
        self.loading: dict[str, asyncio.Future[None]] = {}
        self.held: set[str] = set()

    async def hold(self, model: Model) -> None:
        if model.pin.name not in self.held:
            self.loading[model.pin.name] = asyncio.get_running_loop().create_future()
            try:
                await self.loading[model.pin.name]
            finally:
                del self.loading[model.pin.name]
            self.held.add(model.pin.name)

    def end(self, number: int, error: ModelUnusable | None = None) -> None:
        """The load of a recipe's model ends."""
        future = self.loading[f"compare-{number}"]
        future.set_result(None) if error is None else future.set_exception(error)

    def holds(self, pin: ModelPin) -> bool:
        return pin.name in self.held

    async def warm_up(self, _pin: ModelPin) -> None:
        """Quick."""

    def let_go(self, pin: ModelPin) -> None:
        self.held.discard(pin.name)

    async def unload(self, _pin: ModelPin) -> None:
        """Nobody asks."""


class Bench:
    """The recipes of a stage that runs, with its server and what PLCs say."""

    def __init__(self, *, kept: int = 3, serves_plcs: bool = True, live: bool = True) -> None:
        self.server, self.stage = Server(), Stage("inspect")
        self.wishes = RecipeWishes(stage="inspect", instance="1")
        server: Any = self.server
        self.recipes = WarmRecipes(
            recipes=RECIPES,
            keeping=RecipeKeeping(recipes=KEYS, at_most=kept, belt_s=0.0, ahead=live),
            wishes=self.wishes,
            triton=server,
            models_of=lambda recipe: [
                Model(pin=recipe.inspection.compare, outputs=(), known={"image": np.zeros(1, np.uint8)})
            ],
            missing_reference=self._no_reference_is_missing,
            stage=self.stage,
            serves_plcs=serves_plcs,
            tells=live,
        )

    async def _no_reference_is_missing(self, _recipe: Recipe, _needed: bool) -> str:
        return ""

    def select(self, *numbers: int) -> None:
        """PLCs have selected these."""
        said = StageReadiness(
            id="plc_gateway/0/1", stage="plc_gateway", instance="0", ready=True, said_at_ns=1,
            selected_recipes=tuple(KEYS[number] for number in numbers),
        )  # fmt: skip
        self.wishes.hear(said, now_s=time.monotonic())
        self.recipes.look()

    async def loads(self, *numbers: int) -> None:
        """Returns when just these are being loaded."""
        await holds(lambda: set(self.server.loading) == {f"compare-{number}" for number in numbers})

    async def end(self, number: int, error: ModelUnusable | None = None) -> None:
        """A load ends, and the stage has taken notice."""
        self.server.end(number, error)
        await holds(lambda: f"compare-{number}" not in self.server.loading)


async def holds(condition: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up_s
        await asyncio.sleep(0.005)


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Bench]:
    bench = Bench(**options)
    work = asyncio.create_task(bench.recipes.run())
    try:
        yield bench
    finally:
        work.cancel()
        await asyncio.wait({work})


async def test_ahead_recipes_are_loaded_one_after_the_other_and_only_as_many_as_are_kept() -> None:
    async with running(kept=2) as bench:
        await bench.loads(0)
        assert not bench.recipes.began
        await bench.end(0)
        await bench.loads(1)
        await bench.end(1)
        await holds(lambda: bench.recipes.began)
        await bench.loads()
        await holds(lambda: bench.stage.recipes.warm == tuple(KEYS[:2]))
        assert set(bench.stage.recipes.lacking) == set(KEYS[2:])


async def test_what_a_plc_selects_waits_for_nobody_and_the_stage_is_ready_with_it() -> None:
    async with running() as bench:
        await bench.loads(0)
        bench.select(7)
        await bench.loads(0, 7)
        bench.select(8)  # changed twice quickly
        await bench.loads(0, 7, 8)
        await bench.end(8)
        await holds(lambda: bench.recipes.began and bench.stage.recipes.warm == (KEYS[8],))
        assert KEYS[8] not in bench.stage.recipes.reasons


async def test_frames_of_many_recipes_load_some_at_a_time_and_the_selected_one_goes_past_them() -> None:
    async with running(kept=1) as bench:
        await bench.loads(0)
        await bench.end(0)

        async def frame(number: int) -> None:
            async with bench.recipes.use(KEYS[number], until_s=None):
                pass

        frames = [asyncio.create_task(frame(number)) for number in range(1, 7)]
        await holds(lambda: len(bench.server.loading) == LOADS_AT_ONCE)
        bench.select(9)
        await holds(lambda: "compare-9" in bench.server.loading)
        await bench.end(9)
        while bench.server.loading:
            await bench.end(int(next(iter(bench.server.loading)).rpartition("-")[2]))
            await asyncio.sleep(0.02)
            assert len(bench.server.loading) <= LOADS_AT_ONCE
        await asyncio.gather(*frames)


async def test_a_frame_whose_recipe_cannot_be_loaded_is_refused_with_the_reason_and_later_ones_at_once() -> None:
    async with running(kept=1) as bench:
        await bench.loads(0)
        await bench.end(0)

        async def frame() -> None:
            async with bench.recipes.use(KEYS[5], until_s=None):
                pass

        waiting = asyncio.create_task(frame())
        await bench.loads(5)
        await bench.end(5, ModelUnusable("compare-5: no such file"))
        with pytest.raises(Refused, match=r"recipe_lacking.*compare-5: no such file"):
            await waiting
        with pytest.raises(Refused, match=r"compare-5: no such file"):
            await asyncio.wait_for(frame(), 1.0)


async def test_a_frame_waits_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_recipes, "LONGEST_WAIT_S", 0.05)
    monkeypatch.setattr(warm_recipes, "LOOK_EVERY_S", 0.02)
    async with running() as bench:
        async with bench.recipes.use(KEYS[5], until_s=time.monotonic() + 0.05):
            assert "compare-5" not in bench.server.held, "it goes on without, for whoever sends it away"
        bench.server.ready = False
        without_end = asyncio.create_task(bench.recipes.use(KEYS[5], until_s=None).__aenter__())
        done, _ = await asyncio.wait({without_end}, timeout=0.3)
        assert not done, "while the server is away, everything waits for it"
        bench.server.ready = True
        with pytest.raises(Refused, match="recipe_lacking"):
            await asyncio.wait_for(without_end, 20)


async def test_a_stage_that_no_part_waits_for_loads_what_its_frames_need_and_nothing_else() -> None:
    async with running(live=False) as bench:
        await holds(lambda: bench.recipes.began)
        bench.select(7)

        async def frame() -> None:
            async with bench.recipes.use(KEYS[5], until_s=None):
                pass

        waiting = asyncio.create_task(frame())
        await bench.loads(5)
        await bench.end(5)
        await waiting
        await holds(lambda: bench.stage.recipes.warm == (KEYS[5],))
        assert bench.stage.recipes.lacking == (), "it holds up no TriggerReady"
        await bench.loads()


async def test_a_model_that_cannot_be_loaded_ends_the_start_only_where_nobody_would_be_told() -> None:
    for serves_plcs, ends in ((True, False), (False, True)):
        bench = Bench(kept=2, serves_plcs=serves_plcs)
        work = asyncio.create_task(bench.recipes.run())
        await bench.loads(0)
        await bench.end(0, ModelUnusable("compare-0: no such file"))
        await bench.loads(1)
        await bench.end(1)
        if ends:
            with pytest.raises(ModelUnusable, match="compare-0"):
                await asyncio.wait_for(work, 20)
        else:
            await holds(lambda bench=bench: bench.recipes.began)  # type: ignore[misc]
            work.cancel()
            await asyncio.wait({work})


async def test_a_stage_that_can_load_nothing_at_all_ends() -> None:
    async with asyncio.timeout(20):
        bench = Bench(kept=1)
        work = asyncio.create_task(bench.recipes.run())
        await bench.loads(0)
        await bench.end(0, ModelUnusable("compare-0: no such file"))
        with pytest.raises(ModelUnusable):
            await work
