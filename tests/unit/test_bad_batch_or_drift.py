"""The demo's scenario, through drawn pictures, comparison, voting, alerts and drift watch: a bad batch stops the line and asks for no
training; a lamp that ages asks for training, and stops nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import msgspec
import pytest

from processors.alert_subjects import every_key
from processors.alerting import Alerting
from processors.drift import IMAGE_SHIFT, SCORE_SHIFT, DriftWatch, LastTriggers
from schemas.alerts import Alert, AlertState, RetrainingTrigger
from schemas.plant_file import load_plant
from simulation.scenario import DRIFT_STARTS_AT_RATIO, PlannedPart

PLANT_FILE = Path(__file__).parents[2] / "plants" / "demo.yaml"
PARTS, SEED, PARTS_PER_S = 240, 1, 4
START_NS = 1_000_000_000_000
RATE_RULE = "bad-batch"


class Run(NamedTuple):
    """What was said of a run, each with the part after which it was."""

    alerts: list[tuple[PlannedPart, Alert]]
    triggers: list[tuple[PlannedPart, RetrainingTrigger]]


@pytest.fixture(scope="module")
def run() -> Run:
    pytest.importorskip("onnxruntime")
    from training.evaluate_drift import VisionCore, verdicts

    cv2.setNumThreads(1)
    plant = load_plant(PLANT_FILE)
    last = LastTriggers(settings=plant.retraining)
    watch, alerting = DriftWatch(plant=plant, last=last), Alerting(plant=plant, owns=every_key)
    found = Run([], [])
    planned = verdicts(plant, VisionCore(plant, PLANT_FILE.parent), parts=PARTS, seed=SEED)
    for number, (part, judged) in enumerate(planned):
        at_ns = START_NS + number * 1_000_000_000 // PARTS_PER_S
        verdict = msgspec.structs.replace(judged, arrived_at_ns=at_ns, decided_at_ns=at_ns)
        trigger = watch.take(verdict, at_ns=at_ns)
        if trigger is not None:
            last.note(trigger)
            found.triggers.append((part, trigger))
        for step in alerting.take(verdict, at_ns=at_ns, now_ns=at_ns):
            if step.alert.rule == RATE_RULE and step.alert.state is AlertState.RAISED:
                found.alerts.append((part, step.alert))
    return found


def test_the_bad_batch_raises_the_alert_and_asks_for_no_training(run: Run) -> None:
    from training.evaluate_drift import BAD_BATCH

    ((part, _),) = run.alerts
    assert part.batch == BAD_BATCH
    assert [part.number for part, _ in run.triggers if part.lighting_drift_ratio == 0] == []


def test_the_ageing_lamp_asks_once_and_raises_no_alert(run: Run) -> None:
    ((part, trigger),) = run.triggers
    assert part.number >= DRIFT_STARTS_AT_RATIO * PARTS
    assert trigger.cause in (SCORE_SHIFT, IMAGE_SHIFT)
    assert [part.number for part, _ in run.alerts if part.lighting_drift_ratio > 0] == []
