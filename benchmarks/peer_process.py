"""A peer of `benchmarks/peers/` with the same backlog before it as the inspect stage gets."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from benchmarks.bench_plants import CHECKOUT, BenchPlant
from benchmarks.frames import Picture, as_frames, publish
from benchmarks.peers.comparing import Assignment
from benchmarks.results_file import steady_rate
from benchmarks.services import Services
from schemas.topics import AUDIT, FRAMES
from topologies.topic_admin import ensure_topics

DEADLINE_S = 180.0

_runs = itertools.count()


class PeerFailed(Exception):
    """A peer ended with an error, or was not done in time. The message holds the last of what it said."""


def peer_rate(
    services: Services,
    bench_plant: BenchPlant,
    pictures: Sequence[Picture],
    *,
    module: str,
    count: int,
    python: Path = Path(sys.executable),
    more: Mapping[str, str] | None = None,
) -> float:
    """Frames per s of `benchmarks.peers.<module>`, on topics of its own with the plant's layout. Raises PeerFailed."""
    name = f"{module.replace('_', '-')}-{next(_runs)}"
    plant = msgspec.structs.replace(bench_plant.plant, plant=name)
    asyncio.run(ensure_topics(plant, kafka=services.kafka, topics=(FRAMES, AUDIT)))
    frames = as_frames(pictures, count=count, session=name, inline_limit_bytes=1 << 30, store=services.folder)
    publish(frames, kafka=services.kafka, plant=plant)
    task = Assignment(
        bootstrap=services.kafka.bootstrap_servers,
        triton_url=services.triton_url,
        frames=FRAMES.on(name),
        results=AUDIT.on(name),
        count=count,
        references=bench_plant.file.parent / "references",
        recipe=plant.recipes[0].name,
        model=bench_plant.compare.name,
        version=str(bench_plant.compare.version),
    )
    folder = services.folder / "peers" / name  # Faust and quixstreams leave their state where they run
    folder.mkdir(parents=True)
    try:
        answer = subprocess.run(
            [python, "-m", f"benchmarks.peers.{module}", *task.arguments()],
            capture_output=True, text=True, check=False, timeout=DEADLINE_S, cwd=folder,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), "OPENBLAS_NUM_THREADS": "1", **(more or {})},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise PeerFailed(f"{module} was not done within {DEADLINE_S:g} s: {error.stderr!r}") from error
    printed = [line for line in answer.stdout.splitlines() if line.startswith("[")]
    if not printed:
        raise PeerFailed(f"{module} ended with status {answer.returncode}: {answer.stderr[-2000:]}")
    return steady_rate(json.loads(printed[-1]))
