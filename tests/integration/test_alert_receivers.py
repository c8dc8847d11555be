"""Alerts on a real broker, to real receivers: an Alertmanager, signed webhooks of which some refuse or hang, a light at the PLC."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from alert_listeners import TOPICS, S, Server, alert, is_genuine, running
from broker import publish, publish_raw, read_to_end, until

from ops.local.ports import free_ports
from schemas.alert_rules import DefectRateRule
from schemas.alerts import AlertState
from schemas.commands import Command, CommandResult
from schemas.interlocks import Interlocks, Parameter
from schemas.notifications import AlertResponse, NotificationKind, ResponseKind, WithheldReason
from schemas.plant import Camera, ExternalSource, KafkaLayout, Line, Plant, Plc, Station
from schemas.reasons import CommandKind, CommandOutcome
from schemas.receivers import AlertmanagerReceiver, AndonReceiver, AnyReceiver
from schemas.settings import KafkaSettings
from schemas.topics import (
    ALERT_RESPONSES,
    ALERTS,
    AUDIT,
    COMMAND_RESULTS,
    COMMANDS,
    DEAD_LETTERS,
    NOTIFICATIONS,
)
from topologies.topic_admin import ensure_topics


@pytest.fixture
def settings(kafka: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> KafkaSettings:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("LINESIGHT_RUN_DIR", str(tmp_path))
    return KafkaSettings()


@pytest.fixture
def new_plant(settings: KafkaSettings, unique_prefix: str) -> Callable[..., Any]:
    async def made(*receivers: AnyReceiver) -> Plant:
        camera = Camera(name="top", views=("top",), source=ExternalSource())
        lamp = Interlocks(parameters=(Parameter(name="lamp", node="s=Lamp", low=0, high=3),))
        plant = Plant(
            plant=unique_prefix,
            lines=(
                Line(name="line-1", stations=(Station(name="aoi", cameras=(camera,), plc="plc-1", interlocks=lamp),)),
            ),
            recipes=(),
            plcs=(Plc(name="plc-1", endpoint="opc.tcp://127.0.0.1:4840/", security="none"),),
            alerts=(DefectRateRule(name="rate", raise_ratio=0.3, clear_ratio=0.1),),
            receivers=receivers,
            kafka=KafkaLayout(partitions=2),
        )
        await ensure_topics(plant, kafka=settings, topics=TOPICS)
        return plant

    return made


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    app = web.Application()
    app.router.add_route("*", "/{path}", found.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    yield found
    found.released.set()
    await runner.cleanup()


async def test_a_webhook_gets_each_notification_signed_once_whatever_restarts(
    settings: KafkaSettings, new_plant: Callable[..., Any], server: Server
) -> None:
    plant = await new_plant(server.receiver())
    async with running(plant):
        await publish(settings, plant, ALERTS, [alert()])
        await until(lambda: len(server.got) == 1, "it is told of the alert")
    headers, body = server.got[0]
    assert is_genuine(headers, body, now_s=time.time())
    assert not is_genuine(headers, body + b" ", now_s=time.time())
    assert not is_genuine(headers, body, now_s=time.time() + 600), "a replay is old"
    async with running(plant):
        await publish(settings, plant, ALERTS, [alert(), alert(state=AlertState.CLEARED)])
        await until(lambda: len(server.got) == 2, "it is told of the end")
    assert [each.alerts[0].state for each in server.notifications] == [AlertState.RAISED, AlertState.CLEARED]
    assert [headers["Idempotency-Key"] for headers, _ in server.got] == [each.id for each in server.notifications]
    assert len(await read_to_end(settings, plant, NOTIFICATIONS)) == 2


async def test_receivers_that_hang_drip_redirect_or_fail_delay_nobody_and_are_dead_lettered(
    settings: KafkaSettings, new_plant: Callable[..., Any], server: Server
) -> None:
    plant = await new_plant(
        server.receiver("hanging", timeout_ms=60_000, max_tries=1),
        server.receiver("redirecting"),
        server.receiver("broken", timeout_ms=500),
        server.receiver("good"),
    )
    async with running(plant) as stage:
        await publish(settings, plant, ALERTS, [alert(), alert(state=AlertState.CLEARED)])
        await until(lambda: len(server.got) == 2, "the good one has both")
        await until(
            lambda: server.calls == {"hanging": 1, "dripping": 0, "redirecting": 2, "broken": 4}, "all were tried"
        )

        async def given_up() -> bool:
            return len(await read_to_end(settings, plant, DEAD_LETTERS)) == 4

        await until(given_up, "what two of them do not take is in the dead letters")
        count = stage.registry.get_sample_value
        labels = {"receiver": "redirecting", "outcome": "refused"}
        assert count("linesight_alerts_deliveries_total", labels) == 2
    letters = await read_to_end(settings, plant, DEAD_LETTERS)
    assert {(letter.topic, letter.reason) for letter in letters} == {("notifications", "receiver_refused")}
    assert len({letter.id for letter in letters}) == 4
    assert not any("s3cret" in letter.detail for letter in letters)
    assert server.internal == 0, "no redirect is followed"


async def test_a_receiver_that_answers_without_end_is_taken_at_its_status(
    settings: KafkaSettings, new_plant: Callable[..., Any], server: Server
) -> None:
    plant = await new_plant(server.receiver("dripping"))
    async with running(plant) as stage:
        await publish(settings, plant, ALERTS, [alert()])
        labels = {"receiver": "dripping", "outcome": "delivered"}
        value = stage.registry.get_sample_value
        await until(lambda: value("linesight_alerts_deliveries_total", labels) == 1, "its status is the answer")


async def test_a_name_that_would_end_a_header_or_a_record_that_nobody_can_read_stops_no_receiver(
    settings: KafkaSettings, new_plant: Callable[..., Any], server: Server
) -> None:
    plant = await new_plant(server.receiver())
    hostile = 'aoi"}\r\nX-Injected: 1\r\n\r\n{{7*7}}<script>'
    async with running(plant):
        await publish_raw(settings, plant, ALERTS, [("line-1", b"\xc1", [("schema", b"Alert/1")])])
        await publish(settings, plant, ALERTS, [alert(subject=hostile), alert(1)])
        await until(lambda: len(server.got) == 2, "both are told")
    assert [each.alerts[0].subject for each in server.notifications] == [hostile, "aoi"]
    assert "X-Injected" not in server.got[0][0]
    (letter,) = await read_to_end(settings, plant, DEAD_LETTERS)
    assert letter.topic == "alerts"


async def test_what_is_silenced_or_acknowledged_is_withheld_on_the_record_also_after_a_restart(
    settings: KafkaSettings, new_plant: Callable[..., Any], server: Server
) -> None:
    plant = await new_plant(server.receiver())
    now_ns = time.time_ns()
    quiet = AlertResponse(
        id="k/1",
        kind=ResponseKind.SILENCED,
        by="k",
        at_ns=now_ns,
        rule="rate",
        subject="quiet",
        until_at_ns=now_ns + 600 * S,
    )
    async with running(plant):
        await publish(settings, plant, ALERT_RESPONSES, [("rate", quiet)])
        await publish(settings, plant, ALERTS, [alert()])
        await until(lambda: len(server.got) == 1, "it is told of one")
    _, raised = alert()
    seen = AlertResponse(
        id="k/2", kind=ResponseKind.ACKNOWLEDGED, by="k", at_ns=now_ns, rule="rate", episode=raised.episode
    )
    await publish(settings, plant, ALERT_RESPONSES, [("rate", seen)])
    async with running(plant):
        await publish(settings, plant, ALERTS, [alert(state=AlertState.REPEATED, repeat=1), alert(5, subject="quiet")])
        await publish(settings, plant, ALERTS, [alert(state=AlertState.CLEARED)])
        await until(lambda: len(server.got) == 2, "it is told of the end")
    withheld = [
        each for each in await read_to_end(settings, plant, NOTIFICATIONS) if each.kind is NotificationKind.WITHHELD
    ]
    assert [(each.reason, each.because) for each in withheld] == [
        (WithheldReason.ACKNOWLEDGED, "k/2"),
        (WithheldReason.SILENCED, "k/1"),
    ]


def result(of: Command, outcome: CommandOutcome) -> tuple[str, CommandResult]:
    """What the PLC gateway says of a command."""
    return of.station, CommandResult(
        id=of.id, station=of.station, kind=of.kind, outcome=outcome, sequence=1, attempts=1,
        finished_at_ns=time.time_ns(), parameter=of.parameter, value=of.value,
    )  # fmt: skip


async def test_an_andon_shows_what_is_open_through_commands_and_what_was_not_set_is_asked_for_again(
    settings: KafkaSettings, new_plant: Callable[..., Any]
) -> None:
    plant = await new_plant(AndonReceiver(name="tower", station="aoi", parameter="lamp"))

    async def until_asked(times: int) -> list[Command]:
        async def asked() -> bool:
            return len(await read_to_end(settings, plant, COMMANDS)) == times

        await until(asked, f"the light was asked for {times} times")
        return await read_to_end(settings, plant, COMMANDS)

    async with running(plant) as stage:

        def told(outcome: str) -> float:
            labels = {"receiver": "tower", "outcome": outcome}
            return stage.registry.get_sample_value("linesight_alerts_deliveries_total", labels) or 0.0

        for number, step in enumerate(
            (
                alert(severity="warning"),
                alert(1, subject="press", severity="critical"),
                alert(1, AlertState.CLEARED, subject="press", severity="critical"),
                alert(state=AlertState.CLEARED),
            )
        ):
            await publish(settings, plant, ALERTS, [step])
            *_, last = await until_asked(number + 1)
            if number == 0:
                await publish(settings, plant, COMMAND_RESULTS, [result(last, CommandOutcome.ACKNOWLEDGED)])
                await until(lambda: told("delivered") == 1, "the light is set")
        await until(lambda: told("superseded") == 2, "nobody waits for a light that is not wanted any more")
        await publish(settings, plant, COMMAND_RESULTS, [result(last, CommandOutcome.EXPIRED)])
        *_, again = await until_asked(5)
        assert (again.value, again.id.startswith(f"{last.id}/")) == (0, True)
        await publish(settings, plant, COMMAND_RESULTS, [result(again, CommandOutcome.ACKNOWLEDGED)])
        await until(lambda: told("delivered") == 2, "the light is set")
    commands = await read_to_end(settings, plant, COMMANDS)
    assert [each.value for each in commands] == [2, 3, 2, 0, 0]
    assert {(each.kind, each.station, each.parameter) for each in commands} == {(CommandKind.PARAMETER, "aoi", "lamp")}
    assert [each.action for each in await read_to_end(settings, plant, AUDIT)] == ["andon"] * 5
    assert await read_to_end(settings, plant, DEAD_LETTERS) == []


# --- a real Alertmanager ---------------------------------------------------------------------------------------------


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """Address of an Alertmanager (Debian package `prometheus-alertmanager`) that tells nobody."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        reason = "no prometheus-alertmanager on the PATH (Debian package `prometheus-alertmanager`)"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: { receiver: nobody }\nreceivers: [{ name: nobody }]\n")
    (port,) = free_ports(1)
    child = subprocess.Popen(
        [
            program,
            f"--config.file={config}",
            f"--storage.path={tmp_path / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"http://127.0.0.1:{port}"
    child.terminate()
    child.wait(10)


async def test_an_alertmanager_shows_an_alert_as_active_until_it_is_cleared(
    settings: KafkaSettings, new_plant: Callable[..., Any], alertmanager: str
) -> None:
    plant = await new_plant(AlertmanagerReceiver(name="prometheus", url=alertmanager))
    hostile = 'press "7" {{ .Labels.severity }}\n'

    async def shown() -> list[dict[str, Any]]:
        async with aiohttp.ClientSession() as session, session.get(f"{alertmanager}/api/v2/alerts") as answer:
            found: list[dict[str, Any]] = await answer.json()
            return sorted(found, key=lambda each: each["labels"]["subject"])

    async def answers() -> bool:
        try:
            return await shown() == []
        except aiohttp.ClientError:
            return False

    await until(answers, "the Alertmanager is up")
    async with running(plant):
        await publish(settings, plant, ALERTS, [alert(severity="critical"), alert(1, subject=hostile)])

        async def both() -> bool:
            return len(await shown()) == 2

        await until(both, "both are active")
        first, second = await shown()
        assert first["labels"] == {
            "alertname": "rate", "severity": "critical", "plant": plant.plant, "line": "line-1", "subject": "aoi",
        }  # fmt: skip
        assert first["annotations"]["summary"] == "too many at aoi"
        assert second["labels"]["subject"] == hostile, "a name is data"
        await publish(settings, plant, ALERTS, [alert(state=AlertState.CLEARED, severity="critical")])

        async def one() -> bool:
            return [each["labels"]["subject"] for each in await shown()] == [hostile]

        await until(one, "the one that was cleared is resolved")
