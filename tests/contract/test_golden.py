"""Bytes on the wire stay readable: every form of every message that was ever published decodes today, unchanged."""

from __future__ import annotations

import base64
from typing import Any

import msgpack
import msgspec
import pytest
from golden_files import Golden, golden_files, message_types, newest
from message_examples import EXAMPLES

from schemas.codec import decode, encode


@pytest.mark.parametrize("golden", golden_files(), ids=lambda golden: golden.path.stem)
def test_published_bytes_decode_to_what_they_said(golden: Golden) -> None:
    topic, _ = EXAMPLES[golden.name]
    message = decode(topic, golden.value, golden.headers)
    told = msgspec.json.decode(msgspec.json.encode(message))
    assert _what_was_said(told, golden.readable) == golden.readable


@pytest.mark.parametrize("golden", golden_files(), ids=lambda golden: golden.path.stem)
def test_a_plain_msgpack_reader_sees_a_map_with_the_documented_names(golden: Golden) -> None:
    def as_json(value: Any) -> Any:
        if isinstance(value, bytes):
            return base64.b64encode(value).decode()
        if isinstance(value, dict):
            return {key: as_json(item) for key, item in value.items()}
        return [as_json(item) for item in value] if isinstance(value, list) else value

    assert as_json(msgpack.unpackb(golden.value)) == golden.readable


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_written_now_is_the_newest_golden_form(name: str) -> None:
    topic, message = EXAMPLES[name]
    golden = newest(name)
    assert golden is not None, f"no golden bytes of {name}: run `python tests/contract/golden_files.py`"
    assert encode(topic, message).value == golden.value, (
        f"{name} is not written as {golden.path.name} says. A field was added with a default: run "
        "`python tests/contract/golden_files.py` and commit the new form. Anything else breaks readers: raise the version."
    )
    assert decode(topic, golden.value, golden.headers) == message


@pytest.mark.parametrize("name", message_types())
def test_every_message_of_the_catalogue_has_a_complete_example(name: str) -> None:
    assert name in EXAMPLES, f"add a complete {name} to tests/contract/message_examples.py or what it gathers"
    _, message = EXAMPLES[name]
    at_default = [
        field.name
        for field in msgspec.structs.fields(message)
        if not field.required and getattr(message, field.name) in (field.default, *_made(field))
    ]
    assert not at_default, f"{name}: {at_default} stand at their defaults, so their bytes are guarded by nothing"


@pytest.mark.parametrize("golden", golden_files(), ids=lambda golden: golden.path.stem)
def test_a_later_form_has_every_field_of_the_earlier_ones(golden: Golden) -> None:
    later = [g for g in golden_files() if (g.name, g.version) == (golden.name, golden.version) and g.form > golden.form]
    for form in later:
        assert _what_was_said(form.readable, golden.readable) == golden.readable


def _made(field: msgspec.structs.FieldInfo) -> tuple[object, ...]:
    return () if field.default_factory is msgspec.NODEFAULT else (field.default_factory(),)


def _what_was_said(told: Any, said: Any) -> Any:
    """`told` without the fields that were added, at any depth, since `said` was written."""
    if isinstance(said, dict):
        return {key: _what_was_said(told[key], value) for key, value in said.items()}
    if isinstance(said, list) and len(said) == len(told):
        return [_what_was_said(*pair) for pair in zip(told, said, strict=True)]
    return told
