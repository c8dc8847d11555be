"""Heartbeats between gateway and PLC: ours goes up in a node of the PLC, its own must move; the handshake goes with them."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Mapping

from gateways.handshake import StationHandshake
from gateways.opcua_session import NodeFault, OpcUaSession, PlcAway
from gateways.plc_report import StationReport
from schemas.patience import wait_at_most
from schemas.plant import PlcNodes

STILL_BEATS = 3
"""So many of our beats the PLC's may stand still before it counts as lost."""
STILL_AT_LEAST_S = 1.0
COUNTS = 2**32
LAST_WORDS_S = 0.5
OWN_BEATS = 8
"""So many of our last beats may stand in the node: a PLC's server shows a write after its next cycle. And so many in a row say that the
other one is gone."""
STRANGE_BEATS = 2
JUMP = 1_000_000


class HeartbeatWatch:
    """Whether a heartbeat moves. Times are monotonic seconds."""

    def __init__(self, *, lost_after_s: float) -> None:
        self._lost_after_s = lost_after_s
        self._value: object = None
        self._moved_at_s: float | None = None

    def is_lost(self, value: object, *, now_s: float) -> bool:
        """Takes a reading; True once the value has stood still for too long. Only whole numbers beat: NaN differs from itself."""
        beats = isinstance(value, int) and value != self._value
        if beats or self._moved_at_s is None:
            self._value = value
            self._moved_at_s = now_s
        return now_s - self._moved_at_s > self._lost_after_s


class OwnHeart:
    """Our heartbeat in its node, and whether somebody else's stands there: a second gateway (a line that was started twice, on two
    machines) writes over our commands, and takes TriggerReady back and forth.

    Each begins a random step above what it finds, so that two do not count in step.
    """

    def __init__(self, stands: object) -> None:
        found = stands if isinstance(stands, int) else 0
        self._beat = (found + random.randrange(1, JUMP)) % COUNTS
        self._written: deque[int] = deque(maxlen=OWN_BEATS)
        self._strange = self._in_a_row = 0

    def next(self) -> int:
        """The beat to write now."""
        self._beat = (self._beat + 1) % COUNTS
        self._written.append(self._beat)
        return self._beat

    def shared(self, stands: object) -> str:
        """Takes what stands in the node before the next beat. What speaks for a second writer; "" where nothing does."""
        if not self._written or stands in self._written:
            self._in_a_row += 1
            if self._in_a_row >= OWN_BEATS:
                self._strange = 0
        else:
            self._in_a_row = 0
            self._strange += 1
        if self._strange < STRANGE_BEATS:
            return ""
        return f"it stands at {stands}, we wrote {self._beat}: another gateway (a line started twice?) or its program writes there"


class ErrorText:
    """The one node that is for people. A PLC that refuses a text (too long for its String) must not lose its link, and with it all of its
    stations, for that: it is told as fault `error_text_refused`, and tried again with the next text."""

    def __init__(self, *, node: str | None, report: StationReport) -> None:
        self.node = node or ""
        self._report = report
        self._shown: str | None = None

    async def show(self, session: OpcUaSession, text: str) -> None:
        """Writes `text` where it is another than before. Raises `PlcAway`."""
        if not self.node or text == self._shown:
            return
        self._shown = text
        try:
            await session.write({self.node: text})
        except NodeFault as error:
            self._report.fault("error_text_refused", str(error))
        else:
            self._report.fault("error_text_refused", "", cleared=True)


async def exchange_heartbeats(
    session: OpcUaSession,
    *,
    nodes: PlcNodes,
    report: StationReport,
    handshake: StationHandshake,
    heartbeat_ms: int,
    observe: bool,
    exchanged: Callable[[], None] = lambda: None,
) -> None:
    """Beats and watches until the session is lost, and shows the handshake at every beat and when it changes. `exchanged` is called each
    time that the PLC has taken ours and given its own.

    Cancelled, it takes TriggerReady back. Raises what the session raises.
    """
    watch = HeartbeatWatch(lost_after_s=max(STILL_AT_LEAST_S, STILL_BEATS * heartbeat_ms / 1000))
    (own,) = await session.read([nodes.gateway_heartbeat])
    heart = OwnHeart(own)
    await recall_fault(session, handshake=handshake, nodes=nodes)
    begun = False
    text = ErrorText(node=nodes.error_text, report=report)
    heard = {
        role: node
        for role in ("plc_heartbeat", "reset_count", "writes_allowed")
        if (node := getattr(nodes, role)) is not None
    }
    try:
        while True:
            handshake.changed.clear()
            if not observe:
                (stands,) = await session.read([nodes.gateway_heartbeat])
                shared = heart.shared(stands)
                report.fault("second_writer", shared and f"{nodes.gateway_heartbeat}: {shared}", cleared=not shared)
                values = handshake.values(nodes)
                told = values.pop(text.node, "")
                # a heart must not beat beside a TriggerReady that the PLC refuses to have changed
                if values and not begun:
                    await session.write(values)
                    begun = True
                await session.write({nodes.gateway_heartbeat: heart.next(), **values})
                await text.show(session, told)
            said = dict(zip(heard, await session.read(list(heard.values())), strict=True))
            value = said["plc_heartbeat"]
            lost = watch.is_lost(value, now_s=time.monotonic())
            report.fault("heartbeat_lost", f"the PLC's heartbeat stands at {value}" if lost else "", cleared=not lost)
            handshake.reset(said.get("reset_count"))
            if "writes_allowed" in said:
                report.writes_allowed(said["writes_allowed"])
            exchanged()
            await wait_at_most(heartbeat_ms / 1000, handshake.changed)
    finally:
        if not observe and not session.lost:
            handshake.leave(now_s=time.monotonic())
            await last_words(session, handshake=handshake, nodes=nodes)


async def recall_fault(session: OpcUaSession, *, handshake: StationHandshake, nodes: PlcNodes) -> None:
    """Takes over what a former life of this gateway showed the PLC. To be called before anything is written there."""
    if nodes.error_code is not None:
        shown = await session.read_each([nodes.error_code, nodes.error_text or nodes.error_code])
        if shown[0].good:
            handshake.recall(shown[0].value, shown[1].value if nodes.error_text else "")


async def last_words(session: OpcUaSession, *, handshake: StationHandshake, nodes: PlcNodes) -> None:
    """Shows the handshake once more although the gateway is being cancelled, or a node of the station does not serve.

    In one write, and where a node is refused, node by node, so that it keeps no other back. The PLC sees the heartbeat stop in any case.
    """
    values = handshake.values(nodes)
    try:
        async with asyncio.timeout(LAST_WORDS_S):
            if not await _is_taken(session, values):
                for node, value in values.items():
                    await _is_taken(session, {node: value})
    except (PlcAway, TimeoutError):
        pass


async def _is_taken(session: OpcUaSession, values: Mapping[str, object]) -> bool:
    try:
        await session.write(values)
    except NodeFault:
        return False  # told already: it is what the station fell for, or the text for people
    return True
