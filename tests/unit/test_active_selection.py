"""Which frames to label next: the model's doubts, contradictions and surprises, within the budget, the same in any order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.active_selection import Chosen, Worth, chosen
from processors.part_state import PartVisit
from schemas.inspections import Defect, Imaging, Inspection
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.reasons import FrameOutcome

FILE = """
plant: demo
lines: [{ name: line-1, stations: [{ name: cut, cameras: [{ name: top, views: [top], source: { type: external } }] }] }]
recipes: [{ name: board, views: [{ name: top }], inspection: { type: golden },
  classes: [{ name: open, minimum_score: 0.6 }, { name: spur, minimum_score: 0.8 }] }]
"""


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    file = tmp_path_factory.mktemp("plant") / "plant.yaml"
    file.write_text(FILE, encoding="utf-8")
    return load_plant(file)


def frame(
    number: int, *, score: float = 0.05, defects: tuple[Defect, ...] = (), part: str = "", level: float = 1.0
) -> Inspection:
    return Inspection(
        id=f"top/s/{number:03}",
        station="cut",
        camera="top",
        view="top",
        session="s",
        sequence=number,
        part_id=part or str(number),
        visit=1,
        outcome=FrameOutcome.INSPECTED,
        recipe="board@1",
        defects=defects,
        anomaly_score=score,
        image_sha256=f"{number:064x}",
        imaging=Imaging(
            sharpness_ratio=1.0, level_ratio=level, saturated_ratio=0.0, black_ratio=0.0, shift_px=0.5 + number % 3 / 10
        ),
    )


def defect(name: str, score: float) -> Defect:
    return Defect(class_name=name, score=score, box=(1, 1, 9, 9), area_px=20.0)


def pick(
    frames: list[Inspection], plant: Plant, *, budget: int = 10, labelled: tuple[int, ...] = (), **told: str
) -> list[Chosen]:
    known = {PartVisit("cut", str(number), 1) for number in labelled}
    return chosen(frames, plant=plant, labelled=known, contradicted=told, budget=budget)


USUAL = [frame(number, score=0.05 + number % 5 / 100) for number in range(100, 140)]


def test_doubts_are_measured_at_the_threshold_of_the_class(plant: Plant) -> None:
    frames = [
        *USUAL[:10],
        frame(1, score=0.62, defects=(defect("open", 0.62),)),
        frame(2, score=0.62, defects=(defect("spur", 0.62),)),
        frame(3, score=0.55),
        frame(4, score=0.99, defects=(defect("open", 0.99),)),
    ]
    uncertain = [each for each in pick(frames, plant) if each.worth is Worth.UNCERTAIN]
    assert [each.inspection.sequence for each in uncertain] == [1, 3, 2]
    assert uncertain[0].told == "score 0.620 beside the threshold 0.600"


def test_surprises_are_what_is_unlike_the_other_frames_of_its_view(plant: Plant) -> None:
    (found,) = pick([*USUAL, frame(1, level=0.5)], plant)
    assert (found.inspection.sequence, found.worth) == (1, Worth.NOVEL)
    assert found.told.startswith("grey level 0.5, usually 1:")


def test_of_a_handful_of_frames_nobody_knows_what_is_usual(plant: Plant) -> None:
    assert pick([*USUAL[:5], frame(1, level=0.5)], plant) == []


def test_the_budget_goes_round_the_reasons(plant: Plant) -> None:
    frames = [*USUAL, *(frame(number, score=0.59) for number in range(10)), frame(20, level=0.5), frame(21)]
    found = pick(frames, plant, budget=4, **{"top/s/021": "version 4 says spur"})
    assert [each.worth for each in found] == [Worth.DISAGREEING, Worth.UNCERTAIN, Worth.NOVEL, Worth.UNCERTAIN]
    assert found[0].told == "version 4 says spur"


def test_of_a_part_one_frame_is_taken_and_none_that_was_labelled(plant: Plant) -> None:
    frames = [*USUAL, *(frame(number, score=0.6, part="P") for number in range(3)), frame(4, score=0.6)]
    assert [each.inspection.part_id for each in pick(frames, plant, labelled=(4,))] == ["P"]


@given(
    scores=st.lists(st.floats(0, 1), max_size=40),
    parts=st.integers(1, 40),
    budget=st.integers(0, 12),
    data=st.data(),
)
def test_the_choice_is_within_the_budget_and_does_not_depend_on_order_or_repetition(
    plant: Plant, scores: list[float], parts: int, budget: int, data: st.DataObject
) -> None:
    frames = [frame(number, score=score, part=f"P{number % parts}") for number, score in enumerate(scores)]
    found = pick(frames, plant, budget=budget)
    assert len(found) <= budget
    assert len({each.inspection.part_id for each in found}) == len(found)
    assert pick(data.draw(st.permutations(frames + frames[:5])), plant, budget=budget) == found
