"""Whoever finds no broker says where it looked and what to do, in words."""

from __future__ import annotations

import pytest
from kafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError
from typer.testing import CliRunner

from cli import following
from cli.main import app
from ops.local.ports import free_ports
from schemas.broker_away import broker_away


def test_what_the_client_says_is_told_where_it_says_more_than_that_nobody_answers() -> None:
    what_to_do = "start it, or set KAFKA_BOOTSTRAP_SERVERS"
    for error in (KafkaTimeoutError("Unable to bootstrap from [('h', 9, <AF_INET>)]"), TimeoutError("5 s"), None):
        assert str(broker_away("h:9", error)) == f"no Kafka broker answers at h:9: {what_to_do}"
    assert (
        str(broker_away("h:9", TimeoutError(), within_s=5))
        == f"no Kafka broker answers at h:9 within 5 s: {what_to_do}"
    )
    refused = str(broker_away("h:9", TopicAuthorizationFailedError("verdicts")))
    assert "TopicAuthorizationFailedError" in refused
    assert "verdicts" in refused


@pytest.mark.parametrize("verb", [("tail", "verdicts"), ("dead-letters",), ("ledger",)], ids=" ".join)
def test_a_verb_that_finds_no_broker_at_the_address_says_so_in_one_plain_sentence(
    verb: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{port}")
    monkeypatch.setattr(following, "ANSWER_MS", 200)
    problem = CliRunner().invoke(app, list(verb)).exception
    assert str(problem) == (f"no Kafka broker answers at 127.0.0.1:{port}: start it, or set KAFKA_BOOTSTRAP_SERVERS")
