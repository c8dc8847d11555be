"""What a reader may rely on: everything written is read back equal, a newer writer's fields are ignored, the rest is refused by name."""

from __future__ import annotations

from enum import Enum
from typing import Any, get_args

import msgpack
import msgspec
import pytest
from golden_files import TOPIC_OF, message_types, newest
from hypothesis import given, settings
from hypothesis import strategies as st
from message_examples import EXAMPLES
from message_strategies import any_message

from schemas.codec import decode, encode
from schemas.errors import Refused
from schemas.reasons import RefusalReason
from schemas.topics import CATALOGUE, DEAD_LETTERS, Topic

TYPES = message_types()
BODY_REASONS = (None, RefusalReason.TRUNCATED, RefusalReason.WRONG_TYPE, RefusalReason.MISSING_FIELD)


def headers_of(topic: Topic) -> list[tuple[str, bytes]]:
    return [("schema", f"{topic.schema}/{topic.version}".encode())]


def refusal(topic: Topic, value: bytes | None, headers: Any = None) -> Refused:
    with pytest.raises(Refused) as caught:
        decode(topic, value, headers_of(topic) if headers is None else headers)
    return caught.value


def reason_of_refusal(topic: Topic, value: bytes, headers: Any) -> RefusalReason | None:
    """None where the record was read; any other exception fails the test."""
    try:
        decode(topic, value, headers)
    except Refused as refused:
        return refused.reason
    return None


def golden_map(name: str) -> dict[str, Any]:
    golden = newest(name)
    assert golden is not None
    content: dict[str, Any] = msgpack.unpackb(golden.value)
    return content


def enum_in(annotation: Any) -> type:
    """The list of values that a field's type holds, bare, optional or in a tuple; `object` where it holds none."""
    kinds = [annotation, *get_args(annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum)), object)


@pytest.mark.parametrize("name", TYPES)
@given(data=st.data())
@settings(max_examples=40)
def test_every_message_that_can_be_built_reads_back_equal(name: str, data: st.DataObject) -> None:
    topic, message = TOPIC_OF[name], data.draw(any_message(TYPES[name]))
    encoded = encode(topic, message)
    assert decode(topic, encoded.value, encoded.headers) == message


@pytest.mark.parametrize("name", TYPES)
def test_a_field_of_a_newer_writer_is_ignored(name: str) -> None:
    topic, message = EXAMPLES[name]
    newer = {**golden_map(name), "field_of_tomorrow": [1, {"deep": True}]}
    assert decode(topic, msgpack.packb(newer), headers_of(topic)) == message


@pytest.mark.parametrize("name", TYPES)
def test_optional_fields_of_an_older_writer_may_be_absent(name: str) -> None:
    topic, _ = EXAMPLES[name]
    required = {field.encode_name for field in msgspec.structs.fields(TYPES[name]) if field.required} | {"kind"}
    older = {key: value for key, value in golden_map(name).items() if key in required}
    assert decode(topic, msgpack.packb(older), headers_of(topic)).id == older["id"]


@pytest.mark.parametrize("name", TYPES)
def test_each_required_field_is_missed_by_name(name: str) -> None:
    topic, _ = EXAMPLES[name]
    for field in msgspec.structs.fields(TYPES[name]):
        if field.required:
            content = golden_map(name)
            del content[field.encode_name]
            found = refusal(topic, msgpack.packb(content))
            assert found.reason is RefusalReason.MISSING_FIELD
            assert field.encode_name in found.detail


@pytest.mark.parametrize("name", TYPES)
def test_each_field_of_a_wrong_type_is_refused_by_name(name: str) -> None:
    topic, _ = EXAMPLES[name]
    for field in msgspec.structs.fields(TYPES[name]):
        content = {**golden_map(name), field.encode_name: [{"of": "another type"}]}
        found = refusal(topic, msgpack.packb(content))
        assert found.reason in (RefusalReason.WRONG_TYPE, RefusalReason.MISSING_FIELD)
        assert field.encode_name in found.detail


def test_an_unknown_kind_of_plc_event_is_refused() -> None:
    topic, _ = EXAMPLES["PartLeft"]
    found = refusal(topic, msgpack.packb({**golden_map("PartLeft"), "kind": "part_vanished"}))
    assert found.reason is RefusalReason.WRONG_TYPE
    assert "part_vanished" in found.detail


LISTED = [
    (name, field.encode_name)
    for name in TYPES
    for field in msgspec.structs.fields(TYPES[name])
    if issubclass(enum_in(field.type), Enum)
]


