"""What `linesight certificates show` lists: the files of a PLC, what they say, and what is wrong with each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cli.hints import next_command
from schemas.errors import ConfigurationError
from schemas.plant import Plc

if TYPE_CHECKING:
    from gateways.trust_list import TrustList


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


def certificate_states(plc: Plc, plant_file: Path) -> Iterator[FileState]:
    """Ours, the next one of ours where it is prepared, and those that are taken for the PLC."""
    from gateways.certificates import files_of
    from gateways.trust_list import trust_list

    files = files_of(plc, plant_dir=plant_file.resolve().parent)
    create = next_command("certificates", "create", plant=plant_file)
    rotate = next_command("certificates", "rotate", plant=plant_file)
    switch = next_command("certificates", "rotate", "--switch", plant=plant_file)
    trust = next_command("certificates", "trust", "--plc", plc.name, plant=plant_file)
    yield _state(plc, "ours", files.own.certificate, key=files.own.private_key, make=create, renew=rotate)
    upcoming = files.own.upcoming
    if upcoming.certificate.exists():
        # an interrupted switch has put the key in place already; the same command finishes it
        key = upcoming.private_key if upcoming.private_key.exists() else files.own.private_key
        yield _state(plc, "our next", upcoming.certificate, key=key, make=rotate, renew=switch)
    renew = f"renew it in the PLC, then {trust}"
    if files.server_certificate is not None:
        yield _state(plc, "the PLC's", files.server_certificate, key=None, make=trust, renew=renew)
    if files.trusted is not None:
        distrust = next_command("certificates", "distrust", "--plc", plc.name, "--thumbprint", "ITS", plant=plant_file)
        renew = f"put the PLC's next one beside it ({trust}), or take it out ({distrust})"
        yield from _trusted(plc, trust_list(plc, files), files.trusted, make=trust, renew=renew)


def _trusted(plc: Plc, trusted: TrustList, folder: Path, *, make: str, renew: str) -> Iterator[FileState]:
    """Those of the folder."""
    from gateways.trust_list import CERTIFICATES

    states = [
        _state(plc, "trusted", file, key=None, make=make, renew=renew) for file in trusted.in_folder(CERTIFICATES)
    ]
    if not trusted.files:
        yield FileState(plc=plc.name, role="trusted", path=str(folder), problem=f"no certificate in it: {make}")
    yield from states


def _state(plc: Plc, role: str, path: Path, *, key: Path | None, make: str, renew: str) -> FileState:
    from gateways.certificates import RENEW_DAYS, belong_together, read_facts

    if not path.exists():
        return FileState(plc=plc.name, role=role, path=str(path), problem=f"missing: {make}")
    now = dt.datetime.now(dt.UTC)
    try:
        facts = read_facts(path)
        paired = key is None or belong_together(path, key)
    except ConfigurationError as error:
        return FileState(plc=plc.name, role=role, path=str(path), problem=str(error))
    left = facts.days_left(now)
    problem = ""
    if not paired:
        problem = f"{key} is not its key"
    elif facts.valid_from > now:
        problem = f"not valid before {facts.valid_from:%Y-%m-%d}: look at the clock"
    elif left < RENEW_DAYS:
        problem = f"{'has ended' if left < 0 else 'ends soon'}: {renew}"
    return FileState(
        plc=plc.name, role=role, path=str(path), thumbprint=facts.thumbprint, subject=facts.subject,
        application_uri=facts.application_uri, valid_until=f"{facts.valid_until:%Y-%m-%d}", days_left=left, problem=problem,
    )  # fmt: skip
