"""`linesight tail TOPIC`: decoded messages as JSON lines."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from cli.options import DEMO_PLANT, Json, PlantFile, print_json_line
from cli.services import consumer_of, find_kafka
from schemas.codec import decode
from schemas.errors import ConfigurationError, Refused
from schemas.plant_file import load_plant
from schemas.topics import BY_NAME, Topic


def command(
    topic: Annotated[str, typer.Argument(help=", ".join(BY_NAME))],
    plant: PlantFile = DEMO_PLANT,
    from_beginning: Annotated[bool, typer.Option(help="Everything kept, not only what comes from now on.")] = False,
    max_messages: Annotated[int | None, typer.Option("--max", min=1, help="Stop after so many.")] = None,
    idle_s: Annotated[float | None, typer.Option(help="Stop when nothing came for so long.")] = None,
    json: Json = True,  # a line of JSON is what this verb prints in any case
) -> None:
    """Prints each record as {"topic", "partition", "offset", "at_ms", "key", "message"}; image bytes are shown by their size."""
    if topic not in BY_NAME:
        raise ConfigurationError(f"unknown topic {topic!r}; expected one of: {', '.join(BY_NAME)}")
    description = BY_NAME[topic]
    settings = find_kafka()
    shown = 0
    with consumer_of(description.on(load_plant(plant).plant), settings, timeout_ms=10_000) as consumer:
        partitions = list(consumer.assignment())
        if from_beginning:
            consumer.seek_to_beginning(*partitions)
        else:
            consumer.seek_to_end(*partitions)
        try:
            while max_messages is None or shown < max_messages:
                batches = consumer.poll(timeout_ms=1000 if idle_s is None else max(1, int(idle_s * 1000)))
                if not batches and idle_s is not None:
                    return
                for records in batches.values():
                    for record in records:
                        print_json_line(as_line(description, record))
                        shown += 1
                        if shown == max_messages:
                            return
        except KeyboardInterrupt:
            return


def as_line(topic: Topic, record: Any) -> dict[str, Any]:
    """A Kafka record as a JSON-able map; `error` instead of `message` where it cannot be decoded."""
    line: dict[str, Any] = {
        "topic": topic.name,
        "partition": record.partition,
        "offset": record.offset,
        "at_ms": record.timestamp,
        "key": record.key.decode("utf-8", "replace") if record.key else None,
    }
    try:
        line["message"] = _without_bytes(
            msgspec.to_builtins(decode(topic, record.value, record.headers), builtin_types=(bytes,))
        )
    except Refused as refused:
        line["error"] = {"reason": refused.reason.value, "detail": refused.detail}
    return line


def _without_bytes(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, dict):
        return {key: _without_bytes(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_bytes(item) for item in value]
    return value
