"""What a shadow is asked about, what stands beside its answer, and that what waits for it is bounded and never waited for."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from followed_disc import frame, plant
from model_events import MODEL, version_event

from processors.frame_checks import FrameChecks
from processors.inspection import Examination, FramePlace, inspected
from processors.model_registry import Registry
from processors.shadow_answers import answered, failed, trials
from schemas.inspections import Defect, Inspection, ModelUse, Timings
from schemas.object_store import FolderStore
from schemas.reasons import FrameOutcome, VerdictValue
from schemas.recipes import GoldenInspection, ModelPin
from schemas.records import ModelChange
from schemas.telemetry import Stage
from schemas.topics import MIB_BYTES
from topologies.followed_models import FollowedModels
from topologies.shadow_bench import MOST_WAITING, MOST_WAITING_BYTES, ShadowBench

PIN = ModelPin(name=MODEL, version=1, follow=True)
PLACE = FramePlace(partition=0, offset=0, received_at_ns=1)
WEAK = Defect(class_name="open", score=0.4, box=(0, 0, 1, 1), area_px=1.0)
STRONG = Defect(class_name="open", score=0.9, box=(0, 0, 1, 1), area_px=1.0)


def found(*defects: Defect, version: int = 1, score: float = 0.25, infer_ms: float = 5.0) -> Examination:
    use = ModelUse(model=MODEL, version=version, digest=f"sha256:{version}")
    return Examination(defects=defects, anomaly_score=score, models=(use,), timings=Timings(infer_ms=infer_ms))


def judged(part: str, *defects: Defect) -> Inspection:
    return inspected(frame(part), PLACE, found(*defects), warnings=(), now_ns=2)


def test_the_shadow_takes_the_place_of_its_own_model_alone() -> None:
    golden = GoldenInspection(
        compare=ModelPin(name="compare", version=3, follow=True),
        classifier=ModelPin(name="kinds", version=1, follow=True),
    )
    assignment = FrameChecks(msgspec.structs.replace(plant(PIN), recipes=(
        msgspec.structs.replace(plant(PIN).recipes[0], inspection=golden),
    ))).check(frame("7"))  # fmt: skip
    uses = (ModelUse(model="compare", version=5, digest="d"), ModelUse(model="kinds", version=2, digest="d"))
    inspection = msgspec.structs.replace(judged("7"), models=uses)
    ((pin, trial),) = trials(assignment, inspection, shadow_of=lambda pin: 4 if pin.name == "kinds" else None)
    assert (pin.name, pin.version) == ("kinds", 4)
    assert [(each.name, each.version) for each in trial.inspection.models] == [("compare", 5), ("kinds", 4)]
    assert trials(assignment, inspection, shadow_of=lambda pin: None) == []


def test_both_answers_are_read_under_the_recipe_s_limits() -> None:
    assignment = FrameChecks(plant(PIN)).check(frame("7"))
    ((pin, trial),) = trials(assignment, judged("7", WEAK), shadow_of=lambda pin: 2)
    answer = answered(
        pin, "sha256:2", trial, judged("7", WEAK), found(STRONG, version=2, score=0.9), total_ms=9.0, now_ns=3
    )
    assert answer.id == f"top/s/7/{MODEL}/2"
    assert (answer.decision, answer.line_decision) == (VerdictValue.NOT_OK, VerdictValue.OK)
    assert (answer.version, answer.beside, answer.score, answer.line_score) == (2, 1, 0.9, 0.25)
    broken = failed(pin, trial, judged("7", STRONG), error="x" * 1000, now_ns=3)
    assert (broken.decision, broken.line_decision) == (VerdictValue.NOT_DECIDABLE, VerdictValue.NOT_OK)
    assert 0 < len(broken.error) <= 300


@pytest.fixture
def stage() -> Stage:
    return Stage("inspect")


async def bench(stage: Stage, folder: Path, *steps: ModelChange) -> ShadowBench:
    followed = FollowedModels(plant=plant(PIN), registry=Registry(), triton=None, stage=stage)  # type: ignore[arg-type]  # nothing is loaded
    for at_ns, change in enumerate(steps, start=1):
        followed.take(version_event(change, 2, at_ns))
    return ShadowBench(
        plant=plant(PIN), plant_dir=folder, followed=followed, store=FolderStore(folder), stage=stage,
        is_idle=lambda: False,
    )  # fmt: skip


def behind(stage: Stage) -> float:
    return stage.registry.get_sample_value("linesight_inspect_shadow_dropped_total", {"reason": "behind"}) or 0.0


async def test_what_waits_is_bounded_by_count_and_the_rest_is_counted(stage: Stage, tmp_path: Path) -> None:
    shadows = await bench(stage, tmp_path, ModelChange.RELEASED, ModelChange.SHADOWED)
    for part in range(MOST_WAITING + 10):
        shadows.offer(frame(str(part)), judged(str(part)))
    assert behind(stage) == 10


async def test_what_waits_is_bounded_in_bytes(stage: Stage, tmp_path: Path) -> None:
    shadows = await bench(stage, tmp_path, ModelChange.RELEASED, ModelChange.SHADOWED)
    large = bytes(4 * MIB_BYTES)
    fit = MOST_WAITING_BYTES // len(large)
    for part in range(fit + 3):
        shadows.offer(msgspec.structs.replace(frame(str(part)), image=large), judged(str(part)))
    assert behind(stage) == 3


async def test_nothing_waits_where_nothing_is_in_shadow_or_the_frame_was_dropped(stage: Stage, tmp_path: Path) -> None:
    shadows = await bench(stage, tmp_path, ModelChange.RELEASED)
    other = Stage("inspect")
    in_shadow = await bench(other, tmp_path, ModelChange.RELEASED, ModelChange.SHADOWED)
    lost = msgspec.structs.replace(judged("0"), outcome=FrameOutcome.DROPPED)
    for _ in range(MOST_WAITING + 1):
        shadows.offer(frame("0"), judged("0"))
        in_shadow.offer(frame("0"), lost)
    assert behind(stage) == behind(other) == 0
