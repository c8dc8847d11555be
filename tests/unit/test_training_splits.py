"""Laws of the split: nothing that belongs together is on both sides, whatever the groups are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.labels import Sample
from training.splits import VALIDATION_SHARE, assign, joined, split

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
