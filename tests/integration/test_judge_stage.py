"""The judge on a real broker: one verdict per part visit, commands in order, whoever is killed in between."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from broker import committed, publish, publish_raw, read_to_end, read_until, until
from judged_parts import STATIONS, VIEWS, arrival, defect, inspection, plant
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from prometheus_client.parser import text_string_to_metric_families

from ops.local.kafka import LocalKafka
from ops.local.ports import free_ports
from processors.judging import JudgeLimits
from schemas.codec import encode
from schemas.commands import Command
from schemas.plant import Plant
from schemas.reasons import RefusalReason, VerdictReason, VerdictValue
from schemas.records import Review
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import COMMANDS, DEAD_LETTERS, DEFECTS, INSPECTIONS, PLC_EVENTS, REVIEWS, VERDICTS
from schemas.verdicts import Verdict
from topologies.judge_stage import JudgeHandler
from topologies.line_runner import LineRunner
from topologies.review_desk import revisions
from topologies.topic_admin import ensure_topics
from topologies.topic_reader import TopicReader

TOPICS = (PLC_EVENTS, INSPECTIONS, REVIEWS, VERDICTS, DEFECTS, COMMANDS, DEAD_LETTERS)
JUDGE = Path(__file__).with_name("judge_process.py")


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka)


@pytest.fixture
async def line(settings: KafkaSettings, unique_prefix: str) -> Plant:
    description = plant(name=unique_prefix, stations=STATIONS)
    await ensure_topics(description, kafka=settings, topics=TOPICS)
    return description


@asynccontextmanager
async def judging(line: Plant, settings: KafkaSettings, limits: JudgeLimits | None = None) -> AsyncIterator[Stage]:
    """A judge stage until the block ends; then it is stopped and must have drained in time."""
    stop, stage = asyncio.Event(), Stage("judge")
    handler = JudgeHandler(plant=line, stage=stage, kafka=settings, limits=limits)
    runner = LineRunner(
        plant=line, stage=stage, topics=(PLC_EVENTS, INSPECTIONS, REVIEWS), handler=handler, kafka=settings
    )
    task = asyncio.create_task(runner.run(stop))
    try:
        await until(lambda: stage.ready or task.done(), "the judge has its partitions")
        yield stage
    finally:
        stop.set()
        await asyncio.wait_for(task, 12)
        await handler.close()


def value(stage: Stage, name: str, **labels: str) -> float:
    return stage.registry.get_sample_value(f"linesight_judge_{name}", labels) or 0.0


def keyed(messages: Iterable[Any]) -> list[tuple[str, Any]]:
    return [(message.station, message) for message in messages]


def inspections(
    part_id: str, station: str, number: int, *, bad: bool = False, views: Sequence[str] = VIEWS
) -> list[Any]:
    return [
        inspection(
            view, *([defect()] if bad and view == "left" else []), part_id=part_id, station=station, sequence=number
        )
        for view in views
    ]


async def test_parts_get_verdicts_defects_and_commands_in_the_order_of_their_station(
    settings: KafkaSettings, line: Plant
) -> None:
    names = [(f"SN-{n}", STATIONS[n % 3], n) for n in range(60)]
    async with judging(line, settings) as stage:
        for part_id, station, n in names:
            await publish(
                settings, line, PLC_EVENTS, keyed([arrival(part_id, station=station, occurred_at_ns=time.time_ns())])
            )
            await publish(settings, line, INSPECTIONS, keyed(inspections(part_id, station, n, bad=n % 10 == 0)))
        verdicts: list[Verdict] = await read_until(settings, line, VERDICTS, 60)
        commands: list[Command] = await read_until(settings, line, COMMANDS, 60)
        await until(lambda: value(stage, "in_progress") == 0, "everything is finished")
        assert value(stage, "verdicts_total", verdict="OK") == 54
        assert value(stage, "trigger_to_verdict_seconds_count") == 60
        await until(lambda: value(stage, "open_parts") == 0, "no part is open")
    assert Counter(verdict.part_id for verdict in verdicts) == Counter(part_id for part_id, _, _ in names)
    assert {verdict.part_id for verdict in verdicts if verdict.verdict is VerdictValue.NOT_OK} == {
        part_id for part_id, _, n in names if n % 10 == 0
    }
    for station in STATIONS:
        decided = [f"verdict/{verdict.id}" for verdict in verdicts if verdict.station == station]
        assert [command.id for command in commands if command.station == station] == decided
    assert len(await read_to_end(settings, line, DEFECTS)) == 6
    assert await committed(settings, f"{line.plant}.judge") == 60 + 180


async def test_a_missing_view_is_answered_at_the_deadline_with_the_fail_safe(
    settings: KafkaSettings, line: Plant
) -> None:
    async with judging(line, settings):
        await publish(settings, line, PLC_EVENTS, keyed([arrival("SN-1")]))
        await publish(settings, line, INSPECTIONS, keyed(inspections("SN-1", "aoi-1", 0, views=VIEWS[:2])))
        (command,) = await read_until(settings, line, COMMANDS, 1)
        await publish(settings, line, INSPECTIONS, keyed(inspections("SN-1", "aoi-1", 0, views=VIEWS[2:])))
        await until(lambda: _committed_is(settings, line, 4), "the late view is committed")
    (verdict,) = await read_to_end(settings, line, VERDICTS)
    assert verdict.reasons == (VerdictReason.DEADLINE, VerdictReason.MISSING_VIEW)
    assert (command.verdict, command.valid_until_ns) == (
        VerdictValue.NOT_DECIDABLE,
        verdict.arrived_at_ns + line.stations[0].gate_after_ms * 1_000_000,
    )


async def test_what_can_never_succeed_becomes_a_dead_letter_and_disturbs_nothing_else(
    settings: KafkaSettings, line: Plant
) -> None:
    async with judging(line, settings, JudgeLimits(early_grace_ms=300)) as stage:
        stranger = inspection("left", part_id="stranger", sequence=77)
        whole = encode(INSPECTIONS, stranger)
        await publish_raw(settings, line, INSPECTIONS, [("aoi-1", whole.value[:50], whole.headers)])
        await publish(settings, line, INSPECTIONS, keyed([stranger, inspection("left", station="nowhere")]))
        await publish(
            settings,
            line,
            PLC_EVENTS,
            keyed([arrival("SN-1", recipe="board-z@1"), arrival("SN-2"), arrival(station="nowhere")]),
        )
        await publish(settings, line, INSPECTIONS, keyed(inspections("SN-2", "aoi-1", 1)))
        await until(lambda: _committed_is(settings, line, 3 + 3 + 3), "everything is committed")
        assert value(stage, "dropped_total", reason="unknown_part") == 1
    letters = Counter(letter.reason for letter in await read_to_end(settings, line, DEAD_LETTERS))
    assert letters == {
        RefusalReason.TRUNCATED: 1,
        RefusalReason.UNKNOWN_PART: 1,
        RefusalReason.UNKNOWN_STATION: 2,
        RefusalReason.UNKNOWN_RECIPE: 1,
    }
    verdicts = {verdict.part_id: verdict for verdict in await read_to_end(settings, line, VERDICTS)}
    assert verdicts["SN-1"].reasons == (VerdictReason.UNKNOWN_RECIPE,)
    assert verdicts["SN-2"].verdict is VerdictValue.OK


async def test_reviews_make_revisions_and_no_command(settings: KafkaSettings, line: Plant) -> None:
    async with judging(line, settings):
        await publish(settings, line, PLC_EVENTS, keyed([arrival("SN-1")]))
        await publish(settings, line, INSPECTIONS, keyed(inspections("SN-1", "aoi-1", 0, bad=True)))
        await read_until(settings, line, COMMANDS, 1)
        reviews = [review("SN-1", "anna", VerdictValue.OK), review("SN-1", "bert", VerdictValue.NOT_OK)]
        await publish(settings, line, REVIEWS, keyed([*reviews, reviews[0], review("nobody", "anna", VerdictValue.OK)]))
        await until(lambda: _committed_is(settings, line, 4 + 4), "all reviews are committed")
    verdicts = await read_to_end(settings, line, VERDICTS)
    assert [(verdict.revision, verdict.verdict, verdict.decided_by) for verdict in verdicts] == [
        (1, VerdictValue.NOT_OK, "line"),
        (2, VerdictValue.OK, "anna"),
        (3, VerdictValue.NOT_OK, "bert"),
    ]
    assert len(await read_to_end(settings, line, COMMANDS)) == 1
    (letter,) = await read_to_end(settings, line, DEAD_LETTERS)
    assert letter.reason == RefusalReason.UNKNOWN_PART


async def test_the_revisions_of_an_old_part_are_found_block_by_block(settings: KafkaSettings, line: Plant) -> None:
    async with judging(line, settings):
        for n in range(30):
            await publish(settings, line, PLC_EVENTS, keyed([arrival(f"SN-{n}")]))
            await publish(settings, line, INSPECTIONS, keyed(inspections(f"SN-{n}", "aoi-1", n)))
        (oldest, *_) = await read_until(settings, line, VERDICTS, 30)
        await publish(settings, line, REVIEWS, keyed([review("SN-0", "anna", VerdictValue.NOT_OK)]))
        await read_until(settings, line, VERDICTS, 31)
    async with TopicReader(plant=line, kafka=settings) as reader:
        spans = await reader.spans([VERDICTS])
        (place,) = [place for place, span in spans.items() if span.end]
        wanted = {("aoi-1", "SN-0", 1)}
        found = await revisions(reader, place.partition, wanted, block=7)  # type: ignore[arg-type]
    ((_, verdicts),) = found.items()
    assert sorted(verdict.revision for verdict in verdicts) == [1, 2]
    assert oldest in verdicts


async def test_killed_again_and_again_it_gives_each_part_one_verdict_and_contradicts_nothing(
    settings: KafkaSettings, line: Plant
) -> None:
    """kill -9 of the process at random moments, 20 parts/s, three stations, one part in ten with a missing view."""
    dice = random.Random(7)
    parts = [(f"SN-{n}", STATIONS[n % 3], n) for n in range(200)]
    published = asyncio.create_task(_publish_slowly(settings, line, parts))
    kills = 0
    while not published.done():
        before = len(await read_to_end(settings, line, VERDICTS))
        judge = await _start_judge(settings, line)
        await read_until(settings, line, VERDICTS, min(before + dice.randint(20, 60), len(parts)))
        judge.kill()
        await judge.wait()
        kills += 1
    await published
    assert kills >= 3
    judge = await _start_judge(settings, line)
    records = len(parts) + len(await read_to_end(settings, line, INSPECTIONS))
    await until(lambda: _committed_is(settings, line, records), "everything is committed")
    judge.kill()
    await judge.wait()

    verdicts: list[Verdict] = await read_to_end(settings, line, VERDICTS)
    assert Counter(verdict.id for verdict in verdicts) == Counter(f"{station}/{part}/1/1" for part, station, _ in parts)
    said: dict[str, set[bytes]] = defaultdict(set)
    for message in [*await read_to_end(settings, line, COMMANDS), *await read_to_end(settings, line, DEFECTS)]:
        said[message.id].add(msgspec.msgpack.encode(message))
    assert all(len(contents) == 1 for contents in said.values()), "one id, two contents"
    by_id = {f"verdict/{verdict.id}": verdict for verdict in verdicts}
    commands = [message for contents in said.values() for message in contents if isinstance(message, Command)]
    assert all(by_id[command.id].action == command.action for command in commands)
    assert all(command.issued_at_ns < command.valid_until_ns for command in commands)
    expected = {
        f"{verdict.id}/{n}" for verdict in verdicts for n in range(sum(len(view.defects) for view in verdict.views))
    }
    assert said.keys() - by_id.keys() == expected, "defects of every verdict are told"
    assert await read_to_end(settings, line, DEAD_LETTERS) == []
    assert any(verdict.verdict is VerdictValue.NOT_OK for verdict in verdicts)


async def test_a_broker_that_dies_while_verdicts_are_on_their_way_gets_each_of_them_once(
    mortal_kafka: LocalKafka, unique_prefix: str
) -> None:
    settings = KafkaSettings(bootstrap_servers=mortal_kafka.bootstrap_servers)
    line = plant(name=unique_prefix, stations=STATIONS)
    await ensure_topics(line, kafka=settings, topics=TOPICS)
    names = [(f"SN-{n}", STATIONS[n % 3], n) for n in range(60)]
    async with judging(line, settings) as stage:
        await publish(settings, line, PLC_EVENTS, keyed(arrival(name, station=at) for name, at, _ in names[:30]))
        await until(lambda: value(stage, "in_total", topic="plc-events") == 30, "all have arrived")
        mortal_kafka.child.kill()
        await until(lambda: value(stage, "open_parts") == 0, "all are decided, at their deadline")
        await until(lambda: value(stage, "retried_total", reason="broker") >= 3, "it says that the broker is away")
        await asyncio.to_thread(mortal_kafka.start)
        for name, at, n in names[:30]:
            await publish(settings, line, INSPECTIONS, keyed(inspections(name, at, n)))
        await publish(settings, line, PLC_EVENTS, keyed(arrival(name, station=at) for name, at, _ in names[30:]))
        await until(lambda: _committed_is(settings, line, 60 + 90), "everything is committed")
    said: dict[str, set[bytes]] = defaultdict(set)
    for message in [*await read_to_end(settings, line, VERDICTS), *await read_to_end(settings, line, COMMANDS)]:
        said[message.id].add(msgspec.msgpack.encode(message))
    assert all(len(contents) == 1 for contents in said.values()), "one id, two contents"
    assert {id for id in said if not id.startswith("verdict/")} == {f"{at}/{name}/1/1" for name, at, _ in names}


async def test_a_judge_that_stood_still_while_another_took_over_contradicts_nothing(
    settings: KafkaSettings, line: Plant
) -> None:
    """SIGSTOP for longer than its session, with parts open whose deadlines pass meanwhile."""
    ports = free_ports(2)
    judges = [await _start_judge(settings, line, instance=str(n), metrics_port=port) for n, port in enumerate(ports)]

    holding: list[asyncio.subprocess.Process] = []

    async def one_holds_parts() -> bool:
        holding[:] = [judge for judge, port in zip(judges, ports, strict=True) if await _open_parts(port)]
        return bool(holding)

    async def nobody_holds_parts() -> bool:
        return not await one_holds_parts()

    try:
        await until(lambda: asyncio.to_thread(_members, settings, line, 2), "both judge")
        names = [(f"SN-{n}", STATIONS[n % 3]) for n in range(60)]
        await publish(settings, line, PLC_EVENTS, keyed(arrival(name, station=at) for name, at in names[:30]))
        await read_until(settings, line, VERDICTS, 30)
        await until(nobody_holds_parts, "those are closed")
        await publish(settings, line, PLC_EVENTS, keyed(arrival(name, station=at) for name, at in names[30:]))
        await until(one_holds_parts, "a judge has taken parts")
        stopped = holding[0]
        stopped.send_signal(signal.SIGSTOP)
        await until(lambda: asyncio.to_thread(_members, settings, line, 1), "the other one took over")
        await read_until(settings, line, VERDICTS, 60)  # those of the stopped one by the other one
        stopped.send_signal(signal.SIGCONT)
        await until(lambda: asyncio.to_thread(_members, settings, line, 2), "the stopped one is back in the group")
        await until(lambda: _committed_is(settings, line, 60), "everything is committed")
    finally:
        for judge in judges:
            judge.kill()
            await judge.wait()
    verdicts: list[Verdict] = await read_to_end(settings, line, VERDICTS)
    assert Counter(verdict.id for verdict in verdicts) == Counter(f"{at}/{name}/1/1" for name, at in names)


def _members(settings: KafkaSettings, line: Plant, count: int) -> bool:
    """Whether the group of the judges is at rest with so many members."""
    admin = KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    try:
        (group,) = admin.describe_groups([f"{line.plant}.judge"]).values()
        return group["group_state"] == "Stable" and len(group["members"]) == count
    except KafkaError:
        return False  # there is no group yet
    finally:
        admin.close()


async def _publish_slowly(settings: KafkaSettings, line: Plant, parts: Sequence[tuple[str, str, int]]) -> None:
    for part_id, station, n in parts:
        views = VIEWS[1:] if n % 10 == 3 else VIEWS
        await publish(settings, line, PLC_EVENTS, keyed([arrival(part_id, station=station)]))
        await publish(settings, line, INSPECTIONS, keyed(inspections(part_id, station, n, bad=n % 7 == 0, views=views)))
        await asyncio.sleep(0.04)  # the rate of the line


async def _start_judge(
    settings: KafkaSettings, line: Plant, *, instance: str = "0", metrics_port: int = 0
) -> asyncio.subprocess.Process:
    environment = {
        **os.environ, "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers, "LINESIGHT_INSTANCE": instance,
    }  # fmt: skip
    return await asyncio.create_subprocess_exec(
        sys.executable, str(JUDGE), line.plant, str(metrics_port), env=environment
    )  # fmt: skip


async def _open_parts(metrics_port: int) -> float:
    """How many parts a judge says are open."""
    async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{metrics_port}/metrics") as answer:
        families = {family.name: family for family in text_string_to_metric_families(await answer.text())}
    return float(families["linesight_judge_open_parts"].samples[0].value)


async def _committed_is(settings: KafkaSettings, line: Plant, count: int) -> bool:
    return await committed(settings, f"{line.plant}.judge") == count


def review(part_id: str, reviewer: str, verdict: VerdictValue) -> Review:
    at_ns = 1_767_225_700_000_000_000
    return Review(
        id=f"aoi-1/{part_id}/1/{reviewer}/{at_ns}",
        station="aoi-1",
        part_id=part_id,
        visit=1,
        reviewer=reviewer,
        reviewed_at_ns=at_ns,
        verdict=verdict,
    )
