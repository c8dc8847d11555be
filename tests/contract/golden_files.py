"""The golden files: what each message looked like on the wire when it was first published, and every form since.

`<Name>-<version>.msgpack` are the bytes, the `.json` beside it says the same for a person (bytes as base64). A field that
is added later with a default leaves the version as it is and adds a form: `<Name>-<version>.<n>.msgpack`.
Run this file to write the forms that are missing; it never changes one that is there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import msgspec
from message_examples import EXAMPLES

from schemas.codec import encode
from schemas.topics import CATALOGUE

FOLDER = Path(__file__).with_name("golden")
TOPIC_OF = {name: topic for name, (topic, _) in EXAMPLES.items()}


@dataclass(frozen=True)
class Golden:
    """One form of one message."""

    name: str
    version: int
    form: int
    path: Path

    @property
    def value(self) -> bytes:
        """The record value, byte for byte."""
        return self.path.read_bytes()

    @property
    def readable(self) -> dict[str, object]:
        """The same as JSON."""
        content: dict[str, object] = json.loads(self.path.with_suffix(".json").read_text(encoding="utf-8"))
        return content

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """The headers without which no record is read."""
        return [("schema", f"{TOPIC_OF[self.name].schema}/{self.version}".encode())]


def golden_files() -> list[Golden]:
    """All of them, oldest form first."""
    found = []
    for path in FOLDER.glob("*.msgpack"):
        name, _, number = path.name.removesuffix(".msgpack").partition("-")
        version, _, form = number.partition(".")
        found.append(Golden(name, int(version), int(form or 0), path))
    return sorted(found, key=lambda golden: (golden.name, golden.version, golden.form))


def newest(name: str) -> Golden | None:
    """The last form of the version that is written now; None where that version has none."""
    forms = [g for g in golden_files() if g.name == name and g.version == TOPIC_OF[name].version]
    return forms[-1] if forms else None


def readable(message: object) -> str:
    """A message as a person reads it."""
    return msgspec.json.format(msgspec.json.encode(message), indent=2).decode() + "\n"


def write_missing() -> list[Path]:
    """Writes the forms that no file holds yet; returns their paths."""
    FOLDER.mkdir(exist_ok=True)
    written = []
    for name, (topic, message) in EXAMPLES.items():
        value, last = encode(topic, message).value, newest(name)
        if last is not None and last.value == value:
            continue
        form = f".{last.form + 1}" if last else ""
        path = FOLDER / f"{name}-{topic.version}{form}.msgpack"
        path.write_bytes(value)
        path.with_suffix(".json").write_text(readable(message), encoding="utf-8")
        written.append(path)
    return written


def message_types() -> dict[str, type]:
    """Every message type of the catalogue by name, unions taken apart."""
    types = [getattr(topic.message, "__args__", (topic.message,)) for topic in CATALOGUE]
    return {item.__name__: item for group in types for item in group}


if __name__ == "__main__":
    for path in write_missing():
        print(f"written: {path.name}")
