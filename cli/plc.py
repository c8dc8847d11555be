"""`linesight plc`: what a PLC offers, as `nodes` to paste into the plant file (`browse`), and a person's command (`command`)."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import plc_command
from cli.hints import next_command
from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from schemas.errors import ConfigurationError
from schemas.plant import Plc
from schemas.plant_file import load_unfinished_plant

if TYPE_CHECKING:
    from gateways.opcua_session import Variable

app = typer.Typer(help="PLCs.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def plcs() -> None:
    """PLCs."""


app.command("command")(plc_command.command)


@app.command("browse")
def browse(
    plc: Annotated[str | None, typer.Option(help="Name of the PLC in the plant file, where there are several.")] = None,
    station: Annotated[
        str | None, typer.Option(help="Station whose nodes are looked for; else the PLC's first.")
    ] = None,
    plant: PlantFile = DEMO_PLANT,
    json: Json = False,
) -> None:
    """Reads the PLC's variables and proposes the node map of a station. Writes nothing to the PLC.

    Exit code 1 if a node that a station needs was not found, has another type, or may not be written although it has to be.
    """
    from cli.exits import NotSo
    from gateways.node_map import as_yaml, propose
    from gateways.station_nodes import stations_of

    description = load_unfinished_plant(plant)
    names = [each.name for each in description.plcs]
    found = description.plc(plc) if plc is not None else (description.plcs[0] if len(names) == 1 else None)
    if found is None:
        raise ConfigurationError(f"--plc: expected one of {', '.join(names) or 'no PLC: the plant file has none'}")
    stations = [each.name for each in stations_of(description, found)]
    if not stations or station not in (None, *stations):
        raise ConfigurationError(
            f"--station: expected one of {', '.join(stations) or 'none: no station names this PLC'}"
        )
    chosen = station or stations[0]
    variables = asyncio.run(_variables(found, plant, plant.resolve().parent))
    others = {each.name for each in description.stations} - {chosen}
    mapped = propose(variables, station=chosen, others=others, nodes=found.nodes)
    missing = [item.key for item in mapped if item.missing]
    faults = {item.key: item.fault for item in mapped if item.fault}
    if json:
        print_json(
            {
                "plc": found.name,
                "station": chosen,
                "variables": [variable._asdict() for variable in variables],
                "nodes": {item.key: item.variable.identifier for item in mapped if item.variable is not None},
                "missing": missing,
                "faults": faults,
            }
        )
    else:
        print(f"# {found.name} at {found.endpoint}, {len(variables)} variables in {found.namespace}; station {chosen}")
        print(as_yaml(mapped, station=chosen))
    problems = [f"{len(missing)} of {len(mapped)} nodes were not found: {', '.join(missing)}"] if missing else []
    problems += [f"{key} is {fault}" for key, fault in faults.items()]
    if problems:
        raise NotSo("; ".join(problems))


async def _variables(plc: Plc, plant_file: Path, plant_dir: Path) -> list[Variable]:
    from gateways.opcua_refusals import why_not
    from gateways.opcua_security import CertificatesUnusable, NotTrusted
    from gateways.opcua_session import OpcUaSession, PlcAway

    trust = next_command("certificates", "trust", "--plc", plc.name, plant=plant_file)
    # it logs each fault that we are about to explain
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    try:
        session = await OpcUaSession.open(plc, plant_dir=plant_dir, name="linesight-browse")
    except NotTrusted as error:
        raise ConfigurationError(f"{error}: compare it with what the PLC displays, and trust it: {trust}") from error
    except CertificatesUnusable as error:
        shown = next_command("certificates", "show", plant=plant_file)
        raise ConfigurationError(f"{error}; {shown} lists what is missing") from error
    except PlcAway as error:
        found = await why_not(plc, plant_dir=plant_dir)
        if found is None:
            raise
        raise ConfigurationError(
            f"{found}: compare what answers with what the PLC displays, and pin it: {trust}"
        ) from error
    try:
        return await session.variables()
    finally:
        await session.close()
