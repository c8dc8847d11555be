"""The trainer stage: answers requests for training, and takes each new version through shadow, canary and probation by rule.

It acts only where the plant file has a section `learning`. Training is a child process; trials go on whether it runs or not, and without
torch: a version that a person brought is judged by the same rules once it is in shadow.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from cli.training_jobs import TrainingJobs, missing_packages, retrain_command
from schemas.errors import ConfigurationError
from schemas.plant import Plant
from schemas.settings import KafkaSettings, StageSettings
from schemas.telemetry import Noticed, Stage
from topologies.background import until_one_ends
from topologies.model_log import ModelLog
from topologies.producer import Producer
from topologies.trial_watch import TrialWatch


async def run(plant: Plant, *, plant_dir: Path, stage: Stage, stop: asyncio.Event) -> None:
    """Runs the stage until `stop` is set; a run that goes on is ended, and taken up at the next start. Raises ConfigurationError."""
    settings = StageSettings()
    if plant.learning is None:
        stage.emit(Noticed(what="no_learning", subject=plant.plant, detail="the plant file has no section `learning`"))
        stage.ready = True
        await stop.wait()
        return
    if settings.plant_file is None:
        raise ConfigurationError(
            "LINESIGHT_PLANT_FILE is not set: expected the plant file; `linesight run trainer` sets it"
        )
    kafka, log = KafkaSettings(), ModelLog(plant=plant, stage=stage)
    async with Producer(plant=plant.plant, stage=stage, kafka=kafka) as producer:
        trials = TrialWatch(plant=plant, limits=plant.learning, log=log, producer=producer, stage=stage)
        jobs = TrainingJobs(
            plant=plant,
            limits=plant.learning,
            log=log,
            producer=producer,
            stage=stage,
            command=retrain_command(settings.plant_file, plant.learning),
            missing=missing_packages,
            run_dir=settings.run_dir,
        )
        try:
            await until_one_ends(_stopped(stop), log.run(kafka), trials.run(kafka), jobs.run(), _ready(stage, log))
        finally:
            stage.ready = False


async def _stopped(stop: asyncio.Event) -> None:
    await stop.wait()


async def _ready(stage: Stage, log: ModelLog) -> None:
    await log.began.wait()
    stage.ready = True
    await asyncio.Event().wait()
