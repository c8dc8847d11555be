"""Bad input on a line that runs: every part has its verdict in time, what is refused is named, and the ledger balances."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from intruder import SESSION, Intruder

from benchmarks.chaos.disturbed_line import PLANT_FILE, RATE_PER_S, DisturbedLine, assert_nothing_lost
from cli.demo_run import DemoRun
from cli.following import Follower
from processors.inspection import CLOCK_SKEW, SEQUENCE_GAP
from schemas.alerts import AlertState
from schemas.inspections import Inspection
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.reasons import FailSafe, FrameOutcome, RefusalReason, VerdictReason, VerdictValue
from schemas.settings import KafkaSettings
from schemas.topics import ALERTS, DEAD_LETTERS, FRAMES, INSPECTIONS, VERDICTS, Topic

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(420)]

PARTS = 130
CLOCK_AHEAD_S = 600.0
SILENT_S = 8.0
PATIENT = {"deadline_ms: 1000": "deadline_ms: 5000", "gate_after_ms: 2000": "gate_after_ms: 10000"}
"""Every part of the run has to be in time, on a machine that may be busy."""
ALL_PARTS_S = PARTS / RATE_PER_S
SETTLED_WITHIN_S = 60.0
EPISODES = {
    (rule, camera, state)
    for rule, camera in (("frames-missing", "left"), ("camera-silent", "right"))
    for state in (AlertState.RAISED, AlertState.CLEARED)
}
"""Alerts that the run must have raised and cleared, by rule, camera and state."""

REFUSED_FRAMES = {
    RefusalReason.UNKNOWN_SCHEMA,
    RefusalReason.UNKNOWN_VERSION,
    RefusalReason.TRUNCATED,
    RefusalReason.MISSING_FIELD,
    RefusalReason.WRONG_TYPE,
    RefusalReason.UNKNOWN_CAMERA,
    RefusalReason.UNKNOWN_STATION,
    RefusalReason.UNKNOWN_RECIPE,
    RefusalReason.UNKNOWN_PART,
    RefusalReason.UNDECODABLE_IMAGE,
    RefusalReason.IMAGE_TOO_LARGE,
}


class Heard:
    """What the topics say at the end of the run, and what the intruder knows."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self.spoilt_part = ""
        self.messages: dict[str, list[Any]] = {}

    def read(self, demo: DemoRun) -> None:
        """Reads until all parts have left with a verdict, and every alert that has to come and to end has."""
        topics: tuple[Topic, ...] = (ALERTS, DEAD_LETTERS, INSPECTIONS, VERDICTS)
        give_up_at = time.monotonic() + SETTLED_WITHIN_S
        with Follower(plant=self._plant, settings=KafkaSettings(), topics=topics, from_beginning=True) as follower:
            while True:
                for seen in follower.drain():
                    self.messages.setdefault(seen.topic.name, []).append(seen.message)
                is_whole = demo.truth.finished and self.decided() >= demo.truth.parts.keys()
                if (is_whole and self.episodes() >= EPISODES) or time.monotonic() > give_up_at:
                    return
                demo.step()

    def decided(self) -> set[tuple[str, int]]:
        """The parts, on each visit, that have a verdict."""
        return {(said.part_id, said.visit) for said in self.messages.get(VERDICTS.name, ())}

    def episodes(self) -> set[tuple[str, str, AlertState]]:
        """What the alerts said, by rule, subject and state."""
        return {(item.rule, item.subject, item.state) for item in self.messages.get(ALERTS.name, ())}


def _ask_simulation(demo: DemoRun, method: str, camera: str, seconds: float) -> None:
    with demo.control() as control:
        assert control.ask(method, camera, seconds)


def _patient_plant(folder: Path) -> Path:
    """The demo's plant file, with more time for each part."""
    shutil.copytree(PLANT_FILE.parent, folder)
    copy, text = folder / PLANT_FILE.name, PLANT_FILE.read_text()
    for stated, patient in PATIENT.items():
        assert stated in text
        text = text.replace(stated, patient)
    copy.write_text(text)
    return copy


def test_bad_frames_a_gap_a_wrong_clock_and_a_silent_camera(line: DisturbedLine, tmp_path: Path) -> None:
    line.plant_file = _patient_plant(tmp_path / "plants")
    plant = load_plant(line.plant_file)
    intruder, heard = Intruder(plant), Heard(plant)

    def spoil(demo: DemoRun) -> None:
        heard.spoilt_part = intruder.spoil_coming_part()

    outcome, truth = line.run(
        parts=PARTS,
        disturbances=[
            (3.0, lambda demo: _ask_simulation(demo, "SetCameraClockAhead", "middle", CLOCK_AHEAD_S)),
            (4.0, lambda demo: intruder.send_unreadable()),
            (6.0, lambda demo: intruder.send_uninspectable()),
            (8.0, lambda demo: intruder.send_again()),
            (9.0, spoil),
            (11.0, lambda demo: intruder.leave_gap()),
            (14.0, lambda demo: _ask_simulation(demo, "SilenceCamera", "right", SILENT_S)),
            (ALL_PARTS_S + 1.0, heard.read),
        ],
    )
    assert_nothing_lost(outcome, truth)
    verdicts = {(said.part_id, said.visit): said for said in heard.messages[VERDICTS.name] if said.revision == 1}
    assert verdicts.keys() == truth.parts.keys()
    # in time for the machine: the PLC took every verdict before its part reached the gate
    unexpected = [row for row in truth.left if row["by_fail_safe"]]
    assert not unexpected, unexpected

    letters = heard.messages[DEAD_LETTERS.name]
    assert {letter.reason for letter in letters if letter.topic == FRAMES.name} == REFUSED_FRAMES
    orphans = [letter.reason for letter in letters if letter.topic == INSPECTIONS.name]
    # one of an unknown part waits a minute for it, and is refused then: tests/integration/test_judge_stage.py
    assert set(orphans) == {RefusalReason.UNKNOWN_STATION}

    inspections: list[Inspection] = heard.messages[INSPECTIONS.name]
    skewed = [item for item in inspections if CLOCK_SKEW in item.warnings]
    assert skewed
    assert {item.camera for item in skewed} == {"middle"}
    assert {item.outcome for item in skewed} == {FrameOutcome.INSPECTED}
    assert [item.session for item in inspections if SEQUENCE_GAP in item.warnings and item.camera == "left"] == [
        SESSION
    ]

    spoilt = verdicts[heard.spoilt_part, 1]
    assert (spoilt.verdict, spoilt.action) == (VerdictValue.NOT_DECIDABLE, FailSafe.REJECT)
    assert VerdictReason.VIEW_DROPPED in spoilt.reasons

    blind = [said for said in verdicts.values() if VerdictReason.MISSING_VIEW in said.reasons]
    assert blind
    assert {view.view for said in blind for view in said.views if view.inspection is None} == {"right"}
    assert {said.action for said in blind if said.verdict is VerdictValue.NOT_DECIDABLE} == {FailSafe.REJECT}

    episodes = heard.episodes()
    assert episodes >= EPISODES
    assert not [episode for episode in episodes if episode[0] == "camera-silent" and episode[1] != "right"]
