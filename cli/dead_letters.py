"""`linesight dead-letters`: refused messages, with reason and stage."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from cli.services import find_kafka, read_to_end
from schemas.codec import decode
from schemas.errors import ConfigurationError
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
    topic = DEAD_LETTERS.on(load_plant(plant).plant)
    rows = {}
    for record in read_to_end(topic, find_kafka()):
        letter = decode(DEAD_LETTERS, record.value, record.headers)
        if reason is None or letter.reason == reason:
            rows[letter.id] = {
                "id": letter.id,
                "reason": letter.reason,
                "stage": letter.stage,
                "detail": letter.detail,
                "frame": letter.frame_id,
                "refused_at_ns": letter.refused_at_ns,
                "size_bytes": len(letter.value or b""),
            }
    if json:
        print_json(list(rows.values()))
        return
    for row in rows.values():
        print(f"{row['id']}  {row['reason']}  by {row['stage']}: {row['detail']}")
    counts = Counter(row["reason"] for row in rows.values())
    print(f"{len(rows)} dead letters" + "".join(f"; {what}: {count}" for what, count in counts.most_common()))
