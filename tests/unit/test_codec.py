"""Headers: what every record carries, and what they tell where the body cannot be read."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import decode, encode, frame_owner, new_traceparent, traceparent_of
from schemas.errors import Refused
from schemas.frames import Frame, ImageEncoding
from schemas.records import AuditEvent
from schemas.topics import AUDIT, BY_NAME, CATALOGUE, FRAMES, Topic

FRAME = Frame(
    id="left/7f3a/41",
    station="aoi-1",
    camera="left",
    view="left-top",
    session="7f3a",
    sequence=41,
    part_id="Teil-ß",
    visit=2,
    recipe="board-a@1",
    captured_at_ns=1,
    encoding=ImageEncoding.RAW,
    width_px=1,
    height_px=1,
    size_bytes=1,
    sha256="00",
    image=b"\x00",
)


def test_every_record_names_its_schema_its_content_type_and_its_trace() -> None:
    event = AuditEvent(id="a", actor="anna", action="review", subject="s", at_ns=1)
    headers = dict(encode(AUDIT, event).headers)
    assert headers["schema"] == b"AuditEvent/1"
    assert headers["content-type"] == b"application/msgpack"
    assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-01", headers["traceparent"])


def test_the_last_schema_header_counts_and_a_record_without_one_is_refused() -> None:
    """A mirror that adds headers adds them at the end."""
    record = encode(AUDIT, AuditEvent(id="a", actor="anna", action="review", subject="s", at_ns=1))
    assert decode(AUDIT, record.value, [("schema", b"Other/1"), *record.headers]).id == "a"
    for headers in ([*record.headers, ("schema", b"Other/1")], [*record.headers, ("schema", None)], record.headers[1:]):
        with pytest.raises(Refused, match="unknown_schema"):
            decode(AUDIT, record.value, headers)


def test_the_trace_of_the_cause_is_carried_on() -> None:
    cause = new_traceparent()
    event = AuditEvent(id="a", actor="anna", action="review", subject="s", at_ns=1)
    assert traceparent_of(encode(AUDIT, event, traceparent=cause).headers) == cause


@pytest.mark.parametrize("spoilt", [b"", b"\xff" * 55, b"00-" + b"0" * 2_000_000, new_traceparent() + b"0"], ids=len)
def test_a_trace_that_is_none_is_not_carried_on(spoilt: bytes) -> None:
    """It would travel with everything that follows: a header of 2 MB fits into no later record."""
    assert traceparent_of([("traceparent", spoilt)]) is None


@pytest.mark.parametrize("header", ["sequence", "visit"])
@pytest.mark.parametrize("number", [str(2**63), "9" * 250, "-" + "9" * 250, "NaN", ""])
def test_a_number_that_no_message_can_carry_names_no_owner(header: str, number: str) -> None:
    headers = dict(encode(FRAMES, FRAME).headers) | {header: number.encode()}
    assert frame_owner(list(headers.items())) is None


def test_a_frame_without_a_readable_body_still_has_an_owner() -> None:
    headers = encode(FRAMES, FRAME).headers
    with pytest.raises(Refused):
        decode(FRAMES, b"\xc1", headers)
    owner = frame_owner(headers)
    assert owner is not None
    assert owner.frame_id == FRAME.id
    assert (owner.station, owner.camera, owner.view) == ("aoi-1", "left", "left-top")
    assert (owner.part_id, owner.visit) == ("Teil-ß", 2)


@pytest.mark.parametrize("part_id", ["x" * 256, "\u6761" * 256, "\U0001f4a9" * 256])
def test_the_longest_part_id_has_its_owner_whatever_its_script(part_id: str) -> None:
    """The ledger counts frames by their headers, and a spool names by them what it gives up."""
    frame = msgspec.structs.replace(FRAME, part_id=part_id)
    owner = frame_owner(encode(FRAMES, frame).headers)
    assert owner is not None
    assert owner.part_id == part_id
    assert frame_owner(encode(FRAMES, msgspec.structs.replace(FRAME, part_id=part_id + "x")).headers) is None


@pytest.mark.parametrize("absent", ["station", "camera", "session", "sequence", "part-id"])
def test_headers_that_do_not_say_enough_name_no_owner(absent: str) -> None:
    assert frame_owner([(k, v) for k, v in encode(FRAMES, FRAME).headers if k != absent]) is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["station", "camera", "session", "sequence", "part-id", "view", "visit"]),
            st.none() | st.binary(max_size=8),
        )
    )
)
def test_no_headers_make_the_search_for_an_owner_fail(headers: list[tuple[str, bytes]]) -> None:
    owner = frame_owner(headers)
    assert owner is None or owner.sequence == int(owner.frame_id.rpartition("/")[2])


def test_a_record_of_another_topic_is_not_taken_for_this_one() -> None:
    encoded = encode(FRAMES, FRAME)
    with pytest.raises(Refused, match="AuditEvent/1"):
        decode(AUDIT, encoded.value, encoded.headers)


def test_topics_are_found_by_name_and_prefixed_with_the_plant() -> None:
    assert len(BY_NAME) == len(CATALOGUE)
    assert all(BY_NAME[topic.name] is topic for topic in CATALOGUE)
    assert FRAMES.on("demo") == "demo.frames"


@pytest.mark.parametrize("topic", CATALOGUE, ids=lambda topic: topic.name)
def test_a_topic_says_how_long_and_how_large(topic: Topic) -> None:
    assert int(topic.config["retention.ms"]) == topic.retention_ms > 0
    assert int(topic.config["max.message.bytes"]) == topic.max_message_bytes > 0


def test_everything_keyed_by_station_shares_its_partition_count() -> None:
    assert len({topic.partitions for topic in CATALOGUE if topic.key == "station"}) == 1
