"""`linesight tail TOPIC`: decoded messages as JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from cli.options import DEMO_PLANT, Json, PlantFile, print_json_line
from cli.services import find_kafka
from schemas.errors import ConfigurationError
from schemas.plant_file import load_plant
from schemas.topics import BY_NAME

if TYPE_CHECKING:
    from cli.following import Seen

LOOK_EVERY_MS = 1000


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
    from cli.following import Follower

    description, settings = load_plant(plant), find_kafka()
    wait_ms = LOOK_EVERY_MS if idle_s is None else max(1, int(idle_s * 1000))
    shown = 0
    with Follower(
        plant=description, settings=settings, topics=[BY_NAME[topic]], from_beginning=from_beginning
    ) as follower:
        while True:
            batch = list(follower.poll(timeout_ms=wait_ms))
            if not batch and idle_s is not None:
                return
            for seen in batch:
                print_json_line(as_line(seen))
                shown += 1
                if shown == max_messages:
                    return


def as_line(seen: Seen) -> dict[str, Any]:
    """A record as a JSON-able map; `error` instead of `message` where it cannot be decoded."""
    line: dict[str, Any] = {
        "topic": seen.topic.name,
        "partition": seen.partition,
        "offset": seen.offset,
        "at_ms": seen.at_ms,
        "key": seen.key.decode("utf-8", "replace") if seen.key else None,
    }
    if seen.refused is not None:
        line["error"] = {"reason": seen.refused.reason.value, "detail": seen.refused.detail}
    else:
        line["message"] = _without_bytes(msgspec.to_builtins(seen.message, builtin_types=(bytes,)))
    return line


def _without_bytes(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, dict):
        return {key: _without_bytes(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_bytes(item) for item in value]
    return value
