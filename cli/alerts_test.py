"""`linesight alerts test`: what a rule of the plant file would have said about a recorded period, or a file of messages."""

from __future__ import annotations

import json as json_format
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from cli.options import DEMO_PLANT, Json, PlantFile, one_line, print_json
from cli.services import find_kafka
from schemas.alert_rules import AssetWatchRule, BrokerAwayRule, Rule
from schemas.errors import ConfigurationError
from schemas.message import NS_PER_MS, NS_PER_S
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.plant_shape import nearest
from schemas.topics import Topic

if TYPE_CHECKING:
    from processors.alert_trial import Episode, Recorded, TrialResult

MOST_RECORDS = 1_000_000
"""Held at once, to be put into the order of their times."""


def command(
    rule: Annotated[str, typer.Option(help="Name of a rule of the plant file.")],
    from_: Annotated[str | None, typer.Option("--from", help="First moment, ISO 8601; the plant's time zone.")] = None,
    to: Annotated[str | None, typer.Option(help="End; default: now, of a file its last line.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="Messages as `linesight tail` prints them, instead of the topics.")
    ] = None,
    plant: PlantFile = DEMO_PLANT,
    json: Json = False,
) -> None:
    """Says when the rule would have raised an alert and for how long, by the plant file as it is now. Sends nothing.

    Windows begin empty at the first record. Exit code 1 where there is no record to test against.
    """
    from cli.exits import NotSo
    from processors.alert_trial import topics_of, tried

    description = load_plant(plant)
    chosen = _rule(rule, description)
    if file is None and from_ is None:
        raise ConfigurationError("expected --from MOMENT (what is on the topics), or --file FILE")
    begins_ns, ends_ns = _period(from_, to, description)
    topics = topics_of(chosen)
    read = _from_file(file, topics) if file is not None else _from_topics(description, topics, begins_ns)
    records = [each for each in read if begins_ns <= each.at_ns < (ends_ns or each.at_ns + 1)]
    if not records:
        names = ", ".join(topic.name for topic in topics)
        raise NotSo(f"nothing to test {rule} against: no message of {names} in the period")
    records.sort(key=lambda each: each.at_ns)
    until_ns = ends_ns if ends_ns is not None or file is not None else time.time_ns()
    result = tried(chosen, plant=description, records=records, until_ns=until_ns)
    rows = [_row(episode) for episode in result.episodes]
    if json:
        print_json({"rule": rule, "records": result.records, "refused": result.refused, "episodes": rows})
    else:
        _print(rule, records, result, rows)


def _rule(name: str, plant: Plant) -> Rule:
    names = [known.name for known in plant.alerts]
    found = next((known for known in plant.alerts if known.name == name), None)
    if found is None:
        guess = nearest(name, names)
        hint = f"; did you mean {guess}?" if guess else ""
        raise ConfigurationError(
            f"--rule {name!r}: expected one of {', '.join(names) or 'none: there is no rule'}{hint}"
        )
    if isinstance(found, AssetWatchRule | BrokerAwayRule):
        why = (
            "`asset_watch` learns before it judges"
            if isinstance(found, AssetWatchRule)
            else "`broker_away` judges by what never reached a topic"
        )
        raise ConfigurationError(f"--rule {name!r}: expected a rule of another type; {why}")
    return found


def _period(from_: str | None, to: str | None, plant: Plant) -> tuple[int, int | None]:
    from cli.report_period import moment_ns

    begins_ns = moment_ns(from_, plant, option="--from") if from_ is not None else 0
    ends_ns = moment_ns(to, plant, option="--to") if to is not None else None
    if ends_ns is not None and ends_ns <= begins_ns:
        raise ConfigurationError("--to: expected a moment after --from")
    return begins_ns, ends_ns


def _from_topics(plant: Plant, topics: Iterable[Topic], begins_ns: int) -> Iterator[Recorded]:
    from cli.following import Follower
    from processors.alert_trial import Recorded

    from_ms, count = begins_ns // NS_PER_MS, 0
    with Follower(plant=plant, settings=find_kafka(), topics=tuple(topics), from_ms=from_ms) as follower:
        follower.require_from(from_ms)
        for seen in follower.drain():
            if seen.message is None:
                continue  # it is a dead letter: no rule saw it then either
            count += 1
            if count > MOST_RECORDS:
                raise ConfigurationError(f"more than {MOST_RECORDS:,} records since --from: expected a shorter period")
            yield Recorded(at_ns=seen.at_ms * NS_PER_MS, message=seen.message)


def _from_file(path: Path, topics: Iterable[Topic]) -> Iterator[Recorded]:
    from processors.alert_trial import Recorded

    wanted = {topic.name: topic for topic in topics}
    count = 0
    with path.open(encoding="utf-8", errors="strict") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json_format.loads(line)
                topic = wanted.get(record["topic"])
                if topic is None or "message" not in record:
                    continue
                message = msgspec.convert(record["message"], topic.message)
                at_ns = int(record["at_ms"]) * NS_PER_MS
            except (ValueError, TypeError, KeyError, RecursionError, msgspec.ValidationError) as error:
                raise ConfigurationError(
                    one_line(
                        f'{path}:{number}: expected a line of `linesight tail` ({{"topic", "at_ms", "message", ...}}): {error}'
                    )
                ) from error
            count += 1
            if count > MOST_RECORDS:
                raise ConfigurationError(f"{path}: more than {MOST_RECORDS:,} records: expected a shorter file")
            yield Recorded(at_ns=at_ns, message=message)


def _row(episode: Episode) -> dict[str, Any]:
    raised, cleared = episode.raised, episode.cleared
    return {
        "subject": raised.subject,
        "raised_at": _moment(raised.at_ns),
        "cleared_at": _moment(cleared.at_ns) if cleared else None,
        "open_s": round((cleared.at_ns - raised.at_ns) / NS_PER_S, 3) if cleared else None,
        "repeated": episode.repeated,
        "value": raised.value,
        "threshold": raised.threshold,
        "summary": raised.summary,
        "action": raised.action,
    }


def _print(rule: str, records: list[Recorded], result: TrialResult, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        end = f"cleared {row['cleared_at']} after {row['open_s']:g} s" if row["cleared_at"] else "open at the end"
        action = f"; would ask for {row['action']}" if row["action"] else ""
        print(
            one_line(
                f"{row['raised_at']} {row['subject']}: {row['summary']}; {end}, repeated {row['repeated']}{action}"
            )
        )
    period = f"{_moment(records[0].at_ns)} to {_moment(records[-1].at_ns)}"
    refused = f", {result.refused} not judged" if result.refused else ""
    print(f"{rule} would have been raised {len(rows)} times ({result.records} records{refused}, {period})")


def _moment(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / NS_PER_S, UTC).isoformat(timespec="milliseconds")
