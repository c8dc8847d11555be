"""No numbers that a message can carry keep the ledger from giving its account."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.ledger import Ledger
from schemas.frames import DroppedRange, Manifest
from schemas.topics import MANIFESTS

NUMBERS = st.sampled_from([0, 1, 5, -1, 2**63 - 1, -(2**63), 2**64 - 1]) | st.integers(0, 20)
SPANS = st.tuples(NUMBERS, NUMBERS)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(SPANS, st.lists(SPANS, max_size=3), st.booleans()), max_size=4))
def test_any_manifest_is_taken_into_account(said: list[tuple[tuple[int, int], list[tuple[int, int]], bool]]) -> None:
    ledger = Ledger()
    for number, (span, dropped, closing) in enumerate(said):
        manifest = Manifest(
            id=f"c/s/{number}",
            station="s",
            camera="c",
            session="s",
            first_sequence=span[0],
            last_sequence=span[1],
            made_at_ns=0,
            dropped=tuple(DroppedRange(first_sequence=a, last_sequence=b, reason="spool_full") for a, b in dropped),
            closing=closing,
        )
        ledger.add(MANIFESTS, manifest, partition=0, offset=number, at_ms=number)
    report = ledger.report(now_ns=2**62, settle_ms=0)
    kept = Ledger.from_checkpoint(json.loads(json.dumps(ledger.checkpoint())))
    assert kept.report(now_ns=2**62, settle_ms=0) == report
