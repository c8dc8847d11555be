"""The reader in docs/examples, as a subscriber runs it: its own process, real Kafka, nothing of Linesight imported."""

from __future__ import annotations

import ast
import json
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from schemas.codec import encode
from schemas.inspections import ModelUse
from schemas.reasons import VerdictValue
from schemas.topics import DEFECTS
from schemas.verdicts import DefectEvent, picture_key

ROOT = Path(__file__).parents[2]
READER = ROOT / "docs/examples/read_defects.py"


def defect(number: int, *, part: str = "SN-1", revision: int = 1) -> DefectEvent:
    return DefectEvent(
        id=f"aoi-1/{part}/1/{revision}/{number}",
        line="line-1",
        station="aoi-1",
        part_id=part,
        visit=1,
        revision=revision,
        verdict=VerdictValue.NOT_OK,
        recipe="board-a@1",
        batch="lot-9",
        camera="left",
        view="left",
        class_name="short",
        score=0.875,
        box=(1, 2, 30, 40),
        area_px=55.5,
        decided_at_ns=1_767_225_600_000_000_000,
        captured_at_ns=1_767_225_599_000_000_000,
        picture=picture_key("ab" * 32),
        models=(ModelUse(model="defect_classifier", version=1, digest="sha256:00"),),
    )


@pytest.fixture
def topic(kafka: str, unique_prefix: str) -> str:
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        admin.create_topics([NewTopic(DEFECTS.on(unique_prefix), num_partitions=2, replication_factor=1)])
    finally:
        admin.close()
    return DEFECTS.on(unique_prefix)


def publish(kafka: str, topic: str, events: Sequence[DefectEvent]) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka, acks="all")
    try:
        for event in events:
            value, headers = encode(DEFECTS, event)
            producer.send(topic, key=event.station.encode(), value=value, headers=headers).get(timeout=20)
    finally:
        producer.close(timeout=20)


def read(kafka: str, plant: str, *options: str) -> tuple[list[dict[str, Any]], str]:
    """What the reader prints until nothing has come for 4 s."""
    done = subprocess.run(
        [sys.executable, str(READER), kafka, plant, "--idle-s", "4", *options],
        capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_every_defect_is_read_once_with_all_its_fields(kafka: str, topic: str, unique_prefix: str) -> None:
    first, second = defect(0), defect(1)
    publish(kafka, topic, [first, second, first, second, defect(0, revision=2)])
    told, complaints = read(kafka, unique_prefix, "--from-beginning")
    assert [row["id"] for row in told] == ["aoi-1/SN-1/1/1/0", "aoi-1/SN-1/1/1/1", "aoi-1/SN-1/1/2/0"]
    assert told[0] == {
        "id": "aoi-1/SN-1/1/1/0", "line": "line-1", "station": "aoi-1", "part_id": "SN-1", "visit": 1, "revision": 1,
        "verdict": "NOT_OK", "recipe": "board-a@1", "batch": "lot-9", "camera": "left", "view": "left", "class": "short",
        "score": 0.875, "box": [1, 2, 30, 40], "area_px": 55.5, "decided_at_ns": 1_767_225_600_000_000_000,
        "captured_at_ns": 1_767_225_599_000_000_000, "picture": f"pictures/ab/{'ab' * 32}",
        "models": [{"model": "defect_classifier", "version": 1, "digest": "sha256:00"}],
        "challenge": "",
    }  # fmt: skip
    assert complaints == ""


def test_a_group_goes_on_where_it_stopped(kafka: str, topic: str, unique_prefix: str) -> None:
    publish(kafka, topic, [defect(0)])
    assert [row["id"] for row in read(kafka, unique_prefix, "--group", f"{unique_prefix}-mes")[0]] == [
        "aoi-1/SN-1/1/1/0"
    ]
    publish(kafka, topic, [defect(1)])
    assert [row["id"] for row in read(kafka, unique_prefix, "--group", f"{unique_prefix}-mes")[0]] == [
        "aoi-1/SN-1/1/1/1"
    ]


def test_a_reader_that_dies_repeats_its_defect_and_loses_none(kafka: str, topic: str, unique_prefix: str) -> None:
    publish(kafka, topic, [defect(0), defect(1), defect(2)])
    reader = runpy.run_path(str(READER))["defects"](kafka, unique_prefix, group=f"{unique_prefix}-mes", idle_s=20)
    assert [next(reader)["id"], next(reader)["id"]] == ["aoi-1/SN-1/1/1/0", "aoi-1/SN-1/1/1/1"]
    reader.close()  # while it works on the second
    told, _ = read(kafka, unique_prefix, "--group", f"{unique_prefix}-mes")
    assert [row["id"] for row in told] == ["aoi-1/SN-1/1/1/1", "aoi-1/SN-1/1/1/2"]


def test_a_record_of_a_later_version_is_skipped_and_said(kafka: str, topic: str, unique_prefix: str) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka, acks="all")
    producer.send(topic, key=b"aoi-1", value=b"\x80", headers=[("schema", b"DefectEvent/2")]).get(timeout=20)
    producer.close(timeout=20)
    publish(kafka, topic, [defect(0)])
    told, complaints = read(kafka, unique_prefix, "--from-beginning")
    assert [row["id"] for row in told] == ["aoi-1/SN-1/1/1/0"]
    assert "DefectEvent/2" in complaints


def test_a_broker_that_is_away_is_told() -> None:
    done = subprocess.run(
        [sys.executable, str(READER), "127.0.0.1:9", "nowhere"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "Kafka does not answer" in done.stderr


def test_the_reader_needs_only_kafka_python_and_msgpack() -> None:
    tree = ast.parse(READER.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    packages = {name.partition(".")[0] for name in imported}
    assert packages - set(sys.stdlib_module_names) == {"msgpack", "kafka"}
