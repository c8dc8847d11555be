"""Manifests tell every sequence once, in order, and only when its fate is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways import manifests
from gateways.manifests import ManifestBook, new_session
from schemas.frames import Manifest


def book() -> ManifestBook:
    return ManifestBook(station="s", camera="c", session="t")


@given(
    fates=st.lists(st.sampled_from([None, "capture_failed", "broker_away"]), max_size=40),
    order=st.randoms(use_true_random=False),
    told_after=st.sets(st.integers(0, 39)),
    max_ranges=st.integers(1, 5),
)
def test_each_sequence_is_told_once_in_order_with_its_fate_and_never_before_it_is_known(
    fates: list[str | None], order: object, told_after: set[int], max_ranges: int
) -> None:
    camera, found, settled = book(), list[Manifest](), set[int]()
    sequences = [camera.take_sequence() for _ in fates]
    assert sequences == list(range(len(fates)))
    order.shuffle(sequences)  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifests, "MAX_RANGES", max_ranges)
        for step, sequence in enumerate(sequences):
            reason = fates[sequence]
            if reason is None:
                camera.acknowledged(sequence)
            else:
                camera.dropped(sequence, reason)
            settled.add(sequence)
            if step in told_after and (manifest := camera.next_manifest(now_ns=1)) is not None:
                assert set(range(manifest.last_sequence + 1)) <= settled
                found.append(manifest)
        while (manifest := camera.next_manifest(now_ns=1)) is not None:
            found.append(manifest)
    told: dict[int, str | None] = {}
    for manifest in found:
        assert manifest.first_sequence == len(told)
        assert manifest.id == f"c/t/{manifest.first_sequence}"
        told |= dict.fromkeys(range(manifest.first_sequence, manifest.last_sequence + 1))
        for gone in manifest.dropped:
            told |= dict.fromkeys(range(gone.first_sequence, gone.last_sequence + 1), gone.reason)
        assert len(manifest.dropped) <= max_ranges
    assert told == dict(enumerate(fates))


def test_neighbours_with_one_reason_are_one_range() -> None:
    camera = book()
    for reason in ("a", "a", None, "a", "b"):
        sequence = camera.take_sequence()
        camera.acknowledged(sequence) if reason is None else camera.dropped(sequence, reason)
    manifest = camera.next_manifest(now_ns=1)
    assert manifest is not None
    assert [(gone.first_sequence, gone.last_sequence, gone.reason) for gone in manifest.dropped] == [
        (0, 1, "a"),
        (3, 3, "a"),
        (4, 4, "b"),
    ]


def test_a_session_is_closed_even_when_there_is_nothing_new_but_not_when_there_never_was() -> None:
    camera = book()
    assert camera.next_manifest(now_ns=1, closing=True) is None
    camera.acknowledged(camera.take_sequence())
    camera.next_manifest(now_ns=1)
    closing = camera.next_manifest(now_ns=2, closing=True)
    assert closing is not None
    assert (closing.closing, closing.first_sequence, closing.last_sequence) == (True, 1, 0)


def test_a_frame_has_one_fate() -> None:
    camera = book()
    camera.acknowledged(camera.take_sequence())
    with pytest.raises(ValueError, match="has its fate already"):
        camera.dropped(0, "capture_failed")
    with pytest.raises(ValueError, match="never given out"):
        camera.acknowledged(1)


def test_sessions_are_unique_and_sort_by_their_start() -> None:
    sessions = [new_session() for _ in range(100)]
    assert len(set(sessions)) == 100
    assert [name.split("-")[0] for name in sessions] == sorted(name.split("-")[0] for name in sessions)
