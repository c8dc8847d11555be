"""`linesight datasets build` on a real broker: reviews of a line and its recorded pictures become a dataset."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from broker import publish
from typer.testing import CliRunner

from cli.main import app
from schemas.inspections import Defect, Inspection
from schemas.object_store import FolderStore, digest_of, sha256_hex
from schemas.plant_file import load_plant
from schemas.reasons import FailSafe, FrameOutcome, VerdictValue
from schemas.recipes import PairSegmenterInspection, Recipe, View
from schemas.records import Review
from schemas.settings import KafkaSettings
from schemas.topics import INSPECTIONS, REVIEWS, VERDICTS
from schemas.verdicts import Verdict, ViewResult, picture_key, verdict_id
from simulation import boards
from simulation.pictures import take_pictures
from topologies.topic_admin import ensure_topics
from training.datasets import checked, read_rows
from training.labels import read_samples
from training.laid_pairs import LaidReferences

PLANT_FILE = """
plant: {name}
lines: [{{ name: line-1, stations: [{{ name: cut, cameras: [{{ name: top, views: [top], source: {{ type: external }} }}] }}] }}]
recipes: [{{ name: board, views: [{{ name: top }}], inspection: {{ type: golden }}, classes: [{{ name: open }}] }}]
kafka: {{ partitions: 2 }}
"""


def png(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (40, 60), dtype=np.uint8)
    return bytes(cv2.imencode(".png", cv2.GaussianBlur(noise, (0, 0), 3) * 3)[1])


def verdict(part: int, image: bytes) -> tuple[str, Verdict]:
    return "cut", Verdict(
        id=verdict_id(station="cut", part_id=str(part), visit=1, revision=1),
        station="cut",
        line="line-1",
        part_id=str(part),
        visit=1,
        revision=1,
        verdict=VerdictValue.NOT_OK,
        action=FailSafe.REJECT,
        arrived_at_ns=1,
        decided_at_ns=2,
        recipe="board@1",
        views=(ViewResult(view="top", image_sha256=sha256_hex(image), camera="top"),),
    )


def review(part: int, *defects: Defect) -> tuple[str, Review]:
    return "cut", Review(
        id=f"cut/{part}/1/anna/{part}",
        station="cut",
        part_id=str(part),
        visit=1,
        reviewer="anna",
        reviewed_at_ns=part,
        verdict=VerdictValue.NOT_OK if defects else VerdictValue.OK,
        view="top" if defects else "",
        defects=defects,
    )


async def test_reviewed_parts_become_a_dataset_that_can_be_trained_on(
    kafka: str, unique_prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    file = tmp_path / "plant.yaml"
    file.write_text(PLANT_FILE.format(name=unique_prefix), encoding="utf-8")
    plant, settings, store = load_plant(file), KafkaSettings(), FolderStore(tmp_path / "objects")
    await ensure_topics(plant, kafka=settings, topics=(VERDICTS, REVIEWS))
    images = [png(part) for part in range(12)]
    for image in images[:11]:  # the last one was not kept
        store.put(picture_key(sha256_hex(image)), image)
    await publish(settings, plant, VERDICTS, [verdict(part, image) for part, image in enumerate(images)])
    mark = Defect(class_name="open", score=1.0, box=(3, 4, 20, 22), area_px=100.0)
    reviews = [review(part, *([mark] if part % 3 == 0 else [])) for part in range(12)]
    await publish(settings, plant, REVIEWS, [*reviews, *reviews[:4], review(77)])

    out = tmp_path / "frozen"
    done = CliRunner().invoke(app, ["datasets", "build", "--plant", str(file), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert sum(told["images"].values()) == 11
    assert told["left_out"] == {"verdict_gone": 1, "picture_gone": 1}
    assert checked(out) == []
    rows = {row.part: row for row in read_rows(out)}
    assert (rows["cut/3"].source, rows["cut/3"].labelled_by, rows["cut/3"].labelled_at_ns) == (
        "cut/3/1/anna/3",
        "anna",
        3,
    )
    samples = {each.group: each for each in read_samples(out / "train.jsonl") + read_samples(out / "test.jsonl")}
    assert {name: each.label for name, each in samples.items()} == {
        f"cut/{part}": "open" if part % 3 == 0 else "good" for part in range(11)
    }
    assert samples["cut/3"].regions is not None
    assert samples["cut/3"].regions[0].box == (3, 4, 20, 22)
    assert samples["cut/3"].image.read_bytes() == images[3]


async def test_the_frames_worth_a_look_are_told_without_those_that_were_reviewed(
    kafka: str, unique_prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    file = tmp_path / "plant.yaml"
    file.write_text(PLANT_FILE.format(name=unique_prefix), encoding="utf-8")
    plant, settings = load_plant(file), KafkaSettings()
    await ensure_topics(plant, kafka=settings, topics=(INSPECTIONS, REVIEWS))
    frames = [
        Inspection(
            id=f"top/s/{number}", station="cut", camera="top", view="top", session="s", sequence=number,
            part_id=str(number), visit=1, outcome=FrameOutcome.INSPECTED, recipe="board@1",
            anomaly_score=0.5 - number / 100, image_sha256=f"{number:064x}", frame_partition=1, frame_offset=number,
        )
        for number in range(6)
    ]  # fmt: skip
    await publish(settings, plant, INSPECTIONS, [("cut", each) for each in [*frames, *frames]])
    await publish(settings, plant, REVIEWS, [review(0)])
    done = CliRunner().invoke(app, ["datasets", "select", "--plant", str(file), "--budget", "2", "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [(row["part_id"], row["worth"]) for row in rows] == [("1", "uncertain"), ("2", "uncertain")]
    assert rows[0]["picture"] == picture_key(f"{1:064x}")


PAIRED_PLANT_FILE = """
plant: {name}
lines: [{{ name: line-1, stations: [{{ name: cut, cameras: [{{ name: top, views: [top], source: {{ type: external }} }}] }}] }}]
recipes: [{{ name: board, views: [{{ name: top, reference: golden.png }}], classes: [{{ name: open }}],
  inspection: {{ type: pair_segmenter, model: {{ name: boards, version: 1 }} }} }}]
