"""Parts that were misjudged: mixed up, or does the model not know better? Their pictures are shown to it once more, undisturbed."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path

from benchmarks.chaos_floor.recovery import Part
from cli.truth import TruthFile
from processors.inspection import FramePlace
from schemas.frames import Frame
from schemas.inspections import Inspection
from schemas.message import NS_PER_MS
from schemas.object_store import sha256_hex
from schemas.plant import Plant
from schemas.telemetry import Stage
from schemas.topics import FRAMES, INSPECTIONS
from topologies.inspection_bench import InspectionBench
from topologies.topic_reader import Stored, read_topics

READY_S = 60.0
READY_LOOK_S = 0.05

_Seen = tuple[str, str, tuple[tuple[str, int], ...]]


async def judged_alike_again(
    plant: Plant, *, plant_dir: Path, truth: TruthFile, parts: Collection[Part]
) -> frozenset[Part]:
    """Those of `parts` of which nothing was mixed up: every view has one inspection, of the picture that was drawn for this very part,
    and the served models say the same of it when nothing is pulled out.

    Broker and Triton of the run are still there. Raises TimeoutError where the models are not ready within a minute.
    """
    if not parts:
        return frozenset()
    frames: defaultdict[Part, dict[str, Stored]] = defaultdict(dict)
    said: defaultdict[Part, dict[str, Inspection]] = defaultdict(dict)
    async for stored in read_topics(plant, [FRAMES, INSPECTIONS]):
        message = stored.message
        if message is None or (message.part_id, message.visit) not in parts:
            continue
        of_part = (message.part_id, message.visit)
        if isinstance(message, Frame):
            frames[of_part][message.id] = stored
        else:
            said[of_part][message.id] = message
    bench = InspectionBench(plant=plant, plant_dir=plant_dir, stage=Stage("inspect"))
    try:
        async with asyncio.timeout(READY_S):
            while not bench.ready:
                bench.check()
                await asyncio.sleep(READY_LOOK_S)
        return frozenset(
            [
                part
                for part in parts
                if await _alike(bench, frames[part], said[part], drawn=truth.pictures.get(part, {}))
            ]
        )
    finally:
        await bench.close()


async def _alike(
    bench: InspectionBench, frames: dict[str, Stored], said: dict[str, Inspection], *, drawn: dict[str, str]
) -> bool:
    if sorted(stored.message.view for stored in frames.values()) != sorted(drawn) or frames.keys() != said.keys():
        return False
    for frame_id, stored in frames.items():
        frame = stored.message
        if frame.image is None or sha256_hex(frame.image) != drawn[frame.view]:
            return False
        place = FramePlace(partition=stored.partition, offset=stored.offset, received_at_ns=stored.at_ms * NS_PER_MS)
        again, _ = await bench.inspect(frame, place, warnings=())
        if _seen(again) != _seen(said[frame_id]):
            return False
    return True


def _seen(inspection: Inspection) -> _Seen:
    """What an inspection says; scores may differ in their last digits."""
    classes = Counter(defect.class_name for defect in inspection.defects)
    return inspection.outcome.value, inspection.reason or "", tuple(sorted(classes.items()))
