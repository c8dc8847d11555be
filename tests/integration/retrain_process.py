"""`linesight retrain` for tests: the same run, with a child that needs no torch.

The first training hangs, to be killed; the next one fails, which ends the run without the time that an evaluation takes.

Arguments: plant file, folder, model. `folder/hung` says that one has hung already.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cli.exits import NotSo
from cli.retrain import request_for
from cli.training_run import Task, Train, TrainingRun, trained_pin
from schemas.plant_file import load_plant
from schemas.settings import KafkaSettings


def main(plant_file: Path, folder: Path, model: str) -> int:
    """Answers the oldest request, or takes the open run up."""
    plant, kafka = load_plant(plant_file), KafkaSettings()
    found = trained_pin(plant, model)
    assert found is not None
    family, recipes, pinned = found
    task = Task(
        plant=plant, plant_file=plant_file, kafka=kafka, model=model, family=family, recipes=recipes, pinned=pinned,
        folder=folder, budget_min=0.1, by="trainer", say=print,
    )  # fmt: skip
    try:
        TrainingRun(task, train=_hangs_once(folder)).go(trigger=request_for(plant, kafka, model, now=False))
    except NotSo as told:
        print(told)
        return 1
    return 0


def _hangs_once(folder: Path) -> Train:
    def command(labels: Path, out: Path) -> Sequence[str]:
        hung = folder / "hung"
        if hung.exists():
            return [sys.executable, "-c", "raise SystemExit('the loss was no number')"]
        hung.touch()
        return [sys.executable, "-c", "import time; time.sleep(600)"]

    return command


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
