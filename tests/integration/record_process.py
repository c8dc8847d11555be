"""A record stage as a process of its own, to be killed.

python tests/integration/record_process.py PLANT, with Kafka and the object store from the environment.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from test_record_stage import plant_named

from schemas.telemetry import Stage, log_as_json
from topologies.record_stage import run

if __name__ == "__main__":
    log_as_json()
    asyncio.run(run(plant_named(sys.argv[1]), plant_dir=Path(), stage=Stage("record"), stop=asyncio.Event()))
