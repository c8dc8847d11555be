"""Who looks on while a line learns: sees every part and step on a real broker, and says what the end-of-line test says of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from broker import publish, read_until, until
from trial_records import MODEL, verdict

from cli.learning_watch import AFTER_PROMOTION, LearningWatch
from cli.producing import Sender
from cli.truth import TruthFile
from processors.model_steps import version_step
from schemas.plant_file import load_plant
from schemas.reasons import VerdictValue
from schemas.records import ModelChange
from schemas.settings import KafkaSettings
from schemas.topics import AUDIT, MODELS, RETRAINING, REVIEWS, VERDICTS
from topologies.topic_admin import ensure_topics

PLANT_FILE = """
plant: {name}
lines: [{{ name: line-1, stations: [{{ name: cut, cameras: [{{ name: top, views: [top], source: {{ type: external }} }}] }}] }}]
recipes: [{{ name: disc, views: [{{ name: top }}], inspection: {{ type: segmenter, model: {{ name: spots, version: 1 }} }},
  classes: [{{ name: spot }}] }}]
kafka: {{ partitions: 1 }}
"""
MARK = {"view": "top", "class": "spot", "box": [1, 2, 9, 9]}


def came(part: int, *, bad: bool) -> str:
    """The line of a truth file about a part."""
    return json.dumps({
        "event": "part", "part_id": str(part), "visit": 1, "at_ns": part, "defects": [MARK] if bad else [], "pictures": {},
        "lighting_drift_ratio": 1.5,
    }) + "\n"  # fmt: skip


async def test_parts_are_reviewed_and_a_version_that_judged_enough_of_them_has_learned(
    kafka: str, unique_prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    file = tmp_path / "plant.yaml"
    file.write_text(PLANT_FILE.format(name=unique_prefix), encoding="utf-8")
    plant, settings, truth = load_plant(file), KafkaSettings(), TruthFile(path=tmp_path / "truth.jsonl")
    await ensure_topics(plant, kafka=settings, topics=(VERDICTS, REVIEWS, MODELS, RETRAINING, AUDIT))
    truth.path.write_text("".join(came(part, bad=part == 1) for part in range(AFTER_PROMOTION + 2)))
    said: list[str] = []
    with (
        LearningWatch(plant=plant, kafka=settings, truth=truth, model=MODEL, since_ms=0, say=said.append) as watch,
        Sender(plant=plant, kafka=settings) as sender,
    ):

        async def look() -> None:
            if messages := await asyncio.to_thread(watch.look):
                await asyncio.to_thread(sender.send, messages)

        async def seen(parts: int) -> bool:
            await look()
            return len(watch.parts) == parts

        stranger = verdict(100_000, 1, VerdictValue.NOT_OK)
        line = [stranger, verdict(0, 1, VerdictValue.NOT_OK), verdict(1, 1), verdict(1, 1)]
        await publish(settings, plant, VERDICTS, [("cut", each) for each in line])
        await until(lambda: seen(2), "both parts of this run")
        reviews = await read_until(settings, plant, REVIEWS, 2)
        assert {(each.part_id, each.verdict, each.view) for each in reviews} == {
            ("0", VerdictValue.OK, ""),
            ("1", VerdictValue.NOT_OK, "top"),
        }
        assert len(await read_until(settings, plant, AUDIT, 2)) == 2
        assert [part.escaped for part in watch.parts] == [False, True]
        assert all(part.lamp_failed for part in watch.parts)

        steps = [
            version_step(model=MODEL, version=2, digest="sha256:2", change=change, at_ns=at_ns, by="trainer", detail="")
            for at_ns, change in ((10, ModelChange.RELEASED), (20, ModelChange.PROMOTED))
        ]
        await publish(settings, plant, MODELS, [(MODEL, step) for step in steps])
        judged = [
            msgspec.structs.replace(verdict(part, 2), arrived_at_ns=100 + part)
            for part in range(2, AFTER_PROMOTION + 2)
        ]
        await publish(settings, plant, VERDICTS, [("cut", each) for each in judged[:-1]])
        await until(lambda: seen(AFTER_PROMOTION + 1), "all but the last part")
        assert not watch.has_learned
        await publish(settings, plant, VERDICTS, [("cut", judged[-1])])
        watch.finish()
        assert watch.has_learned
        assert [event.change for event in watch.events] == ["released", "promoted"]
        assert any("promoted version 2" in line for line in said)
