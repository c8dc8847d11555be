"""Who is told of alerts in tests, and the stage that tells them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from broker import until

from schemas.alerts import Alert, AlertState
from schemas.notifications import Notification
from schemas.plant import Plant
from schemas.receivers import WebhookReceiver
from schemas.telemetry import Stage
from schemas.topics import (
    ALERT_RESPONSES,
    ALERTS,
    AUDIT,
    COMMAND_RESULTS,
    COMMANDS,
    DEAD_LETTERS,
    INSPECTIONS,
    NOTIFICATIONS,
    PLC_EVENTS,
    VERDICTS,
)
from topologies import alerts_stage

SECRET = "a secret of sixteen characters"
TOPICS = (
    VERDICTS, INSPECTIONS, PLC_EVENTS, ALERTS, ALERT_RESPONSES, NOTIFICATIONS, COMMANDS, COMMAND_RESULTS, AUDIT, DEAD_LETTERS,
)  # fmt: skip
S = 1_000_000_000


@asynccontextmanager
async def running(plant: Plant) -> AsyncIterator[Stage]:
    """The alerts stage, ready, until the block ends; then it must stop in time."""
    stop, stage = asyncio.Event(), Stage("alerts")
    task = asyncio.create_task(alerts_stage.run(plant, plant_dir=Path(), stage=stage, stop=stop))
    try:
        await until(lambda: stage.ready or task.done(), "the stage is ready")
        yield stage
    finally:
        stop.set()
        await asyncio.wait_for(task, 12)


def alert(
    number: int = 0,
    state: AlertState = AlertState.RAISED,
    *,
    subject: str = "aoi",
    severity: str = "warning",
    repeat: int = 0,
) -> tuple[str, Alert]:
    """Step of an alert as another stage writes it."""
    since_ns = 1_000 + number
    episode = f"rate/{subject}/{since_ns}"
    return "line-1", Alert(
        id=f"{episode}/{state.value}/{repeat}",
        line="line-1",
        rule="rate",
        subject=subject,
        severity=severity,
        state=state,
        episode=episode,
        since_at_ns=since_ns,
        at_ns=time.time_ns(),
        summary=f"too many at {subject}",
        repeat=repeat,
        station="aoi",
    )


class Server:
    """A real HTTP receiver, with several ways of taking notifications, and what it got."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.internal = 0
        self.calls: dict[str, int] = {"hanging": 0, "dripping": 0, "redirecting": 0, "broken": 0}
        self.released = asyncio.Event()
        self.port = 0

    def receiver(self, path: str = "good", **settings: Any) -> WebhookReceiver:
        fields = {"name": path, "secret": SECRET, "timeout_ms": 5_000, "max_tries": 2, **settings}
        return WebhookReceiver(url=f"http://127.0.0.1:{self.port}/{path}?token=s3cret", **fields)

    @property
    def notifications(self) -> list[Notification]:
        return [msgspec.json.decode(body, type=Notification) for _, body in self.got]

    async def take(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        if path in self.calls:
            self.calls[path] += 1
        if path == "hanging":
            await self.released.wait()
        if path == "dripping":
            response = web.StreamResponse()
            await response.prepare(request)
            while not self.released.is_set():
                await response.write(b" ")
                await asyncio.sleep(0.01)
            return response
        if path == "redirecting":
            raise web.HTTPPermanentRedirect(f"http://127.0.0.1:{self.port}/internal")
        if path == "internal":
            self.internal += 1
        if path == "broken":
            return web.Response(status=500)
        if path == "good":
            self.got.append((dict(request.headers), await request.read()))
        return web.Response(status=204)


def is_genuine(headers: dict[str, str], body: bytes, *, now_s: float) -> bool:
    """What the documentation tells a receiver to check."""
    at = headers["Linesight-Timestamp"]
    expected = hmac.new(SECRET.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(headers["Linesight-Signature"], f"v1={expected}") and abs(now_s - int(at)) < 300
