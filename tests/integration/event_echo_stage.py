"""The stage of `echo_stage.py` on the event runner, as a process of its own, to be killed.

python tests/integration/event_echo_stage.py BOOTSTRAP_SERVERS PLANT
"""

from __future__ import annotations

import asyncio
import sys

from echo_stage import Echo, plant_named

from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import REVIEWS
from topologies.event_runner import EventRunner


async def main(bootstrap_servers: str, plant: str) -> None:
    """Runs until it is killed."""
    runner = EventRunner(
        plant=plant_named(plant),
        stage=Stage("alerts"),
        topics=(REVIEWS,),
        handler=Echo(wait=lambda review: asyncio.sleep(0.001 * (review.reviewed_at_ns % 7))),
        kafka=KafkaSettings(bootstrap_servers=bootstrap_servers),
    )
    await runner.run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
