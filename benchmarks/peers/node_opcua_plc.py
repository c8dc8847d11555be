"""A PLC that is not ours, as a process: node-opcua's server with `node_opcua/plc.js` as its program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.peers.answering_process import AnsweringProcess
from benchmarks.peers.node_opcua_install import PROGRAM, environment
from gateways.certificates import read_facts
from schemas.plant import PasswordLogin, Plc


class NodeOpcuaPlc(AnsweringProcess):
    """Serves one station at `plc`'s endpoint, encrypted where the plant file says so. node-opcua has to be installed.

    `folder` is the plant's, and for what node-opcua keeps. Of an encrypted PLC it holds the certificates of both sides as the
    plant file names them, and the PLC's key beside its certificate, as `.key`; that one client is trusted and no other.
    """

    def __init__(self, *, plc: Plc, station: str, folder: Path, **options: Any) -> None:
        given = {
            "port": urlsplit(plc.endpoint).port,
            "station": station,
            "folder": str(folder),
            "cycleMs": 10,
            **options,
        }
        if plc.security != "none":
            assert plc.server_certificate is not None
            assert plc.certificate is not None
            own = folder / plc.server_certificate
            given |= {
                "certificate": str(own),
                "privateKey": str(own.with_suffix(".key")),
                "applicationUri": read_facts(own).application_uri,
                "trusted": str(folder / plc.certificate),
            }
        if isinstance(plc.login, PasswordLogin):
            given |= {"user": plc.login.user, "password": plc.login.password}
        super().__init__(["node", str(PROGRAM), json.dumps(given)], environment=environment())
