"""`linesight topics`: the catalogue, and what the broker has of it."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from cli.services import find_kafka
from schemas.plant_file import load_plant
from schemas.topics import CATALOGUE


def command(
    plant: PlantFile = DEMO_PLANT,
    create: Annotated[bool, typer.Option(help="Make the topics that are missing; refuse those that differ.")] = False,
    json: Json = False,
) -> None:
    """Shows every topic: its key, what is on it, how long it is kept."""
    description = load_plant(plant)
    if create:
        import asyncio

        from topologies.topic_admin import ensure_topics

        asyncio.run(ensure_topics(description, kafka=find_kafka()))
    rows = [
        {
            "topic": topic.on(description.plant),
            "schema": f"{topic.schema}/{topic.version}",
            "key": topic.key,
            "retention_hours": topic.retention_ms // 3_600_000,
            "max_message_bytes": topic.max_message_bytes,
            "description": topic.description,
        }
        for topic in CATALOGUE
    ]
    if json:
        print_json(rows)
        return
    width = max(len(str(row["topic"])) for row in rows)
    for row in rows:
        print(
            f"{row['topic']:<{width}}  by {row['key']:<12}  {row['retention_hours']:>6} h  {row['schema']}: {row['description']}"
        )
    if create:
        print(f"{len(rows)} topics are as the catalogue says")