@pytest.mark.parametrize(("name", "field"), LISTED, ids=[f"{name}.{field}" for name, field in LISTED])
def test_a_member_that_a_newer_writer_added_to_a_list_is_refused_and_kept_for_the_upgrade(
    name: str, field: str
) -> None:
    """CONTRIBUTING.md, "Changing a message": never misread, and a replay after the upgrade sends the very same record."""
    topic, _ = EXAMPLES[name]
    member: Any = "member_of_tomorrow"
    newer = golden_map(name)
    newer[field] = [member] if isinstance(newer[field], list) else member
    value = msgpack.packb(newer)
    found = refusal(topic, value)
    assert found.reason is RefusalReason.WRONG_TYPE
    assert member in found.detail
    assert f"$.{field}" in found.detail

    letter = msgspec.structs.replace(EXAMPLES["DeadLetter"][1], value=value, headers=tuple(headers_of(topic)))
    kept = encode(DEAD_LETTERS, letter)
    read = decode(DEAD_LETTERS, kept.value, kept.headers)
    assert (read.value, list(read.headers)) == (value, headers_of(topic))


@pytest.mark.parametrize("name", TYPES)
def test_a_body_cut_short_anywhere_is_refused_as_truncated(name: str) -> None:
    topic, message = EXAMPLES[name]
    whole = encode(topic, message).value
    for length in range(len(whole)):
        assert refusal(topic, whole[:length]).reason is RefusalReason.TRUNCATED
    assert refusal(topic, whole + b"\x00").reason is RefusalReason.TRUNCATED


@pytest.mark.parametrize("topic", CATALOGUE, ids=lambda topic: topic.name)
@pytest.mark.parametrize("value", [None, b""], ids=["tombstone", "empty"])
def test_an_empty_body_is_refused_as_truncated(topic: Topic, value: bytes | None) -> None:
    assert refusal(topic, value).reason is RefusalReason.TRUNCATED


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, RefusalReason.UNKNOWN_SCHEMA),
        (b"", RefusalReason.UNKNOWN_SCHEMA),
        (b"Picture/1", RefusalReason.UNKNOWN_SCHEMA),
        (b"\xff\xfe", RefusalReason.UNKNOWN_SCHEMA),
        (b"Frame", RefusalReason.UNKNOWN_VERSION),
        (b"Frame/0", RefusalReason.UNKNOWN_VERSION),
        (b"Frame/2", RefusalReason.UNKNOWN_VERSION),
        (b"Frame/-1", RefusalReason.UNKNOWN_VERSION),
        ("Frame/²".encode(), RefusalReason.UNKNOWN_VERSION),
        (b"Frame/" + b"9" * 10_000, RefusalReason.UNKNOWN_VERSION),
    ],
)
def test_a_schema_header_that_is_not_known_is_refused(header: bytes | None, reason: RefusalReason) -> None:
    topic, message = EXAMPLES["Frame"]
    found = refusal(topic, encode(topic, message).value, [("schema", header)])
    assert found.reason is reason
    assert "Frame/1" in found.detail


def test_a_record_without_headers_is_refused() -> None:
    topic, message = EXAMPLES["Frame"]
    assert refusal(topic, encode(topic, message).value, []).reason is RefusalReason.UNKNOWN_SCHEMA


@pytest.mark.parametrize("topic", CATALOGUE, ids=lambda topic: topic.name)
@given(value=st.binary(max_size=200))
def test_random_bytes_are_refused_and_nothing_else(topic: Topic, value: bytes) -> None:
    with pytest.raises(Refused):
        decode(topic, value, headers_of(topic))


@pytest.mark.parametrize("name", TYPES)
@given(data=st.data())
@settings(max_examples=60)
def test_a_damaged_body_is_read_or_refused_and_nothing_else(name: str, data: st.DataObject) -> None:
    topic, message = EXAMPLES[name]
    body = bytearray(encode(topic, message).value)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    assert reason_of_refusal(topic, bytes(body), headers_of(topic)) in BODY_REASONS


@given(
    headers=st.lists(
        st.tuples(st.sampled_from(["schema", "camera", "sequence", "x"]), st.none() | st.binary(max_size=12)),
        max_size=5,
    )
)
def test_any_headers_are_read_or_refused_and_nothing_else(headers: list[tuple[str, bytes | None]]) -> None:
    topic, message = EXAMPLES["AuditEvent"]
    reason = reason_of_refusal(topic, encode(topic, message).value, headers)
    assert reason in (None, RefusalReason.UNKNOWN_SCHEMA, RefusalReason.UNKNOWN_VERSION)


def test_nesting_without_end_is_refused() -> None:
    topic, message = EXAMPLES["Frame"]
    bomb = b"\x81\xa1x" + b"\x91" * 100_000 + b"\xc0"
    assert refusal(topic, bomb).reason is RefusalReason.TRUNCATED
    known = msgpack.packb({**golden_map("Frame")})
    assert decode(topic, known, headers_of(topic)) == message


def test_a_map_that_claims_more_than_it_holds_costs_nothing() -> None:
    topic, _ = EXAMPLES["Frame"]
    assert refusal(topic, b"\xdf\xff\xff\xff\xff").reason is RefusalReason.TRUNCATED
