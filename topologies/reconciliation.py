"""The ledger of a plant, read from its topics: `linesight ledger`.

Without a checkpoint it begins at the oldest record. With one it goes on where it left off and leaves the next one, so that an
hourly run costs an hour's records and outlives retention.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from processors.ledger import LEDGER_TOPICS, SETTLE_MS, Ledger
from processors.ledger_findings import LedgerReport
from schemas.errors import ConfigurationError
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import FRAMES
from topologies.topic_reader import Place, Span, Stored, TopicReader


async def ledger_of(
    plant: Plant,
    *,
    kafka: KafkaSettings | None = None,
    checkpoint: Path | None = None,
    settle_ms: int = SETTLE_MS,
) -> LedgerReport:
    """Reads everything up to the present end and says how things stand; see `processors.ledger`.

    `checkpoint` is a file to go on from, where it exists, and to leave behind. Of `frames` only those records are read that
    nothing else names. Raises ServiceAway, and ConfigurationError for missing topics or a checkpoint that cannot be read.
    """
    kept = _load(checkpoint)
    ledger = Ledger.from_checkpoint(kept["ledger"]) if kept else Ledger()
    positions: Mapping[str, int] = kept["positions"] if kept else {}
    async with TopicReader(plant=plant, kafka=kafka) as reader:
        frames = await reader.spans([FRAMES])
        spans = await reader.spans(LEDGER_TOPICS)
        rest = {place: Span(max(span.first, positions.get(_name(place), 0)), span.end) for place, span in spans.items()}
        if any(positions.get(_name(place), 0) < span.first for place, span in spans.items()):
            ledger.begins_midway = True
        async for stored in reader.read(LEDGER_TOPICS, rest):
            enter(ledger, stored)
        await name_frames(reader, ledger, frames)
    if checkpoint is not None:
        _save(checkpoint, ledger, {_name(place): span.end for place, span in spans.items()})
    return ledger.report(now_ns=time.time_ns(), settle_ms=settle_ms)


def enter(ledger: Ledger, stored: Stored) -> None:
    """Adds a record as it lies on its topic."""
    ledger.add(
        stored.topic,
        stored.message,
        partition=stored.partition,
        offset=stored.offset,
        at_ms=stored.at_ms,
        headers=stored.headers,
    )


async def name_frames(reader: TopicReader, ledger: Ledger, frames: Mapping[Place, Span]) -> None:
    """Tells the ledger what `frames` holds, and reads only those of its records that nothing else named."""
    for place, span in frames.items():
        ledger.holds(place.partition, span.first, span.end)
    for span_of in _consecutive(ledger.unaccounted_frames()):
        async for stored in reader.read([FRAMES], span_of):
            enter(ledger, stored)


def _consecutive(records: Sequence[tuple[int, int]]) -> Iterator[dict[Place, Span]]:
    """One span per run of consecutive offsets; `records` are (partition, offset), sorted."""
    at = 0
    while at < len(records):
        partition, first = records[at]
        end = first
        while at < len(records) and records[at] == (partition, end):
            at, end = at + 1, end + 1
        yield {Place(FRAMES.name, partition): Span(first, end)}


def _name(place: Place) -> str:
    return f"{place.topic}/{place.partition}"


def _load(file: Path | None) -> dict[str, Any] | None:
    if file is None or not file.exists():
        return None
    try:
        kept: dict[str, Any] = msgspec.json.decode(file.read_bytes())
        Ledger.from_checkpoint(kept["ledger"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{file} is no ledger checkpoint of this version ({error!r}): give another file, or remove it to begin at the oldest record"
        ) from error
    return kept


def _save(file: Path, ledger: Ledger, positions: Mapping[str, int]) -> None:
    """Whole or not at all: a run that is cut off leaves the checkpoint before it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(file.suffix + ".new")
    fresh.write_bytes(msgspec.json.encode({"positions": positions, "ledger": ledger.checkpoint()}))
    fresh.replace(file)
