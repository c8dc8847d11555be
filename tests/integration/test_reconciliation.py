"""The ledger of a plant, read from a real broker: balanced when all is there, and going on from its checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from broker import publish, publish_raw
from judged_parts import plant
from ledger_log import Log, frame

from processors.ledger import LEDGER_TOPICS
from schemas.errors import ConfigurationError, ServiceAway
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import BY_NAME, DEAD_LETTERS, FRAMES, INSPECTIONS, VERDICTS
from topologies.reconciliation import ledger_of
from topologies.topic_admin import ensure_topics
from topologies.topic_reader import read_topics


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka)


@pytest.fixture
async def line(settings: KafkaSettings, unique_prefix: str) -> Plant:
    description = plant(name=unique_prefix)
    await ensure_topics(description, kafka=settings, topics=(*LEDGER_TOPICS, FRAMES))
    return description


def parts(first: int, last: int, *, closing: bool = True) -> Log:
    log = Log()
    for number in range(first, last + 1):
        log.part(number, bad=number % 5 == 0)
    log.manifests(last, closing=closing)
    return log


async def put(settings: KafkaSettings, line: Plant, log: Log) -> None:
    for topic in {item.topic.name for item in log.records}:
        messages = [item.message for item in log.records if item.topic.name == topic]
        await publish(settings, line, BY_NAME[topic], [(message.station, message) for message in messages])


async def test_it_balances_and_names_what_is_taken_away(settings: KafkaSettings, line: Plant) -> None:
    await put(settings, line, parts(0, 19).without(VERDICTS))
    report = await ledger_of(line, kafka=settings, settle_ms=0)
    assert report.counts["parts_arrived"] == 20
    assert [(difference.kind, difference.subject) for difference in report.differences] == [
        ("part_without_verdict", "aoi-1/SN-19/1")
    ]
    await put(settings, line, Log(parts(0, 19).records[-20:]))
    assert (await ledger_of(line, kafka=settings)).balanced


async def test_a_checkpoint_goes_on_and_gives_the_same_as_reading_everything(
    settings: KafkaSettings, line: Plant, tmp_path: Path
) -> None:
    file = tmp_path / "ledger" / "checkpoint.json"
    await put(settings, line, parts(0, 9, closing=False).without(VERDICTS))
    first = await ledger_of(line, kafka=settings, checkpoint=file, settle_ms=0)
    assert not first.balanced
    rest = parts(0, 14)
    rest.records = [item for item in rest.records if item not in parts(0, 9).without(VERDICTS).records]
    await put(settings, line, rest)
    gone_on = await ledger_of(line, kafka=settings, checkpoint=file, settle_ms=0)
    whole = await ledger_of(line, kafka=settings, settle_ms=0)
    assert gone_on.counts == whole.counts
    assert gone_on.differences == whole.differences


async def test_frames_that_no_manifest_and_no_inspection_names_are_looked_at(
    settings: KafkaSettings, line: Plant
) -> None:
    await publish(settings, line, FRAMES, [("aoi-1-left", frame("left", number)) for number in range(3)])
    await publish_raw(settings, line, FRAMES, [("nobody", b"garbage", [])])
    report = await ledger_of(line, kafka=settings, settle_ms=0)
    assert sorted((difference.kind, difference.found) for difference in report.differences) == [
        ("frame_not_inspected", "none (sequences 0 to 2)"),
        ("record_without_dead_letter", "a record that cannot be decoded"),
    ]
    assert report.counts["frames_published"] == 3


async def test_records_come_oldest_first_and_those_that_cannot_be_decoded_say_why(
    settings: KafkaSettings, line: Plant
) -> None:
    log = parts(0, 9)
    await put(settings, line, log)
    await publish_raw(settings, line, INSPECTIONS, [("aoi-1", b"\xc1", [("schema", b"Inspection/1")])])
    found = [stored async for stored in read_topics(line, (*LEDGER_TOPICS, DEAD_LETTERS), kafka=settings)]
    assert len(found) == len(log.records) + 1
    assert [stored.at_ms for stored in found] == sorted(stored.at_ms for stored in found)
    (refused,) = [stored.refused for stored in found if stored.refused is not None]
    assert refused.reason == "truncated"


async def test_what_a_person_has_to_do_is_said(settings: KafkaSettings, unique_prefix: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="linesight topics"):
        await ledger_of(plant(name=unique_prefix), kafka=settings)
    with pytest.raises(ServiceAway, match="KAFKA_BOOTSTRAP_SERVERS"):
        await ledger_of(plant(), kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="checkpoint"):
        await ledger_of(plant(), kafka=settings, checkpoint=tmp_path / "broken.json")
