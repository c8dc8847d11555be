"""A station's share of the link to its PLC: it stands while the session does and every node of the station serves.

A node that is missing, of a wrong type or refused takes down its own station. The others of that PLC go on, and the station is back by
itself when the node is right again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from prometheus_client import Gauge

from gateways.opcua_session import NodeFault, OpcUaSession
from gateways.plc_link import SETTLED_AFTER_S, pause_before
from schemas.telemetry import Noticed, Stage

NODE_FAULT = "node_fault"


def node_fault_gauge(stage: Stage) -> Gauge:
    """The metric that says which stations have a node that does not serve. Made once per stage."""
    return stage.gauge(
        "node_fault", "1 while a node of the station is missing or cannot be used, 0 while all serve.", "station"
    )


class StationLink:
    """The link of one station. `fell` is called with what is wrong with its nodes, and with "" when they serve."""

    def __init__(
        self, *, station: str, stage: Stage, gauge: Gauge, fell: Callable[[str], None] = lambda _why: None
    ) -> None:
        self._station = station
        self._stage = stage
        self._gauge = gauge.labels(station)
        self._gauge.set(0)
        self._fell = fell
        self._session: OpcUaSession | None = None
        self._changed = asyncio.Event()
        self._fault = ""
        self.doubted = asyncio.Event()
        """Set where a command found a node wanting: whoever serves the station looks at its nodes again."""

    @property
    def up(self) -> bool:
        """Whether the station is served."""
        return self._session is not None and not self._session.lost

    async def session(self, *, until_ns: int) -> OpcUaSession | None:
        """The session on which the station is served; waits for one until `until_ns` (UTC ns), then None."""
        while True:
            if self._session is not None and not self._session.lost:
                return self._session
            left_s = (until_ns - time.time_ns()) / 1e9
            if left_s <= 0:
                return None
            changed = self._changed
            try:
                async with asyncio.timeout(left_s):
                    await changed.wait()
            except TimeoutError:
                return None

    async def run(self, serve: Callable[[], Awaitable[None]]) -> None:
        """Has the station served while the session lasts, again after each `NodeFault` of `serve`; ends by cancellation.

        `serve` calls `stands` once all nodes were found to serve. What else it raises is passed on.
        """
        attempt = 0
        try:
            while True:
                began_s = time.monotonic()
                try:
                    await serve()
                except NodeFault as fault:
                    self._fall(str(fault))
                if time.monotonic() - began_s > SETTLED_AFTER_S:
                    attempt = 0
                attempt += 1
                await asyncio.sleep(pause_before(attempt))
        finally:
            self._session = None

    def stands(self, session: OpcUaSession) -> None:
        """All nodes of the station serve on `session`."""
        self._fault = ""
        self._gauge.set(0)
        self._fell("")
        self.doubted.clear()
        self._session = session
        self._changed.set()
        self._changed = asyncio.Event()

    def _fall(self, why: str) -> None:
        self._session = None
        self._gauge.set(1)
        self._fell(why)
        if why != self._fault:  # once, not with each look at a node that stays wrong for a week
            self._stage.emit(Noticed(what=NODE_FAULT, subject=self._station, detail=why))
        self._fault = why
