"""`linesight certificates`: ours for each PLC made, shown and rotated; the PLC's pinned."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from schemas.errors import ConfigurationError
from schemas.plant import Plant, Plc
from schemas.plant_file import load_unfinished_plant

if TYPE_CHECKING:
    from gateways.certificates import CertificateFacts, Pair

app = typer.Typer(help="Certificates for the PLCs.", no_args_is_help=True, rich_markup_mode=None)

Days = Annotated[int, typer.Option(min=1, max=3650, help="How long the new certificate is valid.")]
OnePlc = Annotated[str | None, typer.Option(help="Name of the PLC in the plant file; else all that are encrypted.")]


class FileState(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate file as `show` lists it; `problem` is "" where all is well."""

    plc: str
    role: str
    path: str
    thumbprint: str = ""
    subject: str = ""
    application_uri: str = ""
    valid_until: str = ""
    days_left: int = 0
    problem: str = ""


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
            done.append(_done(names, pair.certificate, read_facts(pair.certificate), "was there already"))
            continue
        facts = write_pair(
            pair.certificate,
            pair.private_key,
            name=f"Linesight {description.plant}",
            application_uri=f"urn:{socket.gethostname()}:linesight:{description.plant}",
            days=days,
            pem=pair.certificate.suffix == ".pem",
        )
        done.append(_done(names, pair.certificate, facts, "made: put it into the PLC's list of trusted clients"))
    _tell(done, as_json=json)


@app.command("show")
def show(plc: OnePlc = None, plant: PlantFile = DEMO_PLANT, json: Json = False) -> None:
    """Lists the certificates with thumbprint and end. Exit code 1 where one is missing, ended, or ends within 30 days."""
    from cli.exits import NotSo

    states = [state for each in _encrypted(load_unfinished_plant(plant), plc) for state in _states(each, _dir(plant))]
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
                    f"{names}: {pair.upcoming.certificate} with its key is not there; first `linesight certificates rotate` "
                    "without --switch"
                )
        for names, pair in pairs:
            pair.switch()
            done.append(_done(names, pair.certificate, read_facts(pair.certificate), "in use from the next session on"))
    else:
        what = "prepared: put it into the PLC's list of trusted clients, then `linesight certificates rotate --switch`"
        for names, pair in pairs:
            facts = read_facts(pair.upcoming.certificate) if pair.can_switch else _prepare(pair, description, days)
            done.append(_done(names, pair.upcoming.certificate, facts, what))
    _tell(done, as_json=json)


@app.command("trust")
def trust(
    plc: Annotated[str, typer.Option(help="Name of the PLC in the plant file.")],
    thumbprint: Annotated[
        str | None,
        typer.Option(help="The thumbprint that the PLC itself displays (SHA-1, hex; spaces and colons may stay)."),
    ] = None,
    plant: PlantFile = DEMO_PLANT,
    json: Json = False,
) -> None:
    """Fetches the certificate that answers at the PLC's address, and pins it if its thumbprint is the given one.

    Without --thumbprint it shows what answered and saves nothing: compare it with what the PLC displays. Exit code 1 where
    nothing was saved.
    """
    from cli.exits import NotSo
    from gateways.certificates import files_of, save_certificate, served_certificate

    (chosen,) = _encrypted(load_unfinished_plant(plant), plc)
    place = files_of(chosen, plant_dir=_dir(plant)).server_certificate
    der, facts = asyncio.run(served_certificate(chosen))
    right = thumbprint is not None and _plain(thumbprint) == facts.thumbprint
    if right:
        save_certificate(place, der)
    what = f"{facts.subject} answers at {chosen.endpoint}: " + ("trusted, and no other" if right else "not saved")
    _tell([_done(chosen.name, place, facts, what)], as_json=json)
    if thumbprint is None:
        raise NotSo(
            "nothing was saved: compare the thumbprint with the one that the PLC displays, then give it with --thumbprint"
        )
    if not right:
        raise NotSo(
            f"nothing was saved: expected thumbprint {_plain(thumbprint)}; somebody else may answer at that address"
        )


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


def _states(plc: Plc, plant_dir: Path) -> Iterator[FileState]:
    from gateways.certificates import RENEW_DAYS, belong_together, files_of, read_facts

    files = files_of(plc, plant_dir=plant_dir)
    now = dt.datetime.now(dt.UTC)
    for role, path in (("ours", files.own.certificate), ("the PLC's", files.server_certificate)):
        if not path.exists():
            verb = "create" if role == "ours" else f"trust --plc {plc.name}"
            yield FileState(
                plc=plc.name, role=role, path=str(path), problem=f"missing: `linesight certificates {verb}`"
            )
            continue
        try:
            facts = read_facts(path)
            paired = role != "ours" or belong_together(files.own.certificate, files.own.private_key)
        except ConfigurationError as error:
            yield FileState(plc=plc.name, role=role, path=str(path), problem=str(error))
            continue
        left = facts.days_left(now)
        problem = ""
        if not paired:
            problem = f"{files.own.private_key} is not its key"
        elif facts.valid_from > now:
            problem = f"not valid before {facts.valid_from:%Y-%m-%d}: look at the clock"
        elif left < RENEW_DAYS:
            problem = ("has ended" if left < 0 else "ends soon") + (
                ": `linesight certificates rotate`"
                if role == "ours"
                else ": renew it in the PLC, then `trust` it again"
            )
        yield FileState(
            plc=plc.name, role=role, path=str(path), thumbprint=facts.thumbprint, subject=facts.subject,
            application_uri=facts.application_uri, valid_until=f"{facts.valid_until:%Y-%m-%d}", days_left=left,
            problem=problem,
        )  # fmt: skip


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
        name=f"Linesight {plant.plant}",
        application_uri=uri or f"urn:{socket.gethostname()}:linesight:{plant.plant}",
        days=days,
        pem=pair.certificate.suffix == ".pem",
    )


def _dir(plant_file: Path) -> Path:
    return plant_file.resolve().parent


def _plain(thumbprint: str) -> str:
    return "".join(sign for sign in thumbprint.lower() if sign in "0123456789abcdef")
