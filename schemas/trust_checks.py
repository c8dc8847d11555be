"""Whether a folder of trusted certificates can be one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import PurePath

from schemas.plant import Plc
from schemas.plant_yaml import Finding, Place

CERTIFICATE_SUFFIXES = (".der", ".cer", ".crt", ".pem", ".crl")


def trust_findings(plc: Plc, folder: str, where: Place) -> Iterator[Finding]:
    """Whatever lies in `folder` is taken for the PLC."""
    if PurePath(folder).suffix.lower() in CERTIFICATE_SUFFIXES:
        yield where, f"a folder; one certificate is `server_certificate: {folder}`", None
    ours = [
        key
        for key in ("certificate", "private_key")
        if (file := getattr(plc, key)) is not None and _folder_of(file) == _normal(folder)
    ]
    if ours:
        own = PurePath(folder) / plc.name
        yield (
            where,
            f"a folder of its own, such as {own}: all in it is taken for the PLC, and `{ours[0]}` lies there",
            None,
        )


def _folder_of(file: str) -> PurePath:
    return _normal(file).parent


def _normal(path: str) -> PurePath:
    return PurePath(os.path.normpath(path))
