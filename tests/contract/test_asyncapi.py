"""What is published for outsiders is valid, current, and says what the code does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from message_examples import EXAMPLES

from schemas.asyncapi import DOCS, asyncapi_document, stale_files
from schemas.codec import encode, spooled_header
from schemas.topics import CATALOGUE, Topic

SPECIFICATION = Path(__file__).with_name("vendor") / "asyncapi-3.0.0.schema.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DOCS / "asyncapi.yaml").read_text(encoding="utf-8"))
    return content


def test_everything_generated_is_current() -> None:
    assert not stale_files(), "run `python -m schemas.asyncapi` and commit"


def test_the_check_command_agrees() -> None:
    root = DOCS.parent
    done = subprocess.run(
        [sys.executable, "-m", "schemas.asyncapi", "--check"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_document_is_valid_asyncapi_3(document: dict[str, Any]) -> None:
    specification = json.loads(SPECIFICATION.read_text(encoding="utf-8"))
    errors = [
        f"{error.json_path}: {error.message[:200]}"
        for error in jsonschema.Draft7Validator(specification).iter_errors(document)
    ]
    assert not errors


def test_the_specification_would_notice_a_mistake() -> None:
    specification = json.loads(SPECIFICATION.read_text(encoding="utf-8"))
    broken = asyncapi_document()
    broken["operations"]["publish-defects"]["action"] = "shout"
    assert list(jsonschema.Draft7Validator(specification).iter_errors(broken))


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in _references(document):
        target: Any = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in target, f"{reference} leads nowhere"
            target = target[step]


@pytest.mark.parametrize("topic", CATALOGUE, ids=lambda topic: topic.name)
def test_every_topic_is_a_channel_with_its_kafka_settings(topic: Topic, document: dict[str, Any]) -> None:
    channel = document["channels"][topic.name]
    assert channel["address"].replace("{plant}", "demo") == topic.on("demo")
    kafka = channel["bindings"]["kafka"]
    assert kafka["partitions"] == topic.partitions
    assert kafka["topicConfiguration"]["max.message.bytes"] == topic.max_message_bytes


@pytest.mark.parametrize("name", EXAMPLES)
def test_headers_are_those_that_the_codec_writes(name: str, document: dict[str, Any]) -> None:
    topic, message = EXAMPLES[name]
    documented = document["components"]["messages"][name]["headers"]
    written = {key: value.decode() for key, value in encode(topic, message).headers}
    assert sorted(documented["required"]) == sorted(written)
    late = dict([spooled_header(1_700_000_000_000_000_000)])
    assert sorted(documented["properties"]) == sorted([*written, *late])
    jsonschema.validate(written | {key: value.decode() for key, value in late.items()}, documented)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_real_message_matches_its_json_schema(name: str) -> None:
    topic, message = EXAMPLES[name]
    schema = json.loads((DOCS / "schemas" / f"{topic.schema}.json").read_text(encoding="utf-8"))
    told = json.loads(msgspec.json.encode(message))
    jsonschema.Draft202012Validator(schema).validate(told)
    del told["id"]
    with pytest.raises(jsonschema.ValidationError, match=r"'id' is a required property|not valid under any"):
        jsonschema.Draft202012Validator(schema).validate(told)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_reference_describes_every_field(name: str) -> None:
    text = (DOCS / "messages.md").read_text(encoding="utf-8")
    for field in msgspec.structs.fields(EXAMPLES[name][1]):
        assert f"| `{field.encode_name}` |" in text


def test_what_has_a_revision_says_what_it_means(document: dict[str, Any]) -> None:
    for name, (_, message) in EXAMPLES.items():
        told = document["components"]["messages"][name]
        assert told["x-deduplicate-by"] == "id"
        assert ("x-revision" in told) == hasattr(message, "revision")


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)
