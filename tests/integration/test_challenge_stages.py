"""A challenge part from its arrival to the alert, over the judge and the alerts stage on a real broker."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from broker import publish, read_until
from judged_parts import VIEWS, arrival, defect, inspection, plant
from test_event_stages import running, until_states

from schemas.alert_rules import ChallengeRule
from schemas.alerts import AlertState
from schemas.challenges import ChallengePart, Challenges
from schemas.plant import Line, Plant
from schemas.plc_events import RejectConfirmed
from schemas.settings import KafkaSettings
from schemas.topics import (
    ALERTS,
    AUDIT,
    COMMANDS,
    DEAD_LETTERS,
    DEFECTS,
    INSPECTIONS,
    PLC_EVENTS,
    REVIEWS,
    VERDICTS,
)
from schemas.verdicts import DefectEvent, Verdict
from topologies import alerts_stage, judge_stage
from topologies.topic_admin import ensure_topics

STATION = "aoi-1"
TOPICS = (PLC_EVENTS, INSPECTIONS, REVIEWS, VERDICTS, DEFECTS, COMMANDS, ALERTS, AUDIT, DEAD_LETTERS)


@pytest.fixture
def settings(kafka: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> KafkaSettings:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("LINESIGHT_RUN_DIR", str(tmp_path))
    return KafkaSettings()


def challenged(name: str) -> Plant:
    """A plant whose station has a challenge: a short on the left."""
    plain = plant(name=name)
    (station,) = plain.stations
    part = ChallengePart(name="short", part_id="CHALLENGE-*", expects=("short",), view="left")
    proving = msgspec.structs.replace(station, challenges=Challenges(parts=(part,)))
    return msgspec.structs.replace(
        plain, lines=(Line(name="line-1", stations=(proving,)),), alerts=(ChallengeRule(name="proof"),)
    )


async def test_one_that_is_missed_alarms_and_one_that_is_found_and_rejected_clears_it(
    settings: KafkaSettings, unique_prefix: str
) -> None:
    line = challenged(unique_prefix)
    await ensure_topics(line, kafka=settings, topics=TOPICS)

    async def part(part_id: str, number: int, *, found: str | None) -> None:
        views = [
            inspection(view, *([defect(found)] if found and view == "left" else []), part_id=part_id, sequence=number)
            for view in VIEWS
        ]
        await publish(settings, line, PLC_EVENTS, [(STATION, arrival(part_id, occurred_at_ns=time.time_ns()))])
        await publish(settings, line, INSPECTIONS, [(STATION, each) for each in views])

    async with running(judge_stage, line), running(alerts_stage, line):
        await part("SN-1", 1, found="open")
        await part("CHALLENGE-1", 2, found=None)
        (raised,) = await until_states(settings, line, AlertState.RAISED)
        await part("CHALLENGE-2", 3, found="short")
        verdicts: list[Verdict] = await read_until(settings, line, VERDICTS, 3)
        await until_states(settings, line, AlertState.RAISED)
        confirmed = RejectConfirmed(
            id=f"{STATION}/CHALLENGE-2/1/rejected", station=STATION, part_id="CHALLENGE-2", visit=1, occurred_at_ns=0
        )
        await publish(settings, line, PLC_EVENTS, [(STATION, confirmed)])
        _, cleared = await until_states(settings, line, AlertState.RAISED, AlertState.CLEARED)
        audit = await read_until(settings, line, AUDIT, 2)
    assert (raised.subject, cleared.episode) == ("aoi-1/short", raised.episode)
    assert [(each.part_id, each.challenge, each.challenge_passed) for each in verdicts] == [
        ("SN-1", "", None),
        ("CHALLENGE-1", "short", False),
        ("CHALLENGE-2", "short", True),
    ]
    assert [event.detail.partition(": ")[2].partition(":")[0] for event in audit] == ["failed", "passed"]
    defects: list[DefectEvent] = await read_until(settings, line, DEFECTS, 2)
    assert [(event.part_id, event.challenge) for event in defects] == [("SN-1", ""), ("CHALLENGE-2", "short")]
    commands = await read_until(settings, line, COMMANDS, 3)
    assert [command.part_id for command in commands] == ["SN-1", "CHALLENGE-1", "CHALLENGE-2"], (
        "each is told the machine"
    )
