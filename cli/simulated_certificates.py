"""Certificates for the simulated plant: what commissioning does by hand on a real line, done for a PLC that we play ourselves."""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateways.certificates import Pair, belong_together, files_of, read_facts, write_pair
from schemas.errors import ConfigurationError
from schemas.plant import Plant
from simulation.plc_security import PlcIdentity, identity_of

AGAIN_BEFORE_DAYS = 1


def commission(plant: Plant, *, plant_dir: Path) -> PlcIdentity | None:
    """Makes our pair and the simulated PLC's where they are missing or have ended; None where the plant file says `none`.

    Replaces no file that is still good, and none whose partner is missing: that could be a real PLC's certificate. Raises
    `ConfigurationError` for those. Several processes may ask at once.
    """
    plc = plant.plcs[0]
    identity = identity_of(plc, plant_dir=plant_dir)
    if identity is None:
        return None
    files = files_of(plc, plant_dir=plant_dir)
    served = Pair(certificate=identity.certificate, private_key=identity.private_key)
    host = socket.gethostname()
    with _alone_in(served.certificate.parent):
        for pair, name, uri, server in (
            (served, f"Simulated {plc.name}", f"urn:{host}:linesight:simulated:{plc.name}", True),
            (files.own, f"Linesight {plant.plant}", f"urn:{host}:linesight:{plant.plant}", False),
        ):
            if _is_wanted(pair):
                write_pair(pair.certificate, pair.private_key, name=name, application_uri=uri, server=server)
    return identity


def _is_wanted(pair: Pair) -> bool:
    there = [path for path in (pair.certificate, pair.private_key) if path.exists()]
    if not there:
        return True
    if len(there) == 1:
        raise ConfigurationError(
            f"{there[0]} is there without its partner, so it is not ours to replace: for a simulated run name another folder "
            "(LINESIGHT_CERTIFICATES in the demo's plant file), or move it away"
        )
    if not belong_together(pair.certificate, pair.private_key):
        raise ConfigurationError(f"{pair.private_key} is not the key of {pair.certificate}: move both away")
    return read_facts(pair.certificate).days_left(dt.datetime.now(dt.UTC)) < AGAIN_BEFORE_DAYS


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Whoever else makes certificates there waits until this block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
