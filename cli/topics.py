"""`linesight topics`: the catalogue, and what the broker has of it."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from cli.exits import NotSo
from cli.hints import next_command
from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from cli.services import find_kafka
from schemas.plant_file import load_plant
from schemas.topics import CATALOGUE


def command(
    plant: PlantFile = DEMO_PLANT,
    create: Annotated[bool, typer.Option("--create", help="Make what is missing; refuse what differs.")] = False,
    json: Json = False,
) -> None:
    """Shows every topic: its key, what is on it, how long it is kept, and whether the broker has it so.

    Exit code 1 where a topic is missing or differs; with --create 2 where one differs.
    """
    from topologies.topic_admin import ensure_topics, topic_states

    description, kafka = load_plant(plant), find_kafka()
    if create:
        asyncio.run(ensure_topics(description, kafka=kafka))
    states = asyncio.run(topic_states(description, kafka=kafka))
    rows = [
        {
            "topic": state.name,
            "schema": f"{topic.schema}/{topic.version}",
            "key": topic.key,
            "retention_hours": topic.retention_ms // 3_600_000,
            "max_message_bytes": topic.max_message_bytes,
            "description": topic.description,
            "state": "missing" if not state.present else "differs" if state.differences else "present",
            "differences": [str(difference) for difference in state.differences],
        }
        for topic, state in zip(CATALOGUE, states, strict=True)
    ]
    if json:
        print_json(rows)
    else:
        width = max(len(state.name) for state in states)
        for row in rows:
            print(
                f"{row['state']:<8} {row['topic']:<{width}}  by {row['key']:<12}  {row['retention_hours']:>6} h  "
                f"{row['schema']}: {row['description']}"
            )
        for difference in (difference for state in states for difference in state.differences):
            print(f"DIFFERS  {difference}")
    missing = sum(not state.present for state in states)
    different = sum(bool(state.differences) for state in states)
    if missing or different:
        makes = next_command("topics", "--create", plant=plant)
        raise NotSo(f"{missing} topics are missing ({makes} makes them), {different} differ")
