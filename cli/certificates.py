"""`linesight certificates`: ours for each PLC made, shown and rotated; the PLC's trusted."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from cli.certificate_states import certificate_states
from cli.hints import next_command
from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from schemas.errors import ConfigurationError
from schemas.plant import Plant, Plc
from schemas.plant_file import load_unfinished_plant

if TYPE_CHECKING:
    from gateways.certificates import CertificateFacts, Pair

app = typer.Typer(help="Certificates for the PLCs.", no_args_is_help=True, rich_markup_mode=None)

Days = Annotated[int, typer.Option(min=1, max=3650, help="How long the new certificate is valid.")]
TO_THE_PLC = "put it into the PLC's list of trusted clients"
GIT_S = 5.0
NOT_IGNORED = 1  # exit code of `git check-ignore`; 128: no checkout
Thumbprint = Annotated[
    str | None,
    typer.Option(help="The thumbprint that the PLC itself displays (SHA-1, hex; spaces and colons may stay)."),
]
OnePlc = Annotated[str | None, typer.Option(help="Name of the PLC in the plant file; else all that are encrypted.")]


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What was done about one certificate file. `plc` may name several PLCs that share it."""

    plc: str
    path: str
    thumbprint: str
    valid_until: str
    what: str


@app.callback()
def certificates() -> None:
    """Certificates for the PLCs."""


@app.command("create")
def create(plc: OnePlc = None, days: Days = 730, plant: PlantFile = DEMO_PLANT, json: Json = False) -> None:
    """Makes our key and self-signed certificate for each encrypted PLC, where there is none yet. Replaces nothing.

    The PLC has to trust the certificate: put the file into its trust list.
    """
    from gateways.certificates import belong_together, read_facts, write_pair

    description = load_unfinished_plant(plant)
    pairs = _own_pairs(description, plc, _dir(plant))
    for names, pair in pairs:
        there = [path for path in (pair.certificate, pair.private_key) if path.exists()]
        if len(there) == 1 or (there and not belong_together(pair.certificate, pair.private_key)):
            raise ConfigurationError(
                f"{names}: {' and '.join(map(str, there))} {'has no partner' if len(there) == 1 else 'do not belong together'}: "
                "put the right files there, or move these away and ask again"
            )
    done: list[Done] = []
    for names, pair in pairs:
        if pair.certificate.exists():
            facts = read_facts(pair.certificate)
            done.append(_done(names, pair.certificate, facts, _was_there(facts, description)))
            continue
        facts = write_pair(
            pair.certificate,
            pair.private_key,
            name=_common_name(description),
            application_uri=f"urn:{socket.gethostname()}:linesight:{description.plant}",
            days=days,
            pem=pair.certificate.suffix == ".pem",
        )
        done.append(_done(names, pair.certificate, facts, f"made: {TO_THE_PLC}"))
    _tell(done, as_json=json)
    for _, pair in pairs:
        if may_be_committed(pair.private_key):
            print(f"warning: git does not ignore {pair.private_key}: add its folder to .gitignore", file=sys.stderr)


@app.command("show")
def show(plc: OnePlc = None, plant: PlantFile = DEMO_PLANT, json: Json = False) -> None:
    """Lists the certificates with thumbprint and end. Exit code 1 where one is missing, ended, or ends within 30 days."""
    from cli.exits import NotSo

    states = [
        state for each in _encrypted(load_unfinished_plant(plant), plc) for state in certificate_states(each, plant)
    ]
    if json:
        print_json(states)
    else:
        for state in states:
            print(f"{state.plc} {state.role}: {state.path}")
            if state.thumbprint:
                print(f"  {state.subject}, {state.application_uri or 'no application URI'}")
                print(f"  thumbprint {state.thumbprint}, until {state.valid_until} ({state.days_left} days)")
            if state.problem:
                print(f"  {state.problem}")
    problems = [f"{state.path}: {state.problem}" for state in states if state.problem]
    if problems:
        raise NotSo("; ".join(problems))


