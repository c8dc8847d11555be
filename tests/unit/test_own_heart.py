"""The gateway's own heartbeat fits its node and is told apart from another gateway's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateways.heartbeats import OwnHeart


@given(stands=st.one_of(st.integers(0, 2**32 - 1), st.floats(), st.none(), st.text(max_size=3)))
def test_a_heart_fits_the_node_wherever_it_begins(stands: object) -> None:
    heart = OwnHeart(stands)
    beats = [heart.next() for _ in range(20)]
    assert len(set(beats)) == 20
    assert all(0 <= beat < 2**31 for beat in beats), "an Int32 is wide enough for it"
