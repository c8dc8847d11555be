"""`linesight release`, `rollback` and `models` on a real broker and a real Triton: a line goes on answering through all of it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broker import publish, read_to_end
from trained_folders import trained
from tritonclient.grpc import InferenceServerClient, InferInput
from typer.testing import CliRunner

from cli.exits import NotSo
from cli.main import app
from cli.model_log import read_registry
from ops.local.triton import LocalTriton
from processors.model_state import PIN
from schemas.alerts import DriftEvidence, RetrainingTrigger
from schemas.errors import ConfigurationError, ServiceAway
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.records import ModelChange, ModelEvent, run_event_id, run_id, version_event_id
from schemas.settings import KafkaSettings
from schemas.topics import AUDIT, MODELS, RETRAINING
from topologies.topic_admin import ensure_topics

PLANT_FILE = """
plant: {name}
lines: [{{ name: line-1, stations: [{{ name: cut, cameras: [{{ name: top, views: [top], source: {{ type: external }} }}] }}] }}]
recipes: [{{ name: disc, views: [{{ name: top }}], inspection: {{ type: segmenter, model: {{ name: spots, version: 1 }} }},
  classes: [{{ name: spot }}] }}]
kafka: {{ partitions: 2 }}
"""


class Line:
    """A plant with its topics, and the verbs of the command line on it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.file = folder / "plant.yaml"
        self.file.write_text(PLANT_FILE.format(name=name), encoding="utf-8")
        self.plant: Plant = load_plant(self.file)
        self.kafka = KafkaSettings()

    def run(self, *arguments: str) -> dict[str, Any] | list[Any]:
        """What the verb prints as JSON; raises what it raises."""
        done = CliRunner().invoke(app, [*arguments, "--plant", str(self.file), "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        found: dict[str, Any] | list[Any] = json.loads(done.stdout)
        return found

    def refused(self, *arguments: str) -> BaseException:
        """What the verb raises."""
        done = CliRunner().invoke(app, [*arguments, "--plant", str(self.file)])
        assert done.exception is not None, done.output
        return done.exception

    def champion(self) -> int:
        """The version that the log says."""
        return read_registry(self.plant, self.kafka).state("spots").champion

    async def step(self, change: ModelChange, version: int, at_ns: int, **more: Any) -> None:
        """Writes a step as the trainer would."""
        event = ModelEvent(
            id=version_event_id(model="spots", version=version, change=change, at_ns=at_ns),
            model="spots",
            version=version,
            digest="",
            change=change,
            at_ns=at_ns,
            by="trainer",
            **more,
        )
        await publish(self.kafka, self.plant, MODELS, [("spots", event)])


@pytest.fixture
async def line(kafka: str, unique_prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Line:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("TRITON_TRAINED_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("TRITON_URL", "127.0.0.1:1")
    # the trainer's things are down: none of these verbs may need them
    monkeypatch.setenv("OBJECT_STORE_URL", "s3://nowhere")
    monkeypatch.setenv("OBJECT_STORE_ENDPOINT", "127.0.0.1:1")
    line = Line(tmp_path, unique_prefix)
    await ensure_topics(line.plant, kafka=line.kafka, topics=(MODELS, AUDIT, RETRAINING))
    return line


@pytest.fixture
def served(line: Line, triton_installed: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Triton that serves version 1 of `spots`."""
    line.run("release", str(trained(line.folder / "first" / "spots", level=200.0)))
    with LocalTriton(line.folder / "triton", line.folder / "models") as server:
        monkeypatch.setenv("TRITON_URL", server.url)
        yield server.url


def answers(client: Any, version: int) -> float:
    """The score of a picture of grey 190: a spot for models whose level is below that."""
    tensor = InferInput("image", [1, 1, 32, 32], "UINT8")
    tensor.set_data_from_numpy(np.full((1, 1, 32, 32), 190, np.uint8))
    found = client.infer("spots", [tensor], model_version=str(version), client_timeout=10.0)
    return float(found.as_numpy("score")[0, 0])


class Asking(threading.Thread):
    """Asks one version without a pause, as a line does, and counts what comes back."""

    def __init__(self, url: str, version: int) -> None:
        super().__init__(daemon=True)
        self._url, self._version, self._done = url, version, threading.Event()
        self.seen: Counter[str] = Counter()

    def run(self) -> None:
        with closing(InferenceServerClient(self._url)) as client:
            while not self._done.is_set():
                try:
                    self.seen["wrong" if answers(client, self._version) > 0.5 else "right"] += 1
                except Exception as error:  # whatever it is, it is what the test is about
                    self.seen[repr(error)] += 1

    def __enter__(self) -> Asking:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join(30)


async def test_a_line_is_answered_through_a_release_a_promotion_and_a_rollback(line: Line, served: str) -> None:
    with Asking(served, 1) as asking, closing(InferenceServerClient(served)) as client:
        told = line.run("release", str(trained(line.folder / "second" / "spots", level=100.0)), "--by", "anna")
        assert isinstance(told, dict)
        assert (told["version"], told["change"], told["by"]) == (2, "released", "anna")
        await line.step(ModelChange.PROMOTED, 2, 10, beside=0)
        assert line.champion() == 2
        client.load_model("spots")  # as the line does when it sees a new version
        assert answers(client, 2) > 0.5
        back = line.run("rollback", "spots", "--reason", "too many good discs rejected", "--by", "bert")
        assert isinstance(back, dict)
        assert (back["version"], back["beside"], back["detail"]) == (2, PIN, "too many good discs rejected")
        assert line.champion() == PIN
        assert answers(client, 1) < 0.5
    assert set(asking.seen) == {"right"}
    assert asking.seen["right"] > 10
    audit = await read_to_end(line.kafka, line.plant, AUDIT)
    assert [(each.actor, each.action, each.subject) for each in audit][-2:] == [
        ("anna", "model_released", "spots/2"),
        ("bert", "model_rolled_back", "spots/2"),
    ]


async def test_a_person_takes_a_version_to_the_canary_promotes_it_and_rejects_another(line: Line, served: str) -> None:
    for folder, level in (("second", 100.0), ("third", 90.0)):
        line.run("release", str(trained(line.folder / folder / "spots", level=level)))
    told = line.run("models", "canary", "spots", "2", "--share", "0.25")
    assert isinstance(told, dict)
    assert (told["share_ratio"], told["digest"][:7]) == (0.25, "sha256:")
    problem = line.refused("models", "promote", "spots", "3")
    assert isinstance(problem, NotSo)
    assert "version 2 is on trial" in str(problem)
    line.run("models", "promote", "spots", "2")
    assert line.champion() == 2
    line.run("models", "reject", "spots", "3", "--reason", "worse")
    problem = line.refused("models", "promote", "spots", "3")
    assert "released again as a new version" in str(problem)
    events = await read_to_end(line.kafka, line.plant, MODELS)
    assert [each.change for each in events][-3:] == ["canaried", "promoted", "rejected"], (
        "what does not fit is not written"
    )
    assert "expected a share above 0" in str(line.refused("models", "canary", "spots", "2", "--share", "1"))


async def test_a_candidate_that_triton_refuses_is_taken_back_and_the_version_in_use_goes_on(
    line: Line, served: str
) -> None:
    with Asking(served, 1) as asking:
        problem = line.refused("release", str(trained(line.folder / "second" / "spots", weights=b"no graph at all")))
        assert isinstance(problem, ConfigurationError)
        assert "cannot serve spots version 2" in str(problem)
        assert not (line.folder / "models" / "spots" / "2").exists()
        told = line.run("release", str(trained(line.folder / "third" / "spots", level=100.0)))
        assert isinstance(told, dict)
        assert told["version"] == 2
    assert set(asking.seen) == {"right"}
    with closing(InferenceServerClient(served)) as client:
        assert answers(client, 2) > 0.5


async def test_a_version_that_triton_cannot_serve_is_not_gone_back_to(line: Line, served: str) -> None:
    for folder, level in (("second", 100.0), ("third", 90.0)):
        line.run("release", str(trained(line.folder / folder / "spots", level=level)))
    await line.step(ModelChange.PROMOTED, 2, 10)
    await line.step(ModelChange.PROMOTED, 3, 20)
    (line.folder / "models" / "spots" / "2" / "model.onnx").write_bytes(b"damaged")
    with closing(InferenceServerClient(served)) as client:
        client.unload_model("spots")
    problem = line.refused("rollback", "spots")
    assert isinstance(problem, ConfigurationError)
    assert "cannot serve spots version 2" in str(problem)
    assert line.champion() == 3


async def test_without_triton_nothing_is_rolled_back_and_it_says_which_service_is_away(line: Line) -> None:
    line.run("release", str(trained(line.folder / "first" / "spots")))
    await line.step(ModelChange.PROMOTED, 1, 10)
    problem = line.refused("rollback", "spots")
    assert isinstance(problem, ServiceAway)
    assert "Triton" in str(problem)
    assert line.champion() == 1


async def test_a_canary_is_ended_without_triton_for_the_champion_judges_already(line: Line) -> None:
    line.run("release", str(trained(line.folder / "first" / "spots")))
    await line.step(ModelChange.SHADOWED, 1, 10)
    await line.step(ModelChange.CANARIED, 1, 20, share_ratio=0.1)
    line.run("rollback", "spots")
    assert read_registry(line.plant, line.kafka).state("spots").candidate is None


async def test_the_same_weights_are_released_once_and_what_was_only_copied_is_announced(line: Line) -> None:
    folder = trained(line.folder / "first" / "spots")
    line.run("release", str(folder))
    problem = line.refused("release", str(folder))
    assert "are spots version 1 already" in str(problem)
    copied = trained(line.folder / "second" / "spots", level=50.0)
    from training.release import add_version, read_candidate

    add_version(line.folder / "models", "spots", read_candidate(copied), 2)  # and then the broker was away
    told = line.run("release", str(copied))
    assert isinstance(told, dict)
    assert told["version"] == 2


async def test_there_is_nothing_to_roll_back_where_the_pins_judge(line: Line) -> None:
    assert isinstance(line.refused("rollback", "spots"), NotSo)
    assert "expected one of spots" in str(line.refused("rollback", "spot"))


async def test_the_lineage_goes_from_the_request_to_the_promotion(line: Line) -> None:
    evidence = DriftEvidence(statistic="ks_distance", baseline=0.0, observed=0.4, threshold=0.3, sample_size=120)
    trigger = RetrainingTrigger(
        id="spots/score_shift/5", model="spots", cause="score_shift", station="cut", fired_at_ns=5, evidence=(evidence,)
    )
    await publish(line.kafka, line.plant, RETRAINING, [("spots", trigger)])
    run = run_id(model="spots", started_at_ns=6)

    def of_run(change: ModelChange, at_ns: int, **more: Any) -> ModelEvent:
        return ModelEvent(
            id=run_event_id(run=run, change=change, at_ns=at_ns), model="spots", version=0, digest="", change=change,
            at_ns=at_ns, by="trainer", run=run, **more,
        )  # fmt: skip

    steps = [
        of_run(ModelChange.RUN_STARTED, 6, trigger=trigger.id),
        of_run(ModelChange.DATA_FROZEN, 7, dataset="sha256:data"),
        *(of_run(ModelChange.TRAINING, 8 + n, figures={"progress_ratio": n / 10}) for n in range(5)),
        of_run(ModelChange.EVALUATED, 20, figures={"f1": 0.9}),
    ]
    await publish(line.kafka, line.plant, MODELS, [("spots", event) for event in [*steps, *steps]])
    await line.step(ModelChange.RELEASED, 1, 30, run=run)
    await line.step(ModelChange.PROMOTED, 1, 40)
    await line.step(ModelChange.PROMOTED, 1, 50)  # has no effect: nothing of it is in the lineage
    (found,) = line.run("models", "lineage", "spots")
    (lineage,) = found["lineages"]
    assert lineage["trigger"]["id"] == trigger.id
    assert lineage["run"]["dataset"] == "sha256:data"
    assert [each["change"] for each in lineage["steps"]] == [
        "run_started",
        "data_frozen",
        "training",
        "evaluated",
        "released",
        "promoted",
    ]
    shown = CliRunner().invoke(app, ["models", "--plant", str(line.file)])
    assert "spots: version 1 judges parts" in shown.stdout
    assert "ks_distance 0.4 (limit 0.3)" in shown.stdout
