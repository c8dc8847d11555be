"""What every integration test needs, whether it knows or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.local.kafka import LocalKafka


@pytest.fixture(autouse=True)
def own_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gateways of this test, and those that it starts as processes, keep what a broker has not taken in a folder of its own."""
    folder = tmp_path / "spool"
    monkeypatch.setenv("LINESIGHT_SPOOL_DIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def one_mortal_kafka(kafka_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """See `mortal_kafka`."""
    with LocalKafka(tmp_path_factory.mktemp("mortal")) as broker:
        yield broker


@pytest.fixture
def mortal_kafka(one_mortal_kafka: LocalKafka) -> LocalKafka:
    """A broker that tests kill and start again. It is one for all of them, for a start of its own costs each some seconds; it lives."""
    if one_mortal_kafka.poll() is not None:
        one_mortal_kafka.start()
    return one_mortal_kafka