@app.command("rotate")
def rotate(
    plc: OnePlc = None,
    days: Days = 730,
    switch: Annotated[bool, typer.Option("--switch", help="Puts the prepared pair in place.")] = False,
    plant: PlantFile = DEMO_PLANT,
    json: Json = False,
) -> None:
    """Prepares the next key and certificate beside those in use (`.next`); with --switch puts them in place.

    In between, let the PLC trust the new certificate. Running gateways keep their sessions and use the new pair at their
    next one; the former pair stays as `.former`.
    """
    from gateways.certificates import read_facts

    description = load_unfinished_plant(plant)
    pairs = _own_pairs(description, plc, _dir(plant))
    done: list[Done] = []
    if switch:
        for names, pair in pairs:
            if not pair.can_switch:
                raise ConfigurationError(
                    f"{names}: {pair.upcoming.certificate} with its key is not there; first "
                    f"{next_command('certificates', 'rotate', plant=plant)} without --switch"
                )
        for names, pair in pairs:
            pair.switch()
            done.append(_done(names, pair.certificate, read_facts(pair.certificate), "in use from the next session on"))
    else:
        switching = next_command("certificates", "rotate", "--switch", plant=plant)
        what = f"prepared, for the same application URI: {TO_THE_PLC}, then {switching}"
        for names, pair in pairs:
            facts = read_facts(pair.upcoming.certificate) if pair.can_switch else _prepare(pair, description, days)
            done.append(_done(names, pair.upcoming.certificate, facts, what))
    _tell(done, as_json=json)


@app.command("trust")
def trust(
    plc: Annotated[str, typer.Option(help="Name of the PLC in the plant file.")],
    thumbprint: Thumbprint = None,
    file: Annotated[
        Path | None,
        typer.Option(help="Takes this certificate, not the one that answers: the PLC's next one, or an authority's."),
    ] = None,
    plant: PlantFile = DEMO_PLANT,
    json: Json = False,
) -> None:
    """Fetches the certificate that answers at the PLC's address, and trusts it if its thumbprint is the given one.

    It is saved beside the others in `trusted_certificates`; without that folder in the plant file it is pinned as
    `server_certificate`, and the one before is not trusted any more. Without --thumbprint it shows what answered and saves nothing:
    compare it with what the PLC displays. Exit code 1 where nothing was saved.
    """
    from cli.exits import NotSo
    from gateways.certificates import files_of, read_certificate, served_certificate
    from gateways.trust_list import trust_list

    expected = None if thumbprint is None else read_thumbprint(thumbprint)
    (chosen,) = _encrypted(load_unfinished_plant(plant), plc)
    der, facts = asyncio.run(served_certificate(chosen)) if file is None else read_certificate(file)
    trusted = trust_list(chosen, files_of(chosen, plant_dir=_dir(plant)))
    right = expected == facts.thumbprint
    place = trusted.add(der) if right else trusted.place_for(der)
    where = f"{facts.subject} " + (f"answers at {chosen.endpoint}" if file is None else f"is in {file}")
    others = "trusted, and no other" if trusted.folder is None else "trusted, as are the others in its folder"
    _tell([_done(chosen.name, place, facts, f"{where}: {others if right else 'not saved'}")], as_json=json)
    if expected is None:
        raise NotSo(
            "nothing was saved: compare the thumbprint with the one that the PLC displays, then give it with --thumbprint"
        )
    if not right:
        somebody = "somebody else may answer at that address" if file is None else "it is another certificate"
        raise NotSo(f"nothing was saved: expected thumbprint {expected}; {somebody}")


@app.command("distrust")
def distrust(
    plc: Annotated[str, typer.Option(help="Name of the PLC in the plant file.")],
    thumbprint: Annotated[str, typer.Option(help="Of the certificate, as `show` lists it (SHA-1, hex).")],
    plant: PlantFile = DEMO_PLANT,
    json: Json = False,
) -> None:
    """Takes a certificate out of the PLC's `trusted_certificates`: no new session with it. A session that stands ends with its gateway.

    Exit code 1 where it is not in that folder.
    """
    from cli.exits import NotSo
    from gateways.certificates import files_of, read_facts
    from gateways.trust_list import trust_list

    wanted = read_thumbprint(thumbprint)
    (chosen,) = _encrypted(load_unfinished_plant(plant), plc)
    trusted = trust_list(chosen, files_of(chosen, plant_dir=_dir(plant)))
    places = [place for place in trusted.holding(wanted) if place != trusted.pinned]
    if not places:
        shown = next_command("certificates", "show", "--plc", plc, plant=plant)
        raise NotSo(
            f"nothing was removed: no certificate in `trusted_certificates` of PLC {plc} has thumbprint {wanted}; {shown} lists them"
        )
    facts = read_facts(places[0])
    for place in places:
        place.unlink()
    left = len(trusted.files)
    what = "it stays trusted: `server_certificate` of the plant file pins it"
    if not trusted.holding(wanted):
        what = f"not trusted any more; {left or 'none'} left" + ("" if left else ": no session comes to stand")
    _tell([_done(chosen.name, place, facts, what) for place in places], as_json=json)


