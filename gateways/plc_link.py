"""Keeps a session to one PLC open: connects, hands the session to its users, and connects again with growing pauses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from gateways.opcua_security import CertificatesUnusable
from gateways.opcua_session import OpcUaSession
from schemas.errors import Transient
from schemas.patience import pause_s
from schemas.plant import Plc
from schemas.telemetry import AttemptRepeated, Noticed, Stage

# A session that lived this long was no failed attempt: the next pauses start small again.
SETTLED_AFTER_S = 10.0
START_GRACE_S = 10.0
LONGEST_PAUSE_S = 1.0
"""A PLC that starts accepts connections before it answers: an attempt then hangs for a request's time (2 s), and the pause comes on top."""


class PlcLink:
    """The link to one PLC. `came_up` is called when it stands, `went_down` with the reason when it broke.

    A PLC that does not answer at the start is down only after `START_GRACE_S`: the two may be started together.
    """

    def __init__(
        self,
        *,
        plc: Plc,
        plant_dir: Path,
        stage: Stage,
        writable: Collection[str] = (),
        came_up: Callable[[], None] = lambda: None,
        went_down: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        self._plc = plc
        self._plant_dir = plant_dir
        self._stage = stage
        self._writable = writable
        self._came_up = came_up
        self._went_down = went_down
        self._session: OpcUaSession | None = None
        if plc.security == "none":
            stage.emit(Noticed(what="unencrypted_plc", subject=plc.name, detail="the plant file says `security: none`"))

    @property
    def up(self) -> bool:
        """Whether a session stands."""
        return self._session is not None and not self._session.lost

    async def run(self, work: Callable[[OpcUaSession], Awaitable[None]]) -> None:
        """Keeps the link and runs `work` on each session until it is lost; ends only by cancellation.

        `work` may raise `Transient`; anything else it raises is passed on.
        """
        attempt = 0
        away_from_s = time.monotonic() + START_GRACE_S
        while True:
            began_s = time.monotonic()
            try:
                session = await OpcUaSession.open(
                    self._plc,
                    plant_dir=self._plant_dir,
                    name=f"linesight {self._stage.name}",
                    writable=self._writable,
                    foreign_text=self._foreign_text,
                )
            except (Transient, CertificatesUnusable) as error:  # a file can be put right while other PLCs are served
                reason = str(error)
            else:
                reason = await self._use(session, work)
                away_from_s = began_s
                if time.monotonic() - began_s > SETTLED_AFTER_S:
                    attempt = 0
            if time.monotonic() >= away_from_s:
                self._went_down(reason)
            attempt += 1
            self._stage.emit(AttemptRepeated(service="plc", detail=reason, attempt=attempt))
            await asyncio.sleep(pause_before(attempt))

    def _foreign_text(self, node: str, shown: str) -> None:
        detail = f"{node} holds {shown!r}: not UTF-8, expected in every OPC UA String; wrong bytes are shown as \\x.."
        self._stage.emit(Noticed(what="text_not_utf8", subject=self._plc.name, detail=detail))

    async def _use(self, session: OpcUaSession, work: Callable[[OpcUaSession], Awaitable[None]]) -> str:
        """Runs `work` until it or the session ends; returns why."""
        self._session = session
        self._came_up()
        working = asyncio.ensure_future(work(session))
        lost = asyncio.create_task(session.until_lost())
        try:
            await asyncio.wait((working, lost), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
            return session.why_lost
        except Transient as error:
            return str(error)
        finally:
            self._session = None
            working.cancel()
            lost.cancel()
            await asyncio.gather(working, lost, return_exceptions=True)
            await session.close()


def pause_before(attempt: int) -> float:
    """Seconds before the next attempt, after number `attempt` (from 1) failed."""
    return pause_s(attempt, longest_s=LONGEST_PAUSE_S)
