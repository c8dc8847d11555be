"""What a person relies on who types the other verbs beside a line that runs: answers, exit codes, JSON that can be read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from kafka import KafkaProducer
from linesight import MARK, Linesight

from cli.simulated_plant import PlantControl
from ops.local.kafka import running_bootstrap_servers
from ops.local.places import CHECKOUT
from ops.local.ports import free_ports
from schemas.plant_file import load_plant
from schemas.topics import BY_NAME, FRAMES
from simulation import boards, imaging

pytestmark = pytest.mark.timeout(300)

WITHIN_S = 90.0
MACHINES = ("${LINESIGHT_SIM_PLC_PORT:-4840}", "${LINESIGHT_SIM_CAMERA_PORT:-8090}")
VERBS_THAT_ASK_THE_BROKER: tuple[tuple[str, ...], ...] = (
    ("topics",),
    ("tail", "verdicts"),
    ("ledger",),
    ("dead-letters",),
    ("replay", "dead-letters", "--reason", "truncated"),
    ("review", "a-part", "OK"),
)


@pytest.fixture(scope="module")
def plant_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's plant, its machines on free ports of their own."""
    folder = tmp_path_factory.mktemp("plant")
    (folder / "references").symlink_to(CHECKOUT / "plants" / "references")
    text = (CHECKOUT / "plants" / "demo.yaml").read_text()
    for variable, port in zip(MACHINES, free_ports(len(MACHINES)), strict=True):
        text = text.replace(variable, str(port))
    file = folder / "plant.yaml"
    file.write_text(text)
    return file


@pytest.fixture(scope="module")
def line(
    plant_file: Path, tmp_path_factory: pytest.TempPathFactory, kafka_installed: None, triton_installed: None
) -> Iterator[Linesight]:
    """`linesight up` beside a simulated plant that feeds two parts a second; Ctrl-C ends both, and nothing is left behind."""
    line = Linesight(run_dir=tmp_path_factory.mktemp("line") / "run", mark=uuid.uuid4().hex)
    machines = line.start("simulate", "--plant", plant_file, "--start", "--rate", "2")
    up = line.start("up", "--plant", plant_file)
    try:
        assert up.stdout is not None
        told = []
        for text in up.stdout:
            told.append(text)
            if "running; Ctrl-C stops" in text:
                break
        assert up.poll() is None, "".join(told)
        first = line.run("tail", "verdicts", "--plant", plant_file, "--from-beginning", "--max", "1", within_s=WITHIN_S)
        assert first.returncode == 0, first.stderr
        yield line
    finally:
        up.send_signal(signal.SIGINT)
        out, err = up.communicate(timeout=WITHIN_S)
        machines.send_signal(signal.SIGINT)
        machines.communicate(timeout=WITHIN_S)
    assert up.returncode == 0, err
    assert out.splitlines()[-1].endswith(" stopped")
    assert "Traceback" not in err
    assert line.left_behind() == []


def answer(line: Linesight, *arguments: str | Path, code: int = 0) -> Any:
    """What the verb prints with `--json`."""
    done = line.run(*arguments, "--json", within_s=WITHIN_S)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def refusal(line: Linesight, *arguments: str | Path, code: int) -> str:
    """What the verb says on standard error when it ends with `code`."""
    done = line.run(*arguments, within_s=WITHIN_S)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def garbage(line: Linesight, plant_file: Path) -> dict[str, Any]:
    """The dead letter of a frame that nobody can read, as `linesight dead-letters` shows it."""
    producer = KafkaProducer(bootstrap_servers=running_bootstrap_servers(line.run_dir), acks="all")
    producer.send(
        FRAMES.on("demo"),
        key=b"aoi-1",
        value=b"\x81\xa2id",
        headers=[("schema", f"{FRAMES.schema}/{FRAMES.version}".encode())],
    ).get(timeout=WITHIN_S)
    producer.close()
    give_up_at = time.monotonic() + WITHIN_S
    while not (rows := answer(line, "dead-letters", "--plant", plant_file, "--reason", "truncated")):
        assert time.monotonic() < give_up_at, "no dead letter"
    row: dict[str, Any] = rows[0]
    return row


def test_check_tells_a_valid_plant_from_a_wrong_one(line: Linesight, plant_file: Path) -> None:
    assert answer(line, "check", plant_file)["valid"] is True
    wrong = plant_file.with_name("wrong.yaml")
    wrong.write_text(plant_file.read_text().replace("deadline_ms: 1000", "dead_line_ms: 1000", 1))
    said = answer(line, "check", wrong, code=2)
    assert said["valid"] is False
    assert said["complaints"][0]["nearest"] == "deadline_ms"
    assert "deadline_ms" in refusal(line, "check", wrong, code=2)


