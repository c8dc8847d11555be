"""The retraining stage on a real broker: it asks once, with evidence, and a restart neither forgets nor repeats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from broker import publish, publish_raw, read_to_end, until
from drifting_verdicts import SETTINGS, plant_named, reviewed, scored

from schemas.plant import Plant
from schemas.reasons import VerdictValue
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import DEAD_LETTERS, RETRAINING, VERDICTS
from topologies.retraining_stage import run
from topologies.topic_admin import ensure_topics

LEARNED = SETTINGS.baseline_views
FULL = SETTINGS.window_views


@pytest.fixture
def settings(kafka: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> KafkaSettings:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("LINESIGHT_RUN_DIR", str(tmp_path))
    return KafkaSettings()


@pytest.fixture
async def plant(settings: KafkaSettings, unique_prefix: str) -> Plant:
    plant = plant_named(unique_prefix)
    await ensure_topics(plant, kafka=settings, topics=(VERDICTS, RETRAINING, DEAD_LETTERS))
    return plant


@asynccontextmanager
async def running(plant: Plant) -> AsyncIterator[Stage]:
    stop, stage = asyncio.Event(), Stage("retraining")
    task = asyncio.create_task(run(plant, plant_dir=Path(), stage=stage, stop=stop))
    try:
        yield stage
    finally:
        stop.set()
        await asyncio.wait_for(task, 12)


async def finished(stage: Stage, count: int) -> None:
    def value(name: str, **labels: str) -> float:
        return stage.registry.get_sample_value(f"linesight_retraining_{name}", labels) or 0.0

    await until(
        lambda: value("in_total", topic="verdicts") == count and value("in_progress") == 0,
        f"{count} verdicts are finished",
    )


async def test_a_shift_of_the_scores_asks_once_and_a_restart_does_not_ask_again(
    settings: KafkaSettings, plant: Plant
) -> None:
    ordinary, drifted = LEARNED + FULL, 2 * FULL
    async with running(plant) as stage:
        await publish(settings, plant, VERDICTS, [scored(n) for n in range(ordinary)])
        await finished(stage, ordinary)
    assert await read_to_end(settings, plant, RETRAINING) == []
    async with running(plant) as stage:  # what it learned is known again after a restart
        await publish(settings, plant, VERDICTS, [scored(ordinary + n, shift=0.5) for n in range(drifted)])
        await finished(stage, drifted)
    (trigger,) = await read_to_end(settings, plant, RETRAINING)
    assert (trigger.model, trigger.cause, trigger.station) == ("defect_classifier", "score_shift", "aoi-1")
    assert trigger.id == f"defect_classifier/score_shift/{trigger.fired_at_ns}"
    (evidence,) = trigger.evidence
    assert evidence.observed >= evidence.threshold == SETTINGS.minimum_distance
    assert evidence.p_value <= SETTINGS.p_value
    assert evidence.sample_size == FULL
    assert evidence.examples
    async with running(plant) as stage:
        await publish(settings, plant, VERDICTS, [scored(ordinary + drifted + n, shift=0.5) for n in range(FULL)])
        await finished(stage, FULL)
    assert await read_to_end(settings, plant, RETRAINING) == [trigger]


async def test_a_bad_batch_asks_for_nothing_and_pictures_that_darken_do(settings: KafkaSettings, plant: Plant) -> None:
    ordinary = LEARNED + FULL
    bad = [scored(1_000 + n, shift=0.9, brightness=0.5, value=VerdictValue.NOT_OK) for n in range(2 * FULL)]
    async with running(plant) as stage:
        await publish(settings, plant, VERDICTS, [*(scored(n) for n in range(ordinary)), *bad])
        await finished(stage, ordinary + len(bad))
        assert await read_to_end(settings, plant, RETRAINING) == []
        await publish(settings, plant, VERDICTS, [scored(2_000 + n, brightness=0.9) for n in range(2 * FULL)])
        await finished(stage, ordinary + len(bad) + 2 * FULL)
    (trigger,) = await read_to_end(settings, plant, RETRAINING)
    assert (trigger.cause, trigger.evidence[0].statistic) == ("image_shift", "level_ratio_ks_distance")


async def test_people_who_disagree_ask_for_it_too_also_about_parts_of_before_a_restart(
    settings: KafkaSettings, plant: Plant
) -> None:
    count = SETTINGS.minimum_reviews
    async with running(plant) as stage:
        await publish(settings, plant, VERDICTS, [scored(n, value=VerdictValue.NOT_OK) for n in range(count)])
        await publish(settings, plant, VERDICTS, [reviewed(n, VerdictValue.NOT_OK) for n in range(count - 2)])
        await finished(stage, 2 * count - 2)
        assert await read_to_end(settings, plant, RETRAINING) == []
    async with running(plant) as stage:
        last = [reviewed(n, VerdictValue.OK) for n in (count - 2, count - 1)]
        await publish(settings, plant, VERDICTS, last)
        await finished(stage, 2)
    (trigger,) = await read_to_end(settings, plant, RETRAINING)
    assert (trigger.model, trigger.cause) == ("defect_classifier", "reviews")
    (evidence,) = trigger.evidence
    assert (evidence.observed, evidence.sample_size) == (2 / count, count)
    assert evidence.examples == tuple(verdict.id for _, verdict in last)


async def test_the_first_verdict_of_a_part_of_long_ago_is_looked_up(
    settings: KafkaSettings, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processors.drift.KEPT_PARTS", 1)
    count = SETTINGS.minimum_reviews
    await publish(settings, plant, VERDICTS, [scored(n, value=VerdictValue.NOT_OK) for n in range(count)])
    await publish(settings, plant, VERDICTS, [reviewed(n, VerdictValue.OK) for n in range(count)])
    await publish(settings, plant, VERDICTS, [reviewed(count + 1, VerdictValue.OK)])
    async with running(plant) as stage:
        await finished(stage, 2 * count + 1)
        gone = stage.registry.get_sample_value("linesight_retraining_noticed_total", {"what": "first_verdict_gone"})
        assert gone == 1
    (trigger,) = await read_to_end(settings, plant, RETRAINING)
    assert trigger.evidence[0].observed == 1.0


async def test_a_verdict_that_cannot_be_read_goes_to_the_dead_letters(settings: KafkaSettings, plant: Plant) -> None:
    await publish_raw(settings, plant, VERDICTS, [("aoi-1", b"\xc1", [("schema", b"Verdict/1")])])
    async with running(plant) as stage:
        await finished(stage, 1)
    (letter,) = await read_to_end(settings, plant, DEAD_LETTERS)
    assert (letter.reason, letter.stage) == ("truncated", "retraining")
