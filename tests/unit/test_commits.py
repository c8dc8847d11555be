"""A commit never passes unfinished work."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.commits import FinishedPrefix


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Increasing offsets with holes, and an order in which some or all of them finish."""
    steps = draw(st.lists(st.integers(1, 5), min_size=1, max_size=40))
    offsets = [draw(st.integers(0, 1000))]
    for step in steps:
        offsets.append(offsets[-1] + step)
    order = draw(st.permutations(offsets))
    return offsets, order[: draw(st.integers(0, len(order)))]


@given(histories())
def test_a_commit_never_passes_unfinished_work_and_never_lags_behind_finished_work(
    history: tuple[list[int], list[int]],
) -> None:
    offsets, order = history
    prefix = FinishedPrefix()
    for offset in offsets:
        prefix.take(offset)
    released: list[int] = []
    done: set[int] = set()
    for offset in order:
        released += prefix.finish(offset)
        done.add(offset)
        unfinished = [candidate for candidate in offsets if candidate not in done]
        finished_first = offsets[: offsets.index(unfinished[0])] if unfinished else offsets
        assert prefix.next_offset == (finished_first[-1] + 1 if finished_first else None)
        assert released == finished_first
    assert prefix.unfinished == len(offsets) - len(order)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 7)), max_size=80))
def test_taking_and_finishing_interleaved_keeps_the_rule(actions: list[tuple[bool, int]]) -> None:
    prefix, open_offsets, next_offset = FinishedPrefix(), [], 0
    for take, pick in actions:
        if take or not open_offsets:
            next_offset += pick + 1
            prefix.take(next_offset)
            open_offsets.append(next_offset)
        else:
            offset = open_offsets.pop(pick % len(open_offsets))
            prefix.finish(offset)
        if prefix.next_offset is not None:
            assert all(offset >= prefix.next_offset for offset in open_offsets)
        if not open_offsets:
            assert prefix.next_offset == next_offset + 1


def test_an_offset_out_of_order_is_refused() -> None:
    prefix = FinishedPrefix()
    prefix.take(7)
    with pytest.raises(ValueError, match="increase"):
        prefix.take(7)


def test_offset_zero_can_be_taken_first() -> None:
    prefix = FinishedPrefix()
    prefix.take(0)
    assert prefix.finish(0) == [0]
    assert prefix.next_offset == 1


@pytest.mark.parametrize("offset", [3, 99])
def test_finishing_twice_or_what_was_never_taken_is_an_error(offset: int) -> None:
    prefix = FinishedPrefix()
    for taken in (2, 3):
        prefix.take(taken)
    prefix.finish(3)
    with pytest.raises(ValueError, match=str(offset)):
        prefix.finish(offset)