def test_topics_are_shown_as_the_broker_has_them(line: Linesight, plant_file: Path) -> None:
    rows = answer(line, "topics", "--plant", plant_file)
    assert {row["topic"] for row in rows} == {f"demo.{name}" for name in BY_NAME}
    assert {row["state"] for row in rows} == {"present"}
    other = plant_file.with_name("other.yaml")
    other.write_text(plant_file.read_text().replace("plant: demo", "plant: other", 1))
    assert {row["state"] for row in answer(line, "topics", "--plant", other, code=1)} == {"missing"}
    assert {row["state"] for row in answer(line, "topics", "--plant", other, "--create")} == {"present"}
    more = plant_file.with_name("more.yaml")
    more.write_text(other.read_text().replace("partitions: 4", "partitions: 7"))
    rows = answer(line, "topics", "--plant", more, code=1)
    assert {row["topic"]: row["state"] for row in rows}["other.frames"] == "differs"
    assert "other.frames: partitions is 4, expected 7" in refusal(line, "topics", "--plant", more, "--create", code=2)


def test_a_stage_refuses_topics_that_differ(line: Linesight, plant_file: Path) -> None:
    more = plant_file.with_name("partitions.yaml")
    more.write_text(plant_file.read_text().replace("partitions: 4", "partitions: 7"))
    broker = running_bootstrap_servers(line.run_dir)
    assert broker is not None
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "run", "judge", "--plant", more],
        cwd=CHECKOUT,
        env=os.environ | {"KAFKA_BOOTSTRAP_SERVERS": broker, MARK: line.mark},
        capture_output=True, text=True, check=False, timeout=WITHIN_S,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "demo.frames: partitions is 4, expected 7" in done.stderr


def test_tail_prints_records_as_json_lines(line: Linesight, plant_file: Path) -> None:
    done = line.run(
        "tail", "frames", "--plant", plant_file, "--from-beginning", "--max", "3", "--json", within_s=WITHIN_S
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(text) for text in done.stdout.splitlines()]
    assert [row["topic"] for row in rows] == ["frames"] * 3
    assert all(row["key"] for row in rows)
    assert "bytes>" in rows[0]["message"]["image"]
    assert "expected one of: frames" in refusal(line, "tail", "pictures", "--plant", plant_file, code=2)


def test_tail_of_a_topic_that_is_not_there_says_how_to_make_it(line: Linesight, plant_file: Path) -> None:
    nowhere = plant_file.with_name("nowhere.yaml")
    nowhere.write_text(plant_file.read_text().replace("plant: demo", "plant: nowhere", 1))
    said = refusal(line, "tail", "frames", "--plant", nowhere, code=2)
    assert "nowhere.frames is not on the broker, which has the topics of demo" in said
    assert "linesight topics --create" in refusal(line, "dead-letters", "--plant", nowhere, code=2)


def test_the_ledger_of_a_running_line_balances(line: Linesight, plant_file: Path) -> None:
    report = answer(line, "ledger", "--plant", plant_file)
    assert report["balanced"] is True


def test_a_refused_message_is_listed_and_sent_again(line: Linesight, plant_file: Path, garbage: dict[str, Any]) -> None:
    assert garbage["stage"] == "inspect"
    assert garbage["size_bytes"] == 4
    assert "unknown reason" in refusal(line, "dead-letters", "--plant", plant_file, "--reason", "bad", code=2)
    replay = ("replay", "dead-letters", "--plant", plant_file)
    assert "say which" in refusal(line, *replay, code=2)
    assert answer(line, *replay, "--id", garbage["id"], "--dry-run") == {"sent": 0, "ids": [garbage["id"]]}
    assert answer(line, *replay, "--id", garbage["id"]) == {"sent": 1, "ids": [garbage["id"]]}
    # it lies on `frames` a second time, cannot be read a second time either, and is refused under a name of its own
    give_up_at = time.monotonic() + WITHIN_S
    while len(answer(line, "dead-letters", "--plant", plant_file, "--reason", "truncated")) < 2:
        assert time.monotonic() < give_up_at, "the replayed message was not refused again"


def test_a_review_makes_the_second_revision_of_a_verdict(line: Linesight, plant_file: Path) -> None:
    follow = line.start("tail", "verdicts", "--plant", plant_file, "--from-beginning")
    try:
        assert follow.stdout is not None
        first = json.loads(follow.stdout.readline())["message"]
        other = "NOT_OK" if first["verdict"] == "OK" else "OK"
        review = ("review", first["part_id"], other, "--plant", plant_file, "--visit", str(first["visit"]))
        assert answer(line, *review, "--reviewer", "anna")["reviewer"] == "anna"
        second = next(
            message
            for message in (json.loads(text)["message"] for text in follow.stdout)
            if message["part_id"] == first["part_id"] and message["revision"] == 2
        )
        assert second["verdict"] == other
    finally:
        follow.send_signal(signal.SIGINT)
        _, err = follow.communicate(timeout=WITHIN_S)
    assert follow.returncode == 130
    assert "Traceback" not in err
    wrong = ("review", "a-part", "OK", "--plant", plant_file)
    assert "expected one of aoi-1" in refusal(line, *wrong, "--station", "nowhere", code=2)
    assert "expected class:x1,y1,x2,y2" in refusal(line, *wrong, "--defect", "open", code=2)
    assert "expected a class of the plant file" in refusal(line, *wrong, "--defect", "shrt:1,2,3,4", code=2)


