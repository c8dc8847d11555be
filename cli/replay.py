"""`linesight replay`: sends dead letters through the line again, after their cause was mended."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Annotated

import msgspec
import typer

from cli.hints import next_command
from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from cli.producing import Sender
from cli.services import find_kafka
from processors.ledger_frames import REPLAY_MARK
from schemas.codec import decode, encode
from schemas.errors import ConfigurationError, Refused
from schemas.frames import frame_id
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.reasons import RefusalReason
from schemas.records import DeadLetter
from schemas.settings import KafkaSettings
from schemas.topics import BY_NAME, DEAD_LETTERS, FRAMES

FRAME_EVERY_S = 0.1
"""Slow enough that a live frame waits for one of these at most."""

app = typer.Typer(help="Sends messages through the line again.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def replay() -> None:
    """Sends messages through the line again."""


@app.command("statistics")
def statistics(
    from_: Annotated[str, typer.Option("--from", help="First moment, ISO 8601; the plant's time zone.")],
    to: Annotated[str, typer.Option(help="End; windows that lie in the period whole are counted again.")],
    plant: PlantFile = DEMO_PLANT,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be sent.")] = False,
    json: Json = False,
) -> None:
    """Counts closed windows of the past again, by the plant file as it is now, and sends what differs as revisions.

    Live windows are not touched. Twice the same period sends nothing the second time.
    """
    from cli.replay_statistics import replay_statistics, send
    from cli.report_period import moment_ns
    from processors.period_report import Period

    description = load_plant(plant)
    period = Period(moment_ns(from_, description, option="--from"), moment_ns(to, description, option="--to"))
    if period.from_ns >= period.to_ns:
        raise ConfigurationError("--to: expected a moment after --from")
    kafka = find_kafka()
    replayed = replay_statistics(description, kafka, period, now_ms=time.time_ns() // 1_000_000)
    if not dry_run:
        send(description, kafka, replayed.panes)
    if json:
        print_json(
            {"verdicts": replayed.verdicts, "revisions": [pane.id for pane in replayed.panes], "sent": not dry_run}
        )
    else:
        print(
            f"{replayed.verdicts} verdicts counted, {len(replayed.panes)} revisions{' (not sent)' if dry_run else ' sent'}"
        )


@app.command("dead-letters")
def dead_letters(
    plant: PlantFile = DEMO_PLANT,
    reason: Annotated[str | None, typer.Option(help="Only letters with this reason.")] = None,
    letter: Annotated[list[str] | None, typer.Option("--id", help="Only these letters; repeatable.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be sent.")] = False,
    json: Json = False,
) -> None:
    """Sends the original bytes to their topic. A frame gets a session of its own (`<session>+replay-<time>`): its first
    outcome stands in the ledger, so the new one must not bear the same id. Live frames go first: the frames are left to the
    backfill stage where there is one, and else sent slowly, and not while live frames wait."""
    if reason is None and not letter:
        lists = next_command("dead-letters", plant=plant)
        raise ConfigurationError(f"say which: --reason REASON or --id ID ({lists} lists them)")
    if reason is not None and reason not in list(RefusalReason):
        raise ConfigurationError(f"unknown reason {reason!r}; expected one of: {', '.join(RefusalReason)}")
    description, settings = load_plant(plant), find_kafka()

    def chosen(found: DeadLetter) -> bool:
        return (
            found.topic in BY_NAME and (reason is None or found.reason == reason) and (not letter or found.id in letter)
        )

    with nullcontext() if dry_run else Sender(plant=description, kafka=settings) as sender:
        ids = asyncio.run(_send_again(description, chosen, sender))
    if json:
        print_json({"sent": 0 if dry_run else len(ids), "ids": ids})
    else:
        print(f"{len(ids)} dead letters " + ("would be sent" if dry_run else "sent") + " again")


async def _send_again(plant: Plant, chosen: Callable[[DeadLetter], bool], sender: Sender | None) -> list[str]:
    """Goes through the letters one by one: each may hold a whole image. A letter written twice is sent once."""
    from topologies.live_group import LiveGroup
    from topologies.topic_reader import read_topics

    suffix, ids = f"{REPLAY_MARK}{time.time_ns():x}", dict[str, None]()
    async with LiveGroup(plant=plant.plant, kafka=KafkaSettings(), say=_complain) as live:
        async for stored in read_topics(plant, [DEAD_LETTERS]):
            found = stored.message
            if found is None or found.id in ids or not chosen(found):
                continue
            ids[found.id] = None
            if sender is None:
                continue
            if found.topic == FRAMES.name and not plant.defers_frames:
                await live.wait_until_it_keeps_up()
                await asyncio.sleep(FRAME_EVERY_S)
            value, headers = _again(found, suffix)
            await asyncio.to_thread(sender.send_raw, [(BY_NAME[found.topic], found.key, value, headers)])
    return list(ids)


def _complain(detail: str) -> None:
    print(detail, file=sys.stderr)


def _again(letter: DeadLetter, suffix: str) -> tuple[bytes | None, list[tuple[str, bytes]]]:
    """Value and headers to send: as they were, but for a frame that can be read, which gets a new session."""
    if letter.topic != FRAMES.name:
        return letter.value, list(letter.headers)
    try:
        frame = decode(FRAMES, letter.value, letter.headers)
    except Refused:
        return letter.value, list(letter.headers)
    session = frame.session + suffix
    renamed = msgspec.structs.replace(
        frame, session=session, id=frame_id(camera=frame.camera, session=session, sequence=frame.sequence)
    )
    return encode(FRAMES, renamed)
