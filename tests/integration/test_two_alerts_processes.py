"""Two processes of the alerts stage share the stations and the receivers: each speaks for its own, and one goes on when the other dies."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from broker import publish, read_to_end, until
from typer.testing import CliRunner

from cli.main import app
from schemas.alerts import Alert, AlertState
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.plc_events import PlcFault
from schemas.settings import KafkaSettings
from schemas.topics import (
    ALERT_RESPONSES,
    ALERTS,
    AUDIT,
    COMMANDS,
    DEAD_LETTERS,
    INSPECTIONS,
    NOTIFICATIONS,
    PLC_EVENTS,
    VERDICTS,
)
from topologies.topic_admin import ensure_topics

STATIONS = [f"aoi-{number}" for number in range(8)]
TOPICS = (
    VERDICTS, INSPECTIONS, PLC_EVENTS, ALERTS, ALERT_RESPONSES, NOTIFICATIONS, COMMANDS, AUDIT, DEAD_LETTERS,
)  # fmt: skip
PLANT_FILE = """
plant: {name}
lines:
  - name: line-1
    stations: [{stations}]
plcs: [{plcs}]
recipes: []
alerts:
  - {{ name: away, type: plc_heartbeat, severity: critical, repeat_after_ms: 1500, longest_repeat_ms: 1500 }}
receivers:
  - {{ name: shift, type: webhook, url: "{url}", secret: "a secret of sixteen characters", max_per_hour: 600 }}
kafka: {{ partitions: 4 }}
"""


class Shift:
    """A real HTTP receiver, and the ids of the notifications that it got, in their order."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.got.append(request.headers["Idempotency-Key"])
        assert msgspec.json.decode(await request.read())["receiver"] == "shift"
        return web.Response(status=204)


@pytest.fixture
async def shift() -> AsyncIterator[Shift]:
    found, app = Shift(), web.Application()
    app.router.add_post("/shift", found.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    found.url = f"http://127.0.0.1:{port}/shift"
    yield found
    await runner.cleanup()


@contextmanager
def alerts_process(plant_file: Path, *, instance: str, kafka: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the stage, as an operator starts one; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "run", "alerts", "--plant", str(plant_file)],
        env={
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": kafka,
            "LINESIGHT_INSTANCE": instance,
            "LINESIGHT_RUN_DIR": str(plant_file.parent / instance),
        },
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def faults(episode: int, *, cleared: bool) -> list[tuple[str, PlcFault]]:
    """Every station's PLC is away, or back."""
    return [
        (
            station,
            PlcFault(
                id=f"{station}/{episode}/{cleared}", station=station, code="plc_away", detail="",
                occurred_at_ns=episode, cleared=cleared,
            ),
        )
        for station in STATIONS
    ]  # fmt: skip


async def test_two_processes_say_nothing_twice_and_one_goes_on_when_the_other_dies(
    kafka: str, unique_prefix: str, tmp_path: Path, shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    file, settings = tmp_path / "plant.yaml", KafkaSettings()
    file.write_text(
        PLANT_FILE.format(
            name=unique_prefix,
            url=shift.url,
            stations=", ".join(f"{{ name: {name}, cameras: [], plc: plc-{name} }}" for name in STATIONS),
            plcs=", ".join(
                f"{{ name: plc-{name}, endpoint: 'opc.tcp://127.0.0.1:4840/', security: none }}" for name in STATIONS
            ),
        )
    )
    plant: Plant = load_plant(file)
    await ensure_topics(plant, kafka=settings, topics=TOPICS)

    async def steps(*states: AlertState) -> list[Alert]:
        return [alert for alert in await read_to_end(settings, plant, ALERTS) if alert.state in states]

    async def until_told(turns: int) -> None:
        """So many alerts were raised or cleared, and the shift heard of each."""

        async def told() -> bool:
            ids = {f"shift/{alert.id}" for alert in await steps(AlertState.RAISED, AlertState.CLEARED)}
            return len(ids) >= turns and ids <= set(shift.got)

        await until(told, f"{turns} turns are told")

    async def until_repeated(episodes: int) -> None:
        async def repeated() -> bool:
            return len({alert.episode for alert in await steps(AlertState.REPEATED)}) >= episodes

        await until(repeated, f"{episodes} alerts are repeated")

    with alerts_process(file, instance="a", kafka=kafka) as first, alerts_process(file, instance="b", kafka=kafka):
        # what is over before there was anybody to tell it is history: each step waits for the one before
        await publish(settings, plant, PLC_EVENTS, faults(1, cleared=False))
        await until_told(len(STATIONS))
        await until_repeated(len(STATIONS))
        await publish(settings, plant, PLC_EVENTS, faults(1, cleared=True))
        await until_told(2 * len(STATIONS))
        await publish(settings, plant, PLC_EVENTS, faults(2, cleared=False))
        await until_told(3 * len(STATIONS))
        assert len(set(shift.got)) == len(shift.got), "while nobody dies nothing is told twice"
        first.kill()  # its alerts are open: the other one goes on with them
        await publish(settings, plant, PLC_EVENTS, faults(2, cleared=True))
        await until_told(4 * len(STATIONS))
        await publish(settings, plant, PLC_EVENTS, faults(3, cleared=False))
        await until_told(5 * len(STATIONS))
        words = ["close", f"away/{STATIONS[0]}", "--reason", "out of use", "--by", "keller", "--plant", str(file)]
        closed = await asyncio.to_thread(CliRunner().invoke, app, ["alerts", *words])
        assert closed.exit_code == 0, closed.output
        await until_told(5 * len(STATIONS) + 1)
    turns = await steps(AlertState.RAISED, AlertState.CLEARED)
    assert len({alert.id for alert in turns}) == len(turns) == 5 * len(STATIONS) + 1
    assert "closed by keller: out of use" in {alert.summary for alert in turns}
    for station in STATIONS:
        mine = [alert for alert in await steps(*AlertState) if alert.subject == station]
        for episode in {alert.episode for alert in mine}:
            states = [alert.state for alert in mine if alert.episode == episode]
            assert states[0] is AlertState.RAISED
            assert AlertState.CLEARED not in states[:-1], "nobody repeats what another process has ended"
    decided = await read_to_end(settings, plant, NOTIFICATIONS)
    assert len({each.id for each in decided}) == len(decided)
    # what the killed one had given and not committed yet is given once more, next, with the same id; nothing else is
    repeated = [later for earlier, later in pairwise(shift.got) if earlier == later]
    assert len(repeated) <= 1
    assert len(shift.got) == len(set(shift.got)) + len(repeated)
