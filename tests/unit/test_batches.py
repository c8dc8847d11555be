"""Records by the batch: what may be committed, what is refused alone, and that reading less of a verdict counts the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st
from test_statistics_apart import SETTINGS, Logged, logs

from processors.statistics_panes import Panes
from schemas.codec import decode, decode_counted, encode
from schemas.errors import Refused
from schemas.reasons import RefusalReason, VerdictValue
from schemas.statistics_settings import StatisticsSettings
from schemas.telemetry import Stage
from schemas.topics import REVIEWS, VERDICTS, Topic
from topologies.batches import Batch, hand_over
from topologies.holdings import Holdings
from topologies.records import Record

PLACE = TopicPartition("works.verdicts", 0)


def raw(offset: int, *, good: bool) -> Any:
    headers = (("schema", b"Text/1" if good else b"Other/1"),)
    return SimpleNamespace(offset=offset, timestamp=offset, key=b"k", value=b"text", headers=headers)


@dataclass
class Taker:
    """A handler that keeps what it is given."""

    batches: list[Batch] = field(default_factory=list)

    def decode(self, topic: Topic, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> Any:
        if dict(headers)["schema"] != b"Text/1":
            raise Refused(RefusalReason.UNKNOWN_SCHEMA, "expected Text/1")
        return value

    async def take_batch(self, batch: Batch) -> None:
        self.batches.append(batch)


def holdings(stage: Stage) -> Holdings:
    return Holdings(partitions=frozenset({0}), stage=stage, limit_bytes=1 << 20, on_less=lambda: None)


@pytest.mark.parametrize("bad", [(), (10,), (12,), (14,), (10, 14), (10, 11, 12, 13, 14)])
async def test_nothing_is_committed_past_a_record_that_is_not_finished_and_all_is_when_everything_is(
    bad: tuple[int, ...],
) -> None:
    stage = Stage("statistics")
    held, taker = holdings(stage), Taker()
    refused: list[tuple[Record, Refused]] = []
    fetched = [raw(offset, good=offset not in bad) for offset in range(10, 15)]
    await hand_over(
        fetched, taker, topic=VERDICTS, place=PLACE, holdings=held, refuse=lambda *pair: refused.append(pair)
    )
    assert [record.offset for record, _ in refused] == list(bad)
    taken = [offset for batch in taker.batches for _, offset, _ in batch.records]
    assert [batch.last_offset for batch in taker.batches] == taken[-1:]
    assert taken == [offset for offset in range(10, 15) if offset not in bad]
    assert held.committable() == {}
    assert held.held_bytes > 0
    for batch in taker.batches:
        batch.finish()
    if bad:
        assert held.committable().get(PLACE, 0) <= min(bad)
    for record, _ in refused:
        record.finish()
    assert held.committable() == {PLACE: 15}
    assert held.held_bytes == 0
    count = stage.registry.get_sample_value("linesight_statistics_duration_seconds_count")
    assert count == 5  # each record is shown as finished


def counted(log: list[Logged], by: tuple[str, ...], *, in_part: bool) -> list[Any]:
    plan = StatisticsSettings(
        windows_ms=SETTINGS.windows_ms, by=by, grace_ms=SETTINGS.grace_ms, idle_timeout_ms=SETTINGS.idle_timeout_ms
    )
    panes = Panes(settings=plan, opportunities=lambda _: 3)
    for verdict, offset, at_ms in log:
        record = encode(VERDICTS, verdict)
        if in_part:
            found: Any = decode_counted(record.value, record.headers, with_views="camera" in by)
        else:
            found = decode(VERDICTS, record.value, record.headers)
        panes.feed(found, offset=offset, record_at_ms=at_ms)
    return panes.held()


@settings(max_examples=60, deadline=None)
@given(logs(), st.sampled_from([(), ("batch", "tool"), ("recipe", "camera")]))
def test_a_verdict_that_is_read_in_part_counts_as_one_that_is_read_whole(
    log: list[Logged], by: tuple[str, ...]
) -> None:
    assert counted(log, by, in_part=True) == counted(log, by, in_part=False)


@pytest.mark.parametrize(
    ("value", "reason"),
    [(b"", "truncated"), (b"\xc1", "truncated"), (b"\x80", "missing_field"), (b"\x81\xa2id\x01", "wrong_type")],
)
def test_a_verdict_that_cannot_be_read_is_refused_as_ever(value: bytes, reason: str) -> None:
    headers = [("schema", b"Verdict/1")]
    for read in (
        lambda: decode(VERDICTS, value, headers),
        lambda: decode_counted(value, headers, with_views=False),
    ):
        with pytest.raises(Refused) as caught:
            read()
        assert caught.value.reason == reason
    with pytest.raises(Refused) as caught:
        decode_counted(value, [("schema", f"{REVIEWS.schema}/1".encode())], with_views=False)
    assert caught.value.reason == "unknown_schema"


PART = {"id": "a/1/1/1", "station": "a", "line": "l", "part_id": "1", "visit": 1, "revision": 1, "recipe": "r@1"}
JUDGED = {**PART, "verdict": VerdictValue.OK, "arrived_at_ns": 5}


@pytest.mark.parametrize("with_views", [False, True])
@pytest.mark.parametrize("views", ["left", [7], [{"defects": "none"}], [{"defects": [{"score": 0.5}]}]])
def test_a_verdict_whose_views_cannot_be_read_is_refused_also_where_they_do_not_count(
    views: Any, with_views: bool
) -> None:
    value = msgspec.msgpack.encode({**JUDGED, "views": views})
    with pytest.raises(Refused, match="views"):
        decode_counted(value, [("schema", b"Verdict/1")], with_views=with_views)


def test_views_are_kept_where_one_has_a_defect_or_where_they_are_asked_for() -> None:
    good, bad = {"outcome": "inspected", "camera": "c", "defects": []}, {"defects": [{"class": "open"}]}
    headers = [("schema", b"Verdict/1")]

    def kept(*views: dict[str, Any], with_views: bool = False) -> list[tuple[str, str, list[str]]]:
        value = msgspec.msgpack.encode({**JUDGED, "labels": {"class": "open"}, "views": views})
        found = decode_counted(value, headers, with_views=with_views).views
        return [(view.outcome, view.camera, [each.class_name for each in view.defects]) for view in found]

    assert kept(good, good) == []
    assert kept(good, bad) == [("inspected", "c", []), ("missing", "", ["open"])]
    assert kept(good, with_views=True) == [("inspected", "c", [])]
