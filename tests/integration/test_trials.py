"""Versions on a running line, taken through shadow, canary and probation by rule: `inspect`, the judge and the trainer on real services.

The models are small graphs; what is bad about each is what can be bad about a trained one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from broker import publish, read_to_end, until
from disc_line import VIEWS, Disc, add_version_of, disc_line, disc_server
from inspecting import inspecting
from judged_parts import arrival

from cli.trainer_stage import run as run_trainer
from ops.local.triton import LocalTriton
from processors.model_registry import Registry
from processors.model_state import PIN, ModelState, Standing
from schemas.inspections import Inspection
from schemas.learning_settings import LearningSettings
from schemas.reasons import FrameOutcome, VerdictValue
from schemas.records import ModelChange, ModelEvent
from schemas.telemetry import Stage
from schemas.topics import (
    AUDIT,
    COMMANDS,
    DEFECTS,
    INSPECTIONS,
    MODELS,
    PLC_EVENTS,
    RETRAINING,
    REVIEWS,
    VERDICTS,
)
from topologies.judge_stage import JudgeHandler
from topologies.line_runner import LineRunner
from topologies.topic_admin import ensure_topics

UNSEEN_GREY = 60
"""No spot for any version."""
FAINT_GREY = 170
"""A spot for a version with a level of 150, which is above the disc itself, and not for version 1."""
WHITE = 255
"""A spot for all of them; those that `fail on white` come to grief."""


@pytest.fixture
async def line(
    kafka: str, triton_installed: None, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Disc:
    line = await disc_line(kafka, unique_prefix, tmp_path, monkeypatch)
    monkeypatch.setenv("LINESIGHT_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("LINESIGHT_PLANT_FILE", str(tmp_path / "plant.yaml"))
    topics = (AUDIT, COMMANDS, DEFECTS, PLC_EVENTS, RETRAINING, REVIEWS, VERDICTS)
    await ensure_topics(line.plant, kafka=line.kafka, topics=topics)
    return line


@pytest.fixture
def server(line: Disc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalTriton]:
    with disc_server(line, tmp_path, monkeypatch) as triton:
        yield triton


@asynccontextmanager
async def judging_by_rule(line: Disc, folder: Path, limits: LearningSettings) -> AsyncIterator[Stage]:
    """Inspect, judge and trainer; what one of them raises fails the test."""
    line.plant = msgspec.structs.replace(line.plant, learning=limits)
    stop, judge, trainer = asyncio.Event(), Stage("judge"), Stage("trainer")
    handler = JudgeHandler(plant=line.plant, stage=judge, kafka=line.kafka, limits=None)
    runner = LineRunner(
        plant=line.plant, stage=judge, topics=(PLC_EVENTS, INSPECTIONS, REVIEWS), handler=handler, kafka=line.kafka
    )
    tasks = [
        asyncio.create_task(runner.run(stop)),
        asyncio.create_task(run_trainer(line.plant, plant_dir=folder, stage=trainer, stop=stop)),
    ]
    try:
        async with inspecting(line.plant, plant_dir=folder) as inspect:
            await until(lambda: judge.ready and trainer.ready, "the judge and the trainer are ready")
            yield inspect
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 30)
        await handler.close()


async def see(line: Disc, spot: int) -> None:
    """One part more: it arrives, and both cameras see it."""
    event = arrival(str(line.parts), recipe=line.recipe.key, views=VIEWS, occurred_at_ns=time.time_ns())
    await publish(line.kafka, line.plant, PLC_EVENTS, [("aoi-1", event)])
    await line.see(1, spot=spot)


async def state(line: Disc) -> ModelState:
    return Registry(await read_to_end(line.kafka, line.plant, MODELS)).state("spots")


async def seen_until(line: Disc, version: int, standing: Standing, *, spot: int) -> ModelState:
    """Parts come until the version stands there."""
    found: list[ModelState] = []

    async def stands() -> bool:
        await see(line, spot)
        found[:] = [await state(line)]
        return found[0].versions[version].standing is standing

    await until(stands, f"version {version} is {standing}")
    return found[0]


async def last_event(line: Disc, change: ModelChange) -> ModelEvent:
    events: list[ModelEvent] = await read_to_end(line.kafka, line.plant, MODELS)
    return next(each for each in reversed(events) if each.change is change)


async def release(line: Disc, version: int, folder: Path, **model: Any) -> None:
    """As a training run does: the version is in the repository, and the topic says so."""
    add_version_of(line, folder, version, **model)
    await line.say(ModelChange.RELEASED, version, run="spots/run/1")


def unmet(event: ModelEvent) -> set[str]:
    return {gate.name for gate in event.gates if not gate.passed}


async def test_bad_versions_are_let_go_in_shadow_and_no_part_meets_them(
    line: Disc, server: LocalTriton, tmp_path: Path
) -> None:
    limits = LearningSettings(shadow_frames=1_000, extra_ratio=0.1, most_errors=0)
    async with judging_by_rule(line, tmp_path, limits):
        await release(line, 2, tmp_path, level=200.0, fault="fails on white")
        await seen_until(line, 2, Standing.SHADOW, spot=UNSEEN_GREY)
        await seen_until(line, 2, Standing.REJECTED, spot=WHITE)
        crashed = await last_event(line, ModelChange.REJECTED)

        await release(line, 3, tmp_path, level=200.0, fault="slow")
        await seen_until(line, 3, Standing.REJECTED, spot=UNSEEN_GREY)
        slow = await last_event(line, ModelChange.REJECTED)

        await release(line, 4, tmp_path, level=150.0)
        found = await seen_until(line, 4, Standing.REJECTED, spot=FAINT_GREY)
        wrong = await last_event(line, ModelChange.REJECTED)

        async def all_inspected() -> bool:
            return len(await read_to_end(line.kafka, line.plant, INSPECTIONS)) == line.parts * len(VIEWS)

        await until(all_inspected, "every frame is inspected")
    assert "errors_count" in unmet(crashed)  # after so few frames, slow ones may stand beside it on a busy machine
    assert unmet(slow) == {"slow_ratio"}
    assert unmet(wrong) == {"extra_ratio"}
    assert (crashed.by, crashed.version, slow.version, wrong.version) == ("trainer", 2, 3, 4)
    assert (found.champion, found.candidate) == (PIN, None)
    inspections: list[Inspection] = await read_to_end(line.kafka, line.plant, INSPECTIONS)
    assert {each.outcome for each in inspections} == {FrameOutcome.INSPECTED}
    assert {use.version for each in inspections for use in each.models} == {1}
    audit = await read_to_end(line.kafka, line.plant, AUDIT)
    assert [each.action for each in audit] == ["model_shadowed", "model_rejected"] * 3


async def test_the_rules_promote_and_what_shows_only_then_is_rolled_back(
    line: Disc, server: LocalTriton, tmp_path: Path
) -> None:
    limits = LearningSettings(
        shadow_frames=10, shadow_bad_frames=0, canary_share_ratio=0.5, canary_parts=8, probation_parts=200
    )
    async with judging_by_rule(line, tmp_path, limits):
        await release(line, 2, tmp_path, level=200.0, fault="fails on white")
        await seen_until(line, 2, Standing.CANARY, spot=UNSEEN_GREY)
        await seen_until(line, 2, Standing.ROLLED_BACK, spot=WHITE)
        crashed = await last_event(line, ModelChange.ROLLED_BACK)

        await release(line, 3, tmp_path, level=150.0)
        champion = await seen_until(line, 3, Standing.CHAMPION, spot=UNSEEN_GREY)
        promoted = await last_event(line, ModelChange.PROMOTED)
        before = line.parts
        back = await seen_until(line, 3, Standing.ROLLED_BACK, spot=FAINT_GREY)
        worse = await last_event(line, ModelChange.ROLLED_BACK)

        async def all_judged() -> bool:
            return len(await read_to_end(line.kafka, line.plant, VERDICTS)) == line.parts

        await until(all_judged, "every part has its verdict")
    assert "errors_count" in unmet(crashed)
    assert (champion.champion, promoted.version, unmet(promoted)) == (3, 3, set())
    assert "overkill_p_value" in unmet(worse)
    assert (back.champion, worse.beside) == (PIN, PIN)
    inspections: list[Inspection] = await read_to_end(line.kafka, line.plant, INSPECTIONS)
    assert {each.outcome for each in inspections} == {FrameOutcome.INSPECTED}, (
        "not even what the canary could not stand"
    )
    replaced = [(each.models, each.failed_models) for each in inspections if each.failed_models]
    assert {(judged.version, failed.version) for (judged,), (failed,) in replaced} == {(1, 2)}
    assert len(inspections) == line.parts * len(VIEWS)
    verdicts = await read_to_end(line.kafka, line.plant, VERDICTS)
    assert all(each.verdict is not VerdictValue.NOT_DECIDABLE for each in verdicts)
    wrongly = [each for each in verdicts if each.verdict is VerdictValue.NOT_OK and int(each.part_id) >= before]
    assert {use.version for each in wrongly for use in each.models} == {3}