def test_a_second_up_on_the_same_run_folder_is_refused(line: Linesight, plant_file: Path) -> None:
    assert "another run uses" in refusal(line, "up", "--plant", plant_file, code=2)


def test_models_are_listed_with_their_digests(line: Linesight, tmp_path: Path) -> None:
    models = {row["model"]: row for row in answer(line, "models", "list")}
    assert {"golden_compare", "defect_classifier"} <= models.keys()
    assert models["defect_classifier"]["digest"].startswith("sha256:")
    assert "no such model repository" in refusal(line, "models", "list", "--repository", tmp_path / "no", code=2)


def test_a_reference_is_made_from_good_parts(line: Linesight, plant_file: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    scene = boards.draw_part(design="controller", defects=[], rng=rng)["left"].scene
    (tmp_path / "good").mkdir()
    for number in range(4):
        cv2.imwrite(str(tmp_path / "good" / f"{number}.png"), imaging.capture(scene, rng=rng).image)
    capture = ("references", "capture", "--plant", plant_file, "--view", "left", "--images", tmp_path / "good")
    out = tmp_path / "new" / "left.png"
    made = answer(line, *capture, "--recipe", "board-a@1", "--out", out)
    assert (made["pictures"], made["refused"]) == (4, [])
    assert out.stat().st_size > 0
    assert "board-a@1" in refusal(line, *capture, "--recipe", "board-z@1", "--out", out, code=2)
    (tmp_path / "good" / "3.png").write_bytes(b"not a picture")
    made = answer(line, *capture, "--recipe", "board-a@1", "--out", tmp_path / "new" / "without.png")
    assert (made["pictures"], made["refused"]) == (4, ["3.png"])


def test_publish_says_what_it_needs(line: Linesight, plant_file: Path, tmp_path: Path) -> None:
    publish = ("publish", tmp_path, "--recipe", "board-a@1", "--camera", "left", "--plant")
    assert "expected an external camera" in refusal(line, *publish, plant_file, code=2)
    pcb = CHECKOUT / "plants" / "pcb.yaml"
    external = ("publish", tmp_path, "--camera", "top", "--plant", pcb, "--recipe")
    assert "expected one of bare-board@1" in refusal(line, *external, "nothing@1", code=2)
    assert "expected files ending in .jpg" in refusal(line, *external, "bare-board@1", code=2)
    absent = (*external, "bare-board@1", "--reference", tmp_path / "absent.png")
    assert "absent.png" in refusal(line, *absent, code=2)


@pytest.mark.parametrize("verb", VERBS_THAT_ASK_THE_BROKER, ids=" ".join)
def test_without_a_broker_a_verb_says_how_to_get_one(
    verb: tuple[str, ...], linesight: Linesight, plant_file: Path
) -> None:
    said = refusal(linesight, *verb, "--plant", plant_file, code=3)
    assert "linesight up" in said
    assert "KAFKA_BOOTSTRAP_SERVERS" in said


@pytest.mark.parametrize("verb", ["up", "demo"])
def test_sigterm_in_the_middle_of_the_start_leaves_nothing(linesight: Linesight, verb: str) -> None:
    process = linesight.start(verb)
    give_up_at = time.monotonic() + WITHIN_S
    while not list(linesight.run_dir.glob("**/logs/kafka.log")):
        assert time.monotonic() < give_up_at, "Kafka was not started"
        assert process.poll() is None
        time.sleep(0.05)  # between two looks at a condition
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 143, err
    assert "Traceback" not in err
    assert linesight.left_behind() == []


def test_a_rejected_part_that_leaves_on_the_good_lane_stops_the_line(line: Linesight, plant_file: Path) -> None:
    """The simulated gate fails once, at the next bad board. The last test: from then on the ledger shows a part on the wrong lane."""
    plc = load_plant(plant_file).plcs[0]
    with PlantControl(plc, plant_dir=plant_file.parent) as machine:
        machine.ask("MisrouteNext")
    follow = line.start("tail", "command-results", "--plant", plant_file, "--from-beginning", "--json")
    try:
        assert follow.stdout is not None
        results = (json.loads(text)["message"] for text in follow.stdout)
        stop = next(found for found in results if found["kind"] == "stop_line" and "lane sensor" in found["signals"])
    finally:
        follow.send_signal(signal.SIGINT)
        follow.communicate(timeout=WITHIN_S)
    assert stop["id"].startswith("alert/wrong-lane/aoi-1/")
    assert stop["outcome"] == "acknowledged"
