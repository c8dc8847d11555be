"""A running line follows the registry: promoted, on canary and rolled back between two frames, and no frame is lost by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from board_frames import frame
from broker import publish, read_until, until
from inspecting import inspecting
from small_models import noisy_grey
from trained_folders import trained

from ops.local.places import CHECKOUT
from ops.local.triton import LocalTriton
from processors.version_choice import in_canary
from schemas.frames import ImageEncoding
from schemas.inspections import Inspection
from schemas.plant import Camera, ExternalSource, Line, Plant, Station
from schemas.reasons import FrameOutcome
from schemas.recipes import DefectClass, ModelPin, Recipe, SegmenterInspection, View
from schemas.records import ModelChange, ModelEvent, version_event_id
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import DEAD_LETTERS, FRAMES, INSPECTIONS, MODELS, READINESS
from topologies.topic_admin import ensure_topics
from training.release import add_version, read_candidate

VIEWS = ("left", "right")
SPOT_GREY = 150
"""A spot for version 2 and not for version 1."""


class Disc:
    """One line with two cameras, its frames and its registry."""

    def __init__(self, name: str, kafka: KafkaSettings, repository: Path) -> None:
        self.kafka, self.repository = kafka, repository
        pin = ModelPin(name="spots", version=1, follow=True)
        self.recipe = Recipe(
            name="disc",
            views=tuple(View(name=name) for name in VIEWS),
            inspection=SegmenterInspection(model=pin),
            classes=(DefectClass(name="spot"),),
        )
        cameras = tuple(Camera(name=name, views=(name,), source=ExternalSource(), repeats="allow") for name in VIEWS)
        station = Station(name="aoi-1", cameras=cameras)
        self.plant = Plant(plant=name, lines=(Line(name="line-1", stations=(station,)),), recipes=(self.recipe,))
        self.parts = 0
        self.steps = 0

    async def say(self, change: ModelChange, version: int, **more: Any) -> None:
        """One more record on `models`."""
        self.steps += 1
        event = ModelEvent(
            id=version_event_id(model="spots", version=version, change=change, at_ns=self.steps), model="spots",
            version=version, digest="", change=change, at_ns=self.steps, by="anna", **more,
        )  # fmt: skip
        await publish(self.kafka, self.plant, MODELS, [("spots", event)])

    async def see(self, count: int) -> None:
        """So many parts more, each seen by both cameras."""
        picture = noisy_grey(self.parts, size_px=(64, 48))
        picture[10:20, 10:20] = SPOT_GREY
        content = cv2.imencode(".png", np.ascontiguousarray(picture))[1].tobytes()
        for part in range(self.parts, self.parts + count):
            frames = [
                frame(
                    content, sequence=part, camera=view, view=view, recipe=self.recipe.key, part_id=str(part),
                    encoding=ImageEncoding.PNG,
                )
                for view in VIEWS
            ]  # fmt: skip
            await publish(self.kafka, self.plant, FRAMES, [(each.camera, each) for each in frames])
        self.parts += count

    async def versions(self) -> dict[str, set[int]]:
        """By part, the versions that judged it, when everything is inspected. None was dropped, and each says what its version finds."""
        found: list[Inspection] = await read_until(self.kafka, self.plant, INSPECTIONS, self.parts * len(VIEWS))
        by_part: dict[str, set[int]] = {}
        for each in found:
            assert (each.outcome, each.detail) == (FrameOutcome.INSPECTED, "")
            (use,) = each.models
            assert bool(each.defects) is (use.version == 2)
            by_part.setdefault(each.part_id, set()).add(use.version)
        assert len(found) == self.parts * len(VIEWS)
        return by_part


def judging(stage: Stage) -> float | None:
    return stage.registry.get_sample_value("linesight_inspect_model_version", {"model": "spots"})


@pytest.fixture
async def line(
    kafka: str, triton_installed: None, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Disc:
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    repository = tmp_path / "models"
    monkeypatch.setenv("TRITON_TRAINED_MODELS", str(repository))
    add_version(repository, "spots", read_candidate(trained(tmp_path / "first" / "spots", level=200.0)), 1)
    line = Disc(unique_prefix, KafkaSettings(), repository)
    await ensure_topics(line.plant, kafka=line.kafka, topics=(FRAMES, INSPECTIONS, DEAD_LETTERS, MODELS, READINESS))
    return line


@pytest.fixture
def server(line: Disc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalTriton]:
    with LocalTriton(tmp_path / "triton", CHECKOUT / "triton_models", models=(), trained=line.repository) as triton:
        monkeypatch.setenv("TRITON_URL", triton.url)
        yield triton


def release_second(line: Disc, tmp_path: Path) -> None:
    add_version(line.repository, "spots", read_candidate(trained(tmp_path / "second" / "spots", level=100.0)), 2)


async def test_canary_promotion_and_rollback_take_effect_between_two_frames(
    line: Disc, server: LocalTriton, tmp_path: Path
) -> None:
    async with inspecting(line.plant, plant_dir=tmp_path) as stage:
        await line.see(5)
        assert set(map(frozenset, (await line.versions()).values())) == {frozenset({1})}

        release_second(line, tmp_path)
        for change, more in (
            (ModelChange.RELEASED, {}),
            (ModelChange.SHADOWED, {}),
            (ModelChange.CANARIED, {"share_ratio": 0.5}),
        ):
            await line.say(change, 2, **more)

        async def canary_judges() -> bool:
            await line.see(4)
            return any(2 in versions for versions in (await line.versions()).values())

        await until(canary_judges, "the canary judges some parts")
        first = line.parts
        await line.see(30)
        judged = await line.versions()
        for part in range(first, line.parts):
            is_canary = in_canary(model="spots", version=2, part=f"aoi-1/{part}", share_ratio=0.5)
            assert judged[str(part)] == {2 if is_canary else 1}, "all views of a part by one version, chosen by its id"

        await line.say(ModelChange.PROMOTED, 2)
        await until(lambda: judging(stage) == 2, "version 2 judges parts")
        first = line.parts
        await line.see(10)
        judged = await line.versions()
        assert all(judged[str(part)] == {2} for part in range(first, line.parts))

        await line.say(ModelChange.ROLLED_BACK, 2)
        await until(lambda: judging(stage) == 1, "version 1 judges parts again")
        first = line.parts
        await line.see(10)
        judged = await line.versions()
        assert all(judged[str(part)] == {1} for part in range(first, line.parts))


async def test_a_version_that_triton_refuses_costs_no_frame(line: Disc, server: LocalTriton, tmp_path: Path) -> None:
    async with inspecting(line.plant, plant_dir=tmp_path) as stage:
        await line.see(3)
        await line.versions()
        release_second(line, tmp_path)
        (line.repository / "spots" / "2" / "model.onnx").write_bytes(b"no graph at all")
        await line.say(ModelChange.RELEASED, 2)
        await line.say(ModelChange.PROMOTED, 2)

        def told() -> bool:
            return bool(stage.registry.get_sample_value("linesight_inspect_noticed_total", {"what": "model_unusable"}))

        async def told_while_parts_come() -> bool:
            await line.see(2)
            return told()

        await until(told_while_parts_come, "it says that the version cannot be served")
        await line.see(10)
        assert set(map(frozenset, (await line.versions()).values())) == {frozenset({1})}
        assert judging(stage) == 1


async def test_what_was_promoted_while_the_stage_was_down_judges_its_first_frame(
    line: Disc, server: LocalTriton, tmp_path: Path
) -> None:
    release_second(line, tmp_path)
    await line.say(ModelChange.RELEASED, 2)
    await line.say(ModelChange.PROMOTED, 2)
    await line.see(8)
    async with inspecting(line.plant, plant_dir=tmp_path):
        assert set(map(frozenset, (await line.versions()).values())) == {frozenset({2})}


async def test_a_pin_that_does_not_follow_stays(line: Disc, server: LocalTriton, tmp_path: Path) -> None:
    fixed = SegmenterInspection(model=ModelPin(name="spots", version=1))
    line.recipe = msgspec.structs.replace(line.recipe, inspection=fixed)
    line.plant = msgspec.structs.replace(line.plant, recipes=(line.recipe,))
    release_second(line, tmp_path)
    await line.say(ModelChange.RELEASED, 2)
    await line.say(ModelChange.PROMOTED, 2)
    await line.see(4)
    async with inspecting(line.plant, plant_dir=tmp_path):
        assert set(map(frozenset, (await line.versions()).values())) == {frozenset({1})}
