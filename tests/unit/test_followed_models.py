"""What a process holds for the pins that follow: what judges, what judged until a moment ago, and nothing that the server refuses."""

from __future__ import annotations

from typing import Any

from followed_disc import frame, plant
from model_events import version_event

from processors.frame_checks import Assignment
from processors.model_registry import Registry
from processors.version_choice import in_canary
from schemas.recipes import ModelPin
from schemas.records import ModelChange
from schemas.telemetry import Stage
from topologies.followed_models import DRAIN_S, RETRY_S, FollowedModels
from topologies.triton import Model, ModelUnusable

MODEL = "boards"
SPOTS = '{"family":"segmenter","classes":["spot"],"colour":false,"scale":1.0,"paired":false}'
RELEASED, PROMOTED, ROLLED_BACK = ModelChange.RELEASED, ModelChange.PROMOTED, ModelChange.ROLLED_BACK
CANARIED = ModelChange.CANARIED


class Server:
    """Stands in for Triton: what is held, and which versions it refuses."""

    def __init__(self) -> None:
        self.held: set[int] = set()
        self.refused: set[int] = set()
        self.settings = SPOTS

    def parameters(self, _pin: ModelPin) -> dict[str, str]:
        return {"settings": self.settings}

    def holds(self, pin: ModelPin) -> bool:
        return pin.version in self.held

    async def hold(self, model: Model) -> None:
        if model.pin.version in self.refused:
            raise ModelUnusable("no graph at all")
        self.held.add(model.pin.version)

    async def warm_up(self, pin: ModelPin) -> None:
        assert pin.version in self.held

    def let_go(self, pin: ModelPin) -> None:
        self.held.remove(pin.version)


class Follower:
    """One process's followed models on a server that stands in."""

    def __init__(self) -> None:
        self.plant = plant(ModelPin(name=MODEL, version=1, follow=True))
        self.server, self.stage = Server(), Stage("inspect")
        self.server.held.add(1)  # the pinned one is the recipe's
        self.models = FollowedModels(
            plant=self.plant,
            registry=Registry(),
            triton=self.server,
            stage=self.stage,  # type: ignore[arg-type]
        )
        self.models._began.set()  # the topic was read
        self.at_ns = 0

    async def say(self, change: ModelChange, version: int, *, now_s: float = 0.0, **more: Any) -> None:
        self.at_ns += 1
        self.models.take(version_event(change, version, self.at_ns, **more))
        await self.models.load(now_s=now_s)

    @property
    def planned(self) -> Assignment:
        (recipe,), camera = self.plant.recipes, self.plant.cameras["top"]
        return Assignment(camera=camera, recipe=recipe, view=recipe.views[0])

    async def version(self, part: str) -> int:
        (pin,) = (await self.models.assigned(self.planned, frame(part))).inspection.models
        return pin.version

    async def instead(self, part: str) -> tuple[list[int], list[tuple[int, str]]] | None:
        """Who judges the part after its version failed on it, and which failed, with its digest."""
        assigned = await self.models.assigned(self.planned, frame(part))
        found = self.models.instead(self.planned, assigned, frame(part))
        if found is None:
            return None
        return [pin.version for pin in found[0].inspection.models], [(use.version, use.digest) for use in found[1]]

    def told(self) -> float:
        return (
            self.stage.registry.get_sample_value("linesight_inspect_noticed_total", {"what": "model_unusable"}) or 0.0
        )


async def test_a_part_that_was_begun_ends_with_its_version_and_the_version_goes_after_it() -> None:
    line = Follower()
    for change in (RELEASED, PROMOTED):
        await line.say(change, 2)
    assert await line.version("begun") == 2
    await line.say(ROLLED_BACK, 2, now_s=100.0)
    assert await line.version("begun") == 2
    assert await line.version("new") == 1
    await line.models.load(now_s=100.0 + DRAIN_S - 1)
    assert line.server.held == {1, 2}
    await line.models.load(now_s=100.0 + DRAIN_S)
    assert line.server.held == {1}
    assert await line.version("begun") == 1


async def test_what_the_server_refuses_is_told_once_and_judges_once_it_is_mended() -> None:
    line = Follower()
    line.server.refused.add(2)
    for change in (RELEASED, PROMOTED):
        await line.say(change, 2)
    await line.models.load(now_s=RETRY_S)
    assert (await line.version("a"), line.told()) == (1, 1.0)
    line.server.refused.clear()
    await line.models.load(now_s=2 * RETRY_S)
    assert await line.version("b") == 2


async def test_a_version_that_does_not_say_how_its_answers_are_read_judges_nothing() -> None:
    line = Follower()
    line.server.settings = ""
    for change in (RELEASED, PROMOTED):
        await line.say(change, 2)
    assert (await line.version("a"), line.told()) == (1, 1.0)
    line.server.settings = SPOTS
    await line.models.load(now_s=RETRY_S)
    assert await line.version("b") == 2


async def test_who_judges_the_others_judges_a_part_on_which_a_canary_fails() -> None:
    line = Follower()
    for change, version in ((RELEASED, 2), (PROMOTED, 2), (RELEASED, 3)):
        await line.say(change, version)
    await line.say(CANARIED, 3, share_ratio=0.5)
    mine = next(
        str(part) for part in range(100) if in_canary(model=MODEL, version=3, part=f"cut/{part}", share_ratio=0.5)
    )
    assert await line.version(mine) == 3
    assert await line.instead(mine) == ([2], [(3, "sha256:3")])
    assert await line.version(mine) == 2, "its other views"
    assert await line.instead(mine) is None, "there is nobody in the champion's place"


async def test_what_the_server_lost_is_not_asked_and_is_held_again() -> None:
    line = Follower()
    for version in (2, 3):
        for change in (RELEASED, PROMOTED):
            await line.say(change, version)
    assert await line.version("a") == 3
    line.server.held.remove(3)
    assert await line.version("b") == 2, "the champion before it was kept"
    await line.models.load(now_s=1.0)
    assert await line.version("c") == 3
