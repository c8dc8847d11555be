"""Laws of the split: nothing that belongs together is on both sides, whatever the groups are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.labels import Sample
from training.splits import (
    MOST_BITS,
    MOST_DIFFERENCE_GREY,
    VALIDATION_SHARE,
    assign,
    joined,
    near_duplicates,
    split,
)

GROUPS = st.lists(st.one_of(st.none(), st.integers(0, 8)), min_size=2, max_size=40)


@given(
    groups=GROUPS,
    links=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=12),
    seed=st.integers(0, 9),
)
def test_groups_and_linked_pictures_stay_together(
    groups: list[int | None], links: list[tuple[int, int]], seed: int
) -> None:
    pairs = [(a, b) for a, b in links if a < len(groups) and b < len(groups)]
    clusters = joined(groups, pairs)
    held = assign(clusters, [index % 3 == 0 for index in range(len(groups))], seed=seed)
    for a, b in pairs:
        assert (a in held) == (b in held)
    for a, group in enumerate(groups):
        for b in range(a):
            assert group is None or groups[b] != group or (a in held) == (b in held)
    if len(set(clusters)) > 1:
        assert 0 < len(held) < len(groups)


@given(count=st.integers(20, 300), bad_share=st.floats(0, 1), seed=st.integers(0, 9))
def test_single_pictures_are_shared_out_good_and_bad_alike(count: int, bad_share: float, seed: int) -> None:
    bad = [index < count * bad_share for index in range(count)]
    held = assign(list(range(count)), bad, seed=seed)
    for kind in (True, False):
        assert abs(sum(bad[i] is kind for i in held) - bad.count(kind) * VALIDATION_SHARE) <= 1


def test_near_duplicates_stay_together_and_other_pictures_do_not(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    samples = []
    for index in range(12):
        picture = cv2.GaussianBlur(generator.integers(0, 256, (80, 80), dtype=np.uint8), (0, 0), 4) * 3
        for copy in range(2):
            path = tmp_path / f"{index}-{copy}.png"
            cv2.imwrite(str(path), np.clip(picture.astype(int) + copy, 0, 255).astype(np.uint8))
            samples.append(
                Sample(line=1, name=path.name, image=path, reference=None, group="", regions=(), label="good")
            )
    parts = split(samples, seed=1)
    assert (parts.duplicates, parts.clusters, parts.shared) == (12, 12, 0)
    held = set(parts.validation)
    assert all((2 * index in held) == (2 * index + 1 in held) for index in range(12))
    assert "no leak" in " ".join(parts.lines())


def test_a_single_group_is_split_by_image_and_says_so(tmp_path: Path) -> None:
    generator = np.random.default_rng(6)
    samples = []
    for index in range(10):
        path = tmp_path / f"{index}.png"
        cv2.imwrite(str(path), generator.integers(0, 256, (40, 40), dtype=np.uint8))
        samples.append(
            Sample(line=1, name=path.name, image=path, reference=None, group="one", regions=(), label="good")
        )
    parts = split(samples, seed=1)
    assert parts.by == "image"
    assert parts.validation
    assert "warning" in parts.lines()[-1]


@settings(max_examples=40, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 4), min_size=1, max_size=25),
    flips=st.lists(st.integers(0, 8), min_size=25, max_size=25),
    greys=st.lists(st.integers(0, 3), min_size=25, max_size=25),
)
def test_every_two_that_look_alike_are_joined(seeds: list[int], flips: list[int], greys: list[int]) -> None:
    """The search by parts misses nothing that comparing each with each would find."""
    prints = []
    for index, seed in enumerate(seeds):
        generator = np.random.default_rng(seed)
        bits = generator.random(256) < 0.5
        thumb = generator.integers(0, 200, (32, 32), dtype=np.uint8) + np.uint8(greys[index])
        bits[np.random.default_rng(index).choice(256, flips[index], replace=False)] ^= True
        prints.append((bits, thumb))
    found = joined([None] * len(prints), near_duplicates(prints))
    everything = [
        (a, b)
        for b in range(len(prints))
        for a in range(b)
        if np.sum(prints[a][0] != prints[b][0]) <= MOST_BITS
        and np.mean(np.abs(prints[a][1].astype(int) - prints[b][1])) <= MOST_DIFFERENCE_GREY
    ]
    expected = joined([None] * len(prints), everything)
    count = len(prints)
    assert [[found[a] == found[b] for a in range(count)] for b in range(count)] == [
        [expected[a] == expected[b] for a in range(count)] for b in range(count)
    ]


def test_without_groups_pictures_of_one_reference_stay_together(tmp_path: Path) -> None:
    generator = np.random.default_rng(7)
    samples = []
    for index in range(12):
        path = tmp_path / f"{index}.png"
        cv2.imwrite(str(path), generator.integers(0, 256, (40, 40), dtype=np.uint8))
        reference = tmp_path / f"design-{index % 4}.png"
        samples.append(
            Sample(line=1, name=path.name, image=path, reference=reference, group="", regions=(), label="good")
        )
    held = set(split(samples, seed=1).validation)
    assert len({index % 4 for index in held} & {index % 4 for index in range(12) if index not in held}) == 0
    assert held


def test_many_alike_pictures_are_joined_in_bounded_time_and_memory() -> None:
    """10,000 pictures of a smooth surface, all of one hash: each with each would be 50 million pairs."""
    nothing = np.zeros(256, bool)
    prints = ((nothing, np.full((32, 32), 100 + index % 2, np.uint8)) for index in range(10_000))
    assert len(near_duplicates(prints)) == 9_999


def test_two_groups_one_all_good_and_one_all_bad_are_split_by_image(tmp_path: Path) -> None:
    generator = np.random.default_rng(8)
    samples = []
    for index in range(20):
        path = tmp_path / f"{index}.png"
        cv2.imwrite(str(path), generator.integers(0, 256, (40, 40), dtype=np.uint8))
        bad = index < 5
        samples.append(
            Sample(
                line=1,
                name=path.name,
                image=path,
                reference=None,
                group="bad ones" if bad else "good ones",
                regions=None,
                label="dent" if bad else "good",
            )
        )
    parts = split(samples, seed=1)
    assert parts.by == "image"
    assert {samples[index].bad for index in parts.train} == {True, False}
    assert "warning" in parts.lines()[-1]
