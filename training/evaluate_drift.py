"""Runs the demo's scenario through vision core, voting and drift watch in this process: when would it ask for retraining?

python -m training.evaluate_drift --seeds 6 --parts 240

Per seed: the largest Kolmogorov-Smirnov distance before the lamp ages, within the bad batch, and while it ages, of scores and of what
the pictures look like; for comparison the largest one before it ages if scores were compared as they are, all recipes together; and
after which part retraining is asked for.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Annotated

import cv2
import msgspec
import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from processors.drift import IMAGE_FIGURES, DriftWatch, LastTriggers
from processors.golden.alignment import AlignmentFailed
from processors.golden.classes import CLASSIFIER_OUTPUTS
from processors.golden.comparison import GoldenComparison
from processors.golden.findings import anomaly_score
from processors.score_shift import Score, ScoreShift
from processors.voting import counting, votes_not_ok
from schemas.inspections import Defect, Imaging
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.reasons import FailSafe, FrameOutcome, VerdictValue
from schemas.recipes import GoldenInspection, Recipe
from schemas.verdicts import Verdict, ViewResult, verdict_id
from simulation.pictures import take_pictures
from simulation.scenario import DRIFT_STARTS_AT_RATIO, PlannedPart, comes_back, plan
from training.local_inference import Classification, Comparison

STATION = "aoi-1"
BAD_BATCH = 4
PARTS_PER_S = 4
REPAIR_TAKES_PARTS = 3 * PARTS_PER_S
POOLED_BASELINE_VIEWS = 120


class VisionCore:
    """Golden comparison of every view of a plant, with the committed models."""

    def __init__(self, plant: Plant, plant_dir: Path) -> None:
        self._compare, self._classify = Comparison(), Classification()
        self._comparisons = {
            (recipe.key, view.name): GoldenComparison(
                reference=np.asarray(cv2.imread(str(plant_dir / str(view.reference)), cv2.IMREAD_GRAYSCALE), np.uint8),
                settings=inspection,
            )
            for recipe in plant.recipes
            for view in recipe.views
            for inspection in (recipe.inspection_of(view),)
            if isinstance(inspection, GoldenInspection)
        }

    def inspect(self, recipe: Recipe, view: str, jpeg: bytes) -> tuple[float, tuple[Defect, ...], Imaging]:
        """Anomaly score, defects that count, and how the camera saw. Raises AlignmentFailed."""
        comparison = self._comparisons[recipe.key, view]
        frame = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)
        laid = comparison.lay_over(frame)
        difference = self._compare(laid.image, comparison.half_reference)
        candidates = comparison.candidates(laid, difference)
        crops = comparison.crops(laid, candidates)
        probabilities = self._classify(crops) if candidates else np.zeros((0, len(CLASSIFIER_OUTPUTS)), np.float32)
        found = comparison.defects(laid, candidates, probabilities)
        return anomaly_score(difference, probabilities), counting(found, recipe), laid.imaging


def verdicts(plant: Plant, core: VisionCore, *, parts: int, seed: int) -> Iterator[tuple[PlannedPart, Verdict]]:
    """The scenario's parts in their order with the verdicts on them; one in a few rejected parts is repaired and comes back."""
    recipes = {recipe.key: recipe for recipe in plant.recipes}
    repaired: deque[tuple[int, PlannedPart]] = deque()
    rejects = 0
    for part in plan(parts=parts, seed=seed, recipes=list(recipes)):
        while repaired and repaired[0][0] <= part.number:
            again = replace(repaired.popleft()[1], defects=())
            yield again, _judge(core, recipes[again.recipe], again, seed=seed, visit=2)
        verdict = _judge(core, recipes[part.recipe], part, seed=seed, visit=1)
        if verdict.verdict is not VerdictValue.OK:
            rejects += 1
            if comes_back(rejects, seed):
                repaired.append((part.number + REPAIR_TAKES_PARTS, part))
        yield part, verdict


def _judge(core: VisionCore, recipe: Recipe, part: PlannedPart, *, seed: int, visit: int) -> Verdict:
    pictures = take_pictures(
        recipe,
        defects=part.defects,
        lighting_drift_ratio=part.lighting_drift_ratio,
        seed=(seed, part.number, visit),
    )
    views = tuple(
        _view(core, recipe, view, jpeg, f"{seed}/{part.number}/{visit}") for view, jpeg in pictures.jpegs.items()
    )
    if votes_not_ok(recipe.voting, {view.view: view.defects for view in views}):
        value = VerdictValue.NOT_OK
    elif any(view.outcome != FrameOutcome.INSPECTED for view in views):
        value = VerdictValue.NOT_DECIDABLE
    else:
        value = VerdictValue.OK
    part_id = str(part.number)
    return Verdict(
        id=verdict_id(station=STATION, part_id=part_id, visit=visit, revision=1),
        station=STATION,
        line="line-1",
        part_id=part_id,
        visit=visit,
        revision=1,
        verdict=value,
        action=FailSafe.PASS,
        arrived_at_ns=part.number,
        decided_at_ns=part.number,
        recipe=recipe.key,
        views=views,
    )


