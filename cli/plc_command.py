"""`linesight plc command`: a person's command to a station, through the same interlocks as every other."""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.exits import NotSo
from cli.hints import next_command
from cli.options import DEMO_PLANT, Json, PlantFile, one_line, print_json
from cli.services import find_kafka
from schemas.commands import PERSON_SIGNAL, Command, CommandResult
from schemas.errors import ConfigurationError, ServiceAway
from schemas.plant import Plant, Station
from schemas.plant_file import load_plant
from schemas.reasons import CommandKind, CommandOutcome
from schemas.settings import KafkaSettings
from schemas.topics import COMMAND_RESULTS, COMMANDS

VALID_FOR_S = 10
ANSWER_S = VALID_FOR_S + 20
LOOK_EVERY_MS = 200
Kind = Literal["reject", "stop_line", "speed", "parameter"]


def command(
    kind: Annotated[Kind, typer.Argument(help="What is asked for; verdicts are the judge's.")],
    plant: PlantFile = DEMO_PLANT,
    station: Annotated[str | None, typer.Option(help="Needed where the plant has several stations.")] = None,
    value: Annotated[float | None, typer.Option(help="Of speed or parameter, in the PLC's unit.")] = None,
    parameter: Annotated[str, typer.Option(help="Name under the station's interlocks.")] = "",
    part: Annotated[str, typer.Option(help="Part to reject.")] = "",
    visit: Annotated[int, typer.Option(min=1)] = 1,
    who: Annotated[str | None, typer.Option(help="Who asks; default: the user logged in.")] = None,
    json: Json = False,
) -> None:
    """Asks the PLC gateway for a write and tells what became of it. Exit code 1 where the machine did not take it."""
    description = load_plant(plant)
    place, asked_kind = _station(description, station), CommandKind(kind)
    known = [each.name for each in place.interlocks.parameters]
    if parameter and parameter not in known:
        raise ConfigurationError(
            f"--parameter {parameter}: expected one of {', '.join(known) or 'none: there are no parameters'} "
            f"(under `interlocks` of {place.name} in {plant})"
        )
    if (value is None) is (asked_kind in (CommandKind.SPEED, CommandKind.PARAMETER)):
        raise ConfigurationError(
            f"--value: speed and parameter need one, {kind} {'has none' if value is None else 'takes none'}"
        )
    if bool(parameter) is not (asked_kind is CommandKind.PARAMETER) or bool(part) is not (
        asked_kind is CommandKind.REJECT
    ):
        raise ConfigurationError("expected --parameter with parameter and --part with reject, and nowhere else")
    now_ns, person = time.time_ns(), who or getpass.getuser()
    asked = Command(
        id=f"person/{person}/{now_ns}",
        station=place.name,
        kind=asked_kind,
        issued_at_ns=now_ns,
        valid_until_ns=now_ns + VALID_FOR_S * 1_000_000_000,
        reason_code=f"person {person}",
        part_id=part,
        visit=visit if part else 0,
        parameter=parameter,
        value=value or 0.0,
        signals=(PERSON_SIGNAL,) if asked_kind is CommandKind.STOP_LINE else (),
    )
    result = carry_out(asked, description, find_kafka(), plant_file=plant)
    if json:
        print_json(result)
    else:
        print(one_line(f"{kind} at {place.name}: {result.outcome}{'; ' + result.detail if result.detail else ''}"))
    if result.outcome is not CommandOutcome.ACKNOWLEDGED:
        raise NotSo(f"{kind} at {place.name} was not carried out: {result.outcome}")


def _station(plant: Plant, name: str | None) -> Station:
    stations = {station.name: station for station in plant.stations if station.plc is not None}
    if name is None and len(stations) == 1:
        return next(iter(stations.values()))
    if name not in stations:
        raise ConfigurationError(
            f"--station: expected one of {', '.join(stations) or 'none: no station has a PLC'}; got {name!r}"
        )
    return stations[name]


def carry_out(asked: Command, plant: Plant, kafka: KafkaSettings, *, plant_file: Path) -> CommandResult:
    """Sends a command and returns what became of it. Raises ServiceAway where nobody tells within half a minute."""
    from cli.following import Follower
    from cli.producing import Sender

    with Follower(plant=plant, settings=kafka, topics=(COMMAND_RESULTS,)) as follower:
        with Sender(plant=plant, kafka=kafka) as sender:
            sender.send([(COMMANDS, asked.station, asked)])
        give_up_at_s = time.monotonic() + ANSWER_S
        while time.monotonic() < give_up_at_s:
            for seen in follower.poll(timeout_ms=LOOK_EVERY_MS):
                if isinstance(seen.message, CommandResult) and seen.message.id == asked.id:
                    return seen.message
    raise ServiceAway(
        f"no result within {ANSWER_S} s: does the PLC gateway run? ({next_command('up', plant=plant_file)}, "
        f"{next_command('run', 'plc-gateway', plant=plant_file)})"
    )
