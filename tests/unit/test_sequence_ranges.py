"""Ranges are sets of numbers, whatever is added in whatever order."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from processors.sequence_ranges import Ranges

parts = st.lists(
    st.tuples(st.integers(0, 60), st.integers(-1, 8)).map(lambda part: (part[0], part[0] + part[1])), max_size=20
)


def numbers(ranges: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


@given(parts, parts)
def test_ranges_behave_like_sets(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    a, b = Ranges(one), Ranges(other)
    assert numbers(list(a)) == numbers(one)
    assert len(a) == len(numbers(one))
    assert numbers(list(a.union(b))) == numbers(one) | numbers(other)
    assert numbers(list(a.without(b))) == numbers(one) - numbers(other)
    assert all((number in a) is (number in numbers(one)) for number in range(75))
    assert a.highest == max(numbers(one), default=-1)
    assert a.lowest == min(numbers(one), default=0)
    assert list(Ranges.from_list(a.as_list())) == list(a)


@given(parts)
def test_ranges_are_kept_as_few_as_possible(ranges: list[tuple[int, int]]) -> None:
    kept = list(Ranges(ranges))
    assert all(first <= last for first, last in kept)
    assert all(last + 1 < following for (_, last), (following, _) in itertools.pairwise(kept))
