"""A judge stage as a process of its own, to be killed.

python tests/integration/judge_process.py PLANT METRICS_PORT, with Kafka from the environment.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # as pytest does for the tests themselves

from judged_parts import STATIONS, plant

from schemas.telemetry import HealthServer, Stage, log_as_json
from topologies.judge_stage import run

if __name__ == "__main__":
    log_as_json()
    stage = Stage("judge")
    HealthServer(stage, port=int(sys.argv[2]))
    asyncio.run(run(plant(name=sys.argv[1], stations=STATIONS), plant_dir=Path(), stage=stage, stop=asyncio.Event()))
