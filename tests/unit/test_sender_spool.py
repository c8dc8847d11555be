"""What the sender takes from the spool: marked as late, and never passed over where the disk does not give it back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateways import spool_lane
from gateways.outbox import Outbox
from gateways.segment import Envelope
from gateways.sender import Sender
from gateways.spool import Spool, open_spool
from schemas.codec import decode, encode
from schemas.plc_events import PartLeft
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import MIB_BYTES, PLC_EVENTS

SUBMITTED_AT_NS = 1_700_000_000_000_000_000


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spool]:
    """With the events `0` to `4` on disk, none of them sent."""
    monkeypatch.setenv("LINESIGHT_SPOOL_DIR", str(tmp_path))
    monkeypatch.setenv("LINESIGHT_SPOOL_KEEP_FREE_PERCENT", "0")
    opened = open_spool(plant="p", stage=Stage("plc_gateway"))
    assert opened is not None
    for number in range(5):
        event = PartLeft(
            id=f"s/{number}/left", station="s", part_id=str(number), visit=1, lane="good", by_fail_safe=False,
            occurred_at_ns=1,
        )  # fmt: skip
        value, headers = encode(PLC_EVENTS, event)
        opened.append(Envelope(PLC_EVENTS.name, b"s", headers, SUBMITTED_AT_NS + number), value, droppable=False)
    opened.sync()
    yield opened
    opened.close()


def sender(spool: Spool, stage: Stage) -> Sender:
    outbox = Outbox(budget_bytes=MIB_BYTES, spool=spool)
    return Sender(
        plant="p", stage=stage, kafka=KafkaSettings(), outbox=outbox, acknowledged=lambda _item: None,
        failed=lambda error: pytest.fail(repr(error)),
    )  # fmt: skip


def not_read(stage: Stage) -> float:
    return stage.registry.get_sample_value("linesight_plc_gateway_noticed_total", {"what": "spool_not_read"}) or 0.0


def test_what_was_on_disk_says_so_and_since_when(spool: Spool) -> None:
    item = sender(spool, Stage("plc_gateway"))._next_item()
    assert item is not None
    assert ("spooled", str(SUBMITTED_AT_NS).encode()) in item.headers
    assert decode(PLC_EVENTS, item.value, item.headers).part_id == "0"


@pytest.mark.parametrize("broken", ["the record", "the note that its file is being sent"])
def test_a_disk_that_does_not_read_is_noticed_and_costs_nothing(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def gone(*_arguments: Any) -> None:
        raise OSError(5, "Input/output error")

    stage = Stage("plc_gateway")
    sending = sender(spool, stage)
    with monkeypatch.context() as patch:
        if broken == "the record":
            patch.setattr(spool_lane.Segment, "read", gone)
        else:
            patch.setattr(Spool, "_save_claims", gone)
        began_s = time.monotonic()
        assert sending._next_item() is None
        assert sending._next_item() is None
        assert time.monotonic() - began_s > 0.1, "it does not knock without a pause"
    assert not_read(stage) == 2
    found = [sending._next_item() for _ in range(5)]
    assert [decode(PLC_EVENTS, item.value, item.headers).part_id for item in found if item] == list("01234")