def _done(names: str, path: Path, facts: CertificateFacts, what: str) -> Done:
    return Done(
        plc=names, path=str(path), thumbprint=facts.thumbprint, valid_until=f"{facts.valid_until:%Y-%m-%d}", what=what
    )


def _tell(done: list[Done], *, as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    for each in done:
        print(f"{each.plc}: {each.path}, thumbprint {each.thumbprint}, until {each.valid_until}")
        print(f"  {each.what}")


def _encrypted(plant: Plant, name: str | None) -> list[Plc]:
    names = [plc.name for plc in plant.plcs if plc.security != "none"]
    if name is not None and name not in names:
        raise ConfigurationError(
            f"--plc: expected one of {', '.join(names) or 'no PLC: none in the plant file is encrypted'}"
        )
    if not names:
        raise ConfigurationError(
            "no PLC of the plant file is encrypted: take `security: none` out and name `certificate`, `private_key` "
            "and `server_certificate`"
        )
    return [plc for plc in plant.plcs if plc.name in names and name in (None, plc.name)]


def _own_pairs(plant: Plant, name: str | None, plant_dir: Path) -> list[tuple[str, Pair]]:
    """Our pairs, each once, with the names of all PLCs that it is for; with `name` only the one of that PLC.

    Raises `ConfigurationError` where a certificate or a key belongs to two pairs.
    """
    from gateways.certificates import files_of

    names: dict[Pair, list[str]] = {}
    for plc in _encrypted(plant, None):
        names.setdefault(files_of(plc, plant_dir=plant_dir).own, []).append(plc.name)
    for place in ("certificate", "private_key"):
        if len({getattr(pair, place) for pair in names}) < len(names):
            raise ConfigurationError(
                f"PLCs {', '.join(plc.name for plc in _encrypted(plant, None))}: one `{place}` is in two pairs; "
                "give each pair files of its own"
            )
    wanted = {plc.name for plc in _encrypted(plant, name)}
    return [(", ".join(users), pair) for pair, users in names.items() if wanted.intersection(users)]


def _prepare(pair: Pair, plant: Plant, days: int) -> CertificateFacts:
    """The next pair: for the same application as the one in use, which is how the PLC knows it."""
    from gateways.certificates import read_facts, write_pair

    uri = read_facts(pair.certificate).application_uri
    return write_pair(
        pair.upcoming.certificate,
        pair.upcoming.private_key,
        name=_common_name(plant),
        application_uri=uri or f"urn:{socket.gethostname()}:linesight:{plant.plant}",
        days=days,
        pem=pair.certificate.suffix == ".pem",
    )


def _dir(plant_file: Path) -> Path:
    return plant_file.resolve().parent


def read_thumbprint(text: str) -> str:
    """SHA-1 in lower-case hex; spaces and colons between its digits may stay. Raises `ConfigurationError` for anything else."""
    digits = re.sub(r"[\s:-]", "", text).lower()
    if not re.fullmatch("[0-9a-f]{40}", digits):
        raise ConfigurationError(
            f"--thumbprint: {text} is no thumbprint; expected the 40 hexadecimal digits (SHA-1) that the PLC displays"
        )
    return digits


def may_be_committed(file: Path) -> bool:
    """Whether the file lies in a git checkout that does not ignore it. Without git nobody can tell: False."""
    command = ["git", "-C", str(file.parent), "check-ignore", "--quiet", str(file.resolve())]
    try:
        asked = subprocess.run(command, check=False, capture_output=True, timeout=GIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == NOT_IGNORED


def _common_name(plant: Plant) -> str:
    return f"Linesight {plant.plant}"


def _was_there(facts: CertificateFacts, plant: Plant) -> str:
    """What is to be done about a certificate of ours that is there. One that an IT department made carries a name of its own."""
    from gateways.certificates import MOST_NAME

    _, ours, maker = facts.subject.partition("CN=Linesight ")
    if ours and facts.subject != f"CN={_common_name(plant)[:MOST_NAME]}":
        return (
            f"was there already, made for plant {maker}: name other files under `certificate` and `private_key` for plant "
            f"{plant.plant}, and ask again"
        )
    return f"was there already: {TO_THE_PLC}, where it is not in it yet"