kafka: {{ partitions: 1 }}
"""


async def test_a_dataset_shows_pairs_as_the_line_does(
    kafka: str, unique_prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    golden = bytes(cv2.imencode(".png", boards.reference("controller", "left"))[1])
    (tmp_path / "golden.png").write_bytes(golden)
    file = tmp_path / "plant.yaml"
    file.write_text(PAIRED_PLANT_FILE.format(name=unique_prefix), encoding="utf-8")
    plant, settings, store = load_plant(file), KafkaSettings(), FolderStore(tmp_path / "objects")
    await ensure_topics(plant, kafka=settings, topics=(VERDICTS, REVIEWS))
    view = Recipe(name="board-a", views=(View(name="top"),), inspection=plant.recipes[0].inspection, classes=())
    images = [take_pictures(view, defects=(), lighting_drift_ratio=0.0, seed=(part,)).jpegs["top"] for part in range(3)]
    images.append(bytes(cv2.imencode(".png", boards.reference("sensor", "left"))[1]))  # the line could not align it
    for image in images:
        store.put(picture_key(sha256_hex(image)), image)
    compared = [verdict(part, image) for part, image in enumerate(images)]
    shown = [
        (key, msgspec.structs.replace(
            each, views=(msgspec.structs.replace(each.views[0], reference=digest_of(golden)),)
        ))
        for key, each in compared
    ]  # fmt: skip
    await publish(settings, plant, VERDICTS, shown)
    await publish(settings, plant, REVIEWS, [review(part) for part in range(4)])
    out = tmp_path / "frozen"
    done = CliRunner().invoke(app, ["datasets", "build", "--plant", str(file), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["left_out"] == {"not_aligned": 1}
    assert checked(out) == []
    inspection = plant.recipes[0].inspection
    assert isinstance(inspection, PairSegmenterInspection)
    for row in read_rows(out):
        part = int(row.part.rpartition("/")[2])
        assert row.reference is not None
        assert (out / row.reference).read_bytes() == LaidReferences().laid(images[part], golden, inspection)