def _view(core: VisionCore, recipe: Recipe, view: str, jpeg: bytes, part: str) -> ViewResult:
    try:
        score, defects, imaging = core.inspect(recipe, view, jpeg)
    except AlignmentFailed:
        return ViewResult(view=view, outcome=FrameOutcome.DROPPED)
    return ViewResult(
        view=view,
        inspection=f"{view}/{part}",
        outcome=FrameOutcome.INSPECTED,
        anomaly_score=score,
        defects=defects,
        imaging=imaging,
    )


@dataclass
class _Distances:
    """The Kolmogorov-Smirnov distance after each part, whatever the thresholds say."""

    shift: ScoreShift
    figure: Callable[[ViewResult], float] = attrgetter("anomaly_score")
    pools_recipes: bool = False
    largest: dict[str, float] = field(default_factory=dict)

    def add(self, verdict: Verdict, phases: tuple[str, ...]) -> None:
        for view in verdict.views:
            kind = ("", "") if self.pools_recipes else (verdict.recipe, view.view)
            score = Score(
                recipe=kind[0], view=kind[1], inspection=str(view.inspection), value=self.figure(view), at_ns=1
            )
            self.shift.add(score)
        evidence = self.shift.evidence(since_ns=0)
        if evidence is not None:
            self.largest.update({phase: max(self.largest.get(phase, 0.0), evidence.observed) for phase in phases})


def _row(plant: Plant, core: VisionCore, *, parts: int, seed: int) -> list[str]:
    always = msgspec.structs.replace(plant.retraining, minimum_distance=0.0, p_value=1.0)
    ranked = _Distances(ScoreShift(settings=always))
    pooled = _Distances(
        ScoreShift(settings=msgspec.structs.replace(always, baseline_views=POOLED_BASELINE_VIEWS)), pools_recipes=True
    )
    pictures = [_Distances(ScoreShift(settings=always), attrgetter(f"imaging.{figure}")) for figure in IMAGE_FIGURES]
    last = LastTriggers(settings=plant.retraining)
    watch = DriftWatch(plant=plant, last=last)
    asked: list[str] = []
    good = 0
    for number, (part, verdict) in enumerate(verdicts(plant, core, parts=parts, seed=seed)):
        trigger = watch.take(verdict, at_ns=(number + 1) * 1_000_000_000 // PARTS_PER_S)
        if trigger is not None:
            last.note(trigger)
            asked.append(
                f"{part.number} ({trigger.cause}, lamp {part.lighting_drift_ratio:.0%}, {trigger.evidence[0].observed:.2f})"
            )
        if verdict.verdict is VerdictValue.OK:
            good += 1
            ages = part.number >= DRIFT_STARTS_AT_RATIO * parts
            phases = ("ages",) if ages else ("before", "bad") if part.batch == BAD_BATCH else ("before",)
            for distances in (ranked, pooled, *pictures):
                distances.add(verdict, phases)
    told = [
        " / ".join(f"{distances.largest.get(phase, 0.0):.2f}" for phase in ("before", "bad", "ages"))
        for distances in (ranked, *pictures)
    ]
    return [str(seed), str(good), *told, f"{pooled.largest.get('before', 0.0):.2f}", ", ".join(asked) or "-"]


def main(
    *,
    plant_file: Annotated[Path, typer.Option("--plant", help="plant file of the simulated line")] = Path(
        "plants/demo.yaml"
    ),
    parts: Annotated[int, typer.Option(help="parts of a run")] = 240,
    seeds: Annotated[int, typer.Option(help="runs, with the seeds 1 to this")] = 6,
) -> None:
    """Prints one row per seed."""
    cv2.setNumThreads(1)
    plant = load_plant(plant_file)
    core = VisionCore(plant, plant_file.parent)
    table = Table(
        "seed",
        "OK parts",
        "scores: before / bad batch / lamp ages",
        *IMAGE_FIGURES,
        "scores pooled, before",
        "asked after part",
    )
    for seed in track(range(1, seeds + 1), description="runs"):
        table.add_row(*_row(plant, core, parts=parts, seed=seed))
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
