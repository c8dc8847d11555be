"""`linesight run STAGE --plant F`: one stage, as a container runs it."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import DEMO_PLANT, Json, PlantFile, print_json_line
from schemas.errors import ConfigurationError
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.settings import KafkaSettings, StageSettings
from schemas.telemetry import HealthServer, Stage, log_as_json

STAGE_MODULES: dict[str, str] = {
    "station-gateway": "gateways.station_gateway",
    "plc-gateway": "gateways.plc_gateway",
    "sensor-gateway": "gateways.sensor_gateway",
    "inspect": "topologies.inspect_stage",
    "backfill": "topologies.backfill_stage",
    "judge": "topologies.judge_stage",
    "statistics": "topologies.statistics_stage",
    "alerts": "topologies.alerts_stage",
    "retraining": "topologies.retraining_stage",
    "trainer": "cli.trainer_stage",
    "sensors": "topologies.sensors_stage",
    "record": "topologies.record_stage",
}

NICENESS = {"statistics": 5, "alerts": 5, "retraining": 5, "trainer": 5, "sensors": 5, "record": 5, "backfill": 15}
"""Stages that a part does not wait for leave the processor to those that it waits for, where they share a machine."""

SAYS_READINESS = ("station_gateway", "inspect", "judge", "plc_gateway", "backfill")
"""Stages that say on `readiness` whether they can work: without the first three a part gets no verdict in time. The PLC gateway says
which recipes are wanted, and the backfill which ones it keeps on the Triton that it shares with inspect."""

StageRun = Callable[..., Awaitable[None]]


def command(
    stage: Annotated[str, typer.Argument(help=", ".join(STAGE_MODULES))],
    plant: PlantFile = DEMO_PLANT,
    json: Json = False,
) -> None:
    """Runs one stage until SIGTERM or Ctrl-C, then drains it. Serves /metrics, /healthz and /readyz."""
    if stage not in STAGE_MODULES:
        raise ConfigurationError(f"unknown stage {stage!r}; expected one of: {', '.join(STAGE_MODULES)}")
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # a stage works on several frames at once; threads inside each would fight
    os.environ["LINESIGHT_PLANT_FILE"] = str(plant.resolve())
    settings = StageSettings()
    log_as_json(settings.log_level)
    description = load_plant(plant)
    instruments = Stage(stage.replace("-", "_"))
    health = HealthServer(instruments, port=settings.metrics_port, host=settings.metrics_host)
    if json:
        print_json_line({"stage": stage, "metrics_port": health.port})
    os.nice(NICENESS.get(stage, 0))  # its threads inherit it
    import uvloop

    run: StageRun = importlib.import_module(STAGE_MODULES[stage]).run
    gc.freeze()  # the modules live as long as the process: no collection need look at them again
    try:
        uvloop.run(_until_stopped(run, description, plant.resolve().parent, instruments))
    finally:
        health.close()


async def _until_stopped(run: StageRun, plant: Plant, plant_dir: Path, stage: Stage) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    arguments: dict[str, Any] = {"plant_dir": plant_dir, "stage": stage, "stop": stop}
    stage.log.info("stage_started", plant=plant.plant)
    from cli.topic_check import TopicCheck
    from topologies.readiness import ReadinessTeller

    kafka = KafkaSettings()
    async with AsyncExitStack() as beside:
        await beside.enter_async_context(TopicCheck(plant=plant, stage=stage, kafka=kafka, on_failure=stop.set))
        if stage.name in SAYS_READINESS:
            await beside.enter_async_context(ReadinessTeller(plant=plant, stage=stage, kafka=kafka))
        await run(plant, **arguments)
    stage.log.info("stage_stopped", plant=plant.plant)
