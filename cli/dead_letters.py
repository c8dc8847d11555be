"""`linesight dead-letters`: refused messages, with reason and stage."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Annotated, Any

import typer

from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from cli.services import find_kafka
from schemas.errors import ConfigurationError
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.reasons import RefusalReason
from schemas.topics import DEAD_LETTERS


def command(
    plant: PlantFile = DEMO_PLANT,
    reason: Annotated[str | None, typer.Option(help="Only this reason.")] = None,
    json: Json = False,
) -> None:
    """Lists what could never succeed: where it came from, why it was refused, and by which stage."""
    if reason is not None and reason not in list(RefusalReason):
        raise ConfigurationError(f"unknown reason {reason!r}; expected one of: {', '.join(RefusalReason)}")
    description = load_plant(plant)
    find_kafka()
    rows = asyncio.run(_rows(description, reason))
    if json:
        print_json(rows)
        return
    for row in rows:
        print(f"{row['id']}  {row['reason']}  by {row['stage']}: {row['detail']}")
    counts = Counter(row["reason"] for row in rows)
    print(f"{len(rows)} dead letters" + "".join(f"; {what}: {count}" for what, count in counts.most_common()))


async def _rows(plant: Plant, reason: str | None) -> list[dict[str, Any]]:
    """One row per letter; a letter written twice is one. Images are not held, only their size."""
    from topologies.topic_reader import read_topics

    rows = {}
    async for stored in read_topics(plant, [DEAD_LETTERS]):
        letter = stored.message
        if letter is None or (reason is not None and letter.reason != reason):
            continue
        rows[letter.id] = {
            "id": letter.id,
            "reason": letter.reason,
            "stage": letter.stage,
            "detail": letter.detail,
            "frame": letter.frame_id,
            "refused_at_ns": letter.refused_at_ns,
            "size_bytes": len(letter.value or b""),
        }
    return list(rows.values())
