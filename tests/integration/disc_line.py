"""A disc with two cameras, judged by a followed model: its frames, its registry, its Triton."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from board_frames import frame
from broker import publish, read_until
from small_models import noisy_grey
from trained_folders import trained

from ops.local.places import CHECKOUT
from ops.local.triton import LocalTriton
from schemas.frames import ImageEncoding
from schemas.inspections import Inspection
from schemas.plant import Camera, ExternalSource, Line, Plant, Station
from schemas.reasons import FrameOutcome
from schemas.recipes import DefectClass, ModelPin, Recipe, SegmenterInspection, View
from schemas.records import ModelChange, ModelEvent, version_event_id
from schemas.settings import KafkaSettings
from schemas.topics import DEAD_LETTERS, FRAMES, INSPECTIONS, MODELS, READINESS, SHADOWS
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
        self.digests: set[str] = set()

    def pin(self, pin: ModelPin) -> None:
        """Another pin in the recipe."""
        self.recipe = msgspec.structs.replace(self.recipe, inspection=SegmenterInspection(model=pin))
        self.plant = msgspec.structs.replace(self.plant, recipes=(self.recipe,))

    async def say(self, change: ModelChange, version: int, **more: Any) -> None:
        """One more record on `models`."""
        self.steps += 1
        event = ModelEvent(
            id=version_event_id(model="spots", version=version, change=change, at_ns=self.steps), model="spots",
            version=version, digest=more.pop("digest", ""), change=change, at_ns=self.steps, by="anna", **more,
        )  # fmt: skip
        await publish(self.kafka, self.plant, MODELS, [("spots", event)])

    async def see(self, count: int, *, spot: int = SPOT_GREY) -> None:
        """So many parts more, each with a spot of that grey and seen by both cameras."""
        picture = noisy_grey(self.parts, size_px=(64, 48))
        picture[10:20, 10:20] = spot
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
            self.digests.add(use.digest)
        assert len(found) == self.parts * len(VIEWS)
        return by_part


async def disc_line(kafka: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Disc:
    """The line with version 1 in its repository, which sees nothing on a disc, and the topics that `inspect` needs."""
    monkeypatch.setenv("OBJECT_STORE_URL", str(folder / "objects"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    repository = folder / "models"
    monkeypatch.setenv("TRITON_TRAINED_MODELS", str(repository))
    add_version(repository, "spots", read_candidate(trained(folder / "first" / "spots", level=200.0)), 1)
    line = Disc(name, KafkaSettings(), repository)
    topics = (FRAMES, INSPECTIONS, DEAD_LETTERS, MODELS, READINESS, SHADOWS)
    await ensure_topics(line.plant, kafka=line.kafka, topics=topics)
    return line


@contextmanager
def disc_server(line: Disc, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalTriton]:
    """A Triton that serves the line's models."""
    with LocalTriton(folder / "triton", CHECKOUT / "triton_models", models=(), trained=line.repository) as triton:
        monkeypatch.setenv("TRITON_URL", triton.url)
        yield triton


def add_second(line: Disc, folder: Path, *, level: float = 100.0, **more: Any) -> None:
    """Version 2 in the repository: by itself one that takes the spot on every disc for a defect."""
    add_version_of(line, folder, 2, level=level, **more)


def add_version_of(line: Disc, folder: Path, version: int, *, unserved: Collection[int] = (), **model: Any) -> None:
    """One more version in the repository, as it is released where recipes follow the model."""
    candidate = read_candidate(trained(folder / f"version-{version}" / "spots", **model))
    add_version(line.repository, "spots", candidate, version, unserved=unserved, is_told=True)
