"""The simulated plant as a process of its own, and the few things that may be asked of it over OPC UA."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, Self

from asyncua import ua
from asyncua.sync import Client

from gateways.opcua_security import secure
from gateways.station_nodes import station_nodes
from ops.local.children import Child
from ops.local.ports import HOST, answers, free_ports
from schemas.errors import ServiceAway
from schemas.plant import Plc

PORT_VARIABLES = ("LINESIGHT_SIM_PLC_PORT", "LINESIGHT_SIM_CAMERA_PORT")
READY_S = 30.0
CALL_TIMEOUT_S = 10.0
SESSION_MS = 600_000  # what the server grants at most
FEED_TRIES_S = 60.0


def choose_ports() -> None:
    """Gives the simulated PLC and cameras free ports, unless the environment names theirs. Call before the plant file is read."""
    for variable, port in zip(PORT_VARIABLES, free_ports(len(PORT_VARIABLES)), strict=True):
        os.environ.setdefault(variable, str(port))


def simulated_plant(  # what the verb `simulate` takes
    *,
    plant_file: Path,
    run_dir: Path,
    truth: Path,
    parts: int,
    rate_per_s: float,
    seed: int,
    fed: bool,
    lamp_fails_at: int | None = None,
) -> Child:
    """The process that serves the PLC and the cameras of a plant file; not started."""
    command = [
        sys.executable, "-m", "cli.main", "simulate", "--plant", str(plant_file), "--parts", str(parts),
        "--rate", str(rate_per_s), "--seed", str(seed), "--truth", str(truth),
    ]  # fmt: skip
    lamp = [] if lamp_fails_at is None else ["--lamp-fails-at", str(lamp_fails_at)]
    return Child(
        name="simulated-plant", command=[*command, *(["--fed"] if fed else []), *lamp], log_dir=run_dir / "logs"
    )


class PlantControl:
    """A client of the simulated PLC's own methods; a real plant has none of them."""

    def __init__(self, plc: Plc, *, plant_dir: Path) -> None:
        self._plc = plc
        self._plant_dir = plant_dir
        self._client: Client | None = None
        self._index = 0

    def connect(self) -> None:
        """Connects as soon as the PLC listens. Raises `ServiceAway`."""
        host, _, port = self._plc.endpoint.removeprefix("opc.tcp://").strip("/").rpartition(":")
        give_up_at = time.monotonic() + READY_S
        while not answers(host or HOST, int(port)):
            if time.monotonic() > give_up_at:
                raise ServiceAway(f"the simulated PLC does not listen at {self._plc.endpoint}; see its log")
            time.sleep(0.05)
        client = Client(self._plc.endpoint, timeout=CALL_TIMEOUT_S)
        client.aio_obj.session_timeout = SESSION_MS
        client.tloop.post(secure(client.aio_obj, self._plc, plant_dir=self._plant_dir))
        client.connect()
        self._client = client
        self._index = client.get_namespace_index(self._plc.namespace)

    def start(self, *, station: str) -> None:
        """Lets the first part come, at the station's TriggerReady; raises `ServiceAway` with the gateway's reason without it."""
        give_up_at = time.monotonic() + READY_S
        while not self._is_ready(station):
            if time.monotonic() > give_up_at:
                why = self._value(station_nodes(self._plc.nodes, station).error_text)
                raise ServiceAway(f"no TriggerReady at {station} within {READY_S:g} s: {why or 'no gateway writes it'}")
            time.sleep(0.05)
        self._call("Simulation", "Start")

    def _is_ready(self, station: str) -> bool:
        node = station_nodes(self._plc.nodes, station).trigger_ready
        return self._plc.observe or node is None or bool(self._value(node))

    def _value(self, node: str | None) -> Any:
        assert self._client is not None, "connect first"
        return None if node is None else self._client.get_node(f"ns={self._index};{node}").read_value()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Calls a method of `Simulation`, such as `SilenceCamera`; returns its result."""
        return self._call("Simulation", method, *arguments)

    def feed(self, *, station: str, part_id: str, batch: str, recipe: str) -> None:
        """Lays a part into a station. Waits while the station is full; raises `ServiceAway` when it stays so."""
        give_up_at = time.monotonic() + FEED_TRIES_S
        while True:
            try:
                self._call(station, "Feed", part_id, batch, recipe)
            except ua.UaStatusCodeError as refused:
                if time.monotonic() > give_up_at:
                    raise ServiceAway(f"station {station} takes no part: {refused}") from refused
                time.sleep(0.05)
            else:
                return

    def close(self) -> None:
        """Ends the session."""
        if self._client is not None:
            self._client.disconnect()

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, owner: str, method: str, *arguments: Any) -> Any:
        assert self._client is not None, "connect first"
        node = self._client.get_node(ua.NodeId(owner, self._index))
        return node.call_method(ua.NodeId(f"{owner}.{method}", self._index), *arguments)
