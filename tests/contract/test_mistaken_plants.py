"""Whoever makes one of the usual mistakes in a plant file is told what it is, where it is, and what to write instead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mistaken_plants import ENVIRONMENT, GOOD, MESSAGES, all_mistakes, complaint, messages, mistaken

NAMED = re.compile(r"plant\.yaml:(\d+): \S.*: expected \S")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "left.png").touch()


def test_the_good_file_is_good(tmp_path: Path) -> None:
    assert complaint(GOOD, tmp_path) == ""


def test_the_messages_are_those_that_were_reviewed(tmp_path: Path) -> None:
    reviewed = MESSAGES.read_text(encoding="utf-8")
    assert messages(tmp_path) == reviewed, (
        "read what changed; `python tests/contract/mistaken_plants.py` writes it anew"
    )


def test_every_mistake_is_told_with_file_line_key_and_what_was_expected_in_the_order_of_lines(tmp_path: Path) -> None:
    mistakes = all_mistakes()
    assert len(mistakes) >= 100
    assert len({name for name, _, _ in mistakes}) == len(mistakes)
    for mistake in mistakes:
        told = complaint(mistaken(mistake), tmp_path).splitlines()
        found = [NAMED.match(line) for line in told]
        assert found, f"{mistake[0]}: nothing is said"
        assert all(found), f"{mistake[0]}: {told}"
        lines = [int(match[1]) for match in found if match]
        assert lines == sorted(lines), mistake[0]


def test_no_message_shows_a_password() -> None:
    assert ENVIRONMENT["PLC_PASSWORD"] not in MESSAGES.read_text(encoding="utf-8")
