"""Laws of a dataset's sides: nothing that belongs together is on both, and no picture ever changes its side."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from training.dataset_rows import DatasetRow, Side
from training.dataset_sides import clusters_of, leaks, sides

NAMES = st.sampled_from(["", "a", "b", "c", "d", "e", "f"])
LINKS = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=6)
SEEDS = st.integers(0, 5)


def row(number: int, part: str, batch: str, *, bad: bool) -> DatasetRow:
    return DatasetRow(
        image=f"pictures/{number}.png",
        digest=f"sha256:{number}",
        source="labels.jsonl:1",
        part=part,
        group="",
        batch=batch,
        split="train",
        labelled_by="anna",
        boxes=[[1, 2, 3, 4, "open"]] if bad else [],
    )


ROWS = st.lists(st.tuples(NAMES, NAMES, st.booleans()), min_size=1, max_size=30).map(
    lambda drawn: [row(number, part, batch, bad=bad) for number, (part, batch, bad) in enumerate(drawn)]
)


def within(links: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    return [(a, b) for a, b in links if a < count and b < count]


def placed(rows: list[DatasetRow], found: list[Side | None]) -> list[DatasetRow]:
    return [msgspec.structs.replace(each, split=side) for each, side in zip(rows, found, strict=True) if side]


@given(rows=ROWS, links=LINKS, seed=SEEDS)
def test_what_belongs_together_is_on_one_side(rows: list[DatasetRow], links: list[tuple[int, int]], seed: int) -> None:
    pairs = within(links, len(rows))
    found = sides(rows, pairs, earlier={}, seed=seed)
    assert None not in found
    assert leaks(placed(rows, found), pairs) == 0
    for a, one in enumerate(rows):
        for b, other in enumerate(rows[:a]):
            if (one.part and one.part == other.part) or (one.batch and one.batch == other.batch) or (b, a) in pairs:
                assert found[a] == found[b]


@given(rows=ROWS, links=LINKS, later=LINKS, known=st.integers(0, 30), seed=SEEDS)
def test_a_picture_keeps_its_side_and_new_ones_never_join_both(
    rows: list[DatasetRow], links: list[tuple[int, int]], later: list[tuple[int, int]], known: int, seed: int
) -> None:
    old = rows[:known]
    before = sides(old, within(links, len(old)), earlier={}, seed=seed) if old else []
    earlier = {each.digest: side for each, side in zip(old, before, strict=True) if side}
    pairs = within(links + later, len(rows))
    after = sides(rows, pairs, earlier=earlier, seed=seed + 1)
    for side, kept in zip(before, after, strict=False):
        assert kept in (side, None)
        assert kept == "test" or side != "test"  # what is tested on stays, whatever turns up
    kept_rows = [number for number, side in enumerate(after) if side]
    places = {number: place for place, number in enumerate(kept_rows)}
    kept_pairs = [(places[a], places[b]) for a, b in pairs if a in places and b in places]
    assert leaks(placed(rows, after), kept_pairs) == 0


def test_what_turns_out_to_join_both_sides_is_left_out_but_what_was_tested_on() -> None:
    rows = [
        row(1, "a", "", bad=False),
        row(2, "b", "", bad=False),
        row(3, "c", "", bad=True),
        row(4, "d", "", bad=True),
    ]
    earlier: dict[str, Side] = {"sha256:1": "train", "sha256:2": "test", "sha256:4": "train"}
    assert sides(rows, [(0, 2), (1, 2)], earlier=earlier, seed=1) == [None, "test", None, "train"]


@given(rows=ROWS, seed=SEEDS)
def test_about_a_fifth_is_for_testing_wherever_there_is_more_than_one_cluster(
    rows: list[DatasetRow], seed: int
) -> None:
    found = sides(rows, [], earlier={}, seed=seed)
    clusters = clusters_of(rows, [])
    if len(set(clusters)) > 1:
        assert {"train", "test"} == set(found)
    else:
        assert set(found) == {"train"}


def test_a_leak_is_counted() -> None:
    rows = [row(1, "a", "", bad=False), row(2, "a", "", bad=False), row(3, "b", "", bad=True)]
    rows[1] = msgspec.structs.replace(rows[1], split="test")
    assert leaks(rows, []) == 1
    assert leaks([rows[0], rows[2]], []) == 0
