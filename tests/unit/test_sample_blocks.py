"""Blocks of samples: nothing is lost or doubled, and a block is regular."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from gateways.sample_blocks import SampleBlocks

PERIOD_MS, PERIOD_NS = 100, 100_000_000


@given(gaps=st.lists(st.integers(0, 300_000_000), max_size=60), length=st.integers(1, 12))
def test_every_sample_is_in_one_block_in_order_and_its_time_can_be_told(gaps: list[int], length: int) -> None:
    blocks = SampleBlocks(length=length, period_ms=PERIOD_MS)
    at_ns, taken, found = 1_000_000_000, [], []
    for number, gap in enumerate(gaps):
        at_ns += gap
        taken.append((float(number), at_ns))
        found += blocks.take(float(number), at_ns=at_ns)
    found += blocks.cut()
    assert [value for block in found for value in block.values] == [value for value, _ in taken]
    times = dict(taken)
    for block in found:
        assert 1 <= len(block.values) <= length
        for place, value in enumerate(block.values):
            assert abs(times[value] - (block.first_at_ns + place * PERIOD_NS)) <= PERIOD_NS // 2
    assert blocks.cut() == []


def test_regular_samples_fill_their_blocks_and_a_waveform_is_little_endian_float32() -> None:
    blocks = SampleBlocks(length=3, period_ms=PERIOD_MS)
    found = [block for number in range(7) for block in blocks.take(number + 0.5, at_ns=number * PERIOD_NS)]
    assert [len(block.values) for block in (*found, *blocks.cut())] == [3, 3, 1]
    assert found[0].as_waveform() == struct.pack("<3f", 0.5, 1.5, 2.5)
