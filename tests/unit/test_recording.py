"""Which pictures are kept."""

from __future__ import annotations

import pytest
from drifting_verdicts import scored
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from processors.part_state import PartVisit
from processors.recording import KeptFor, WantedPicture, is_sampled, kept_for, wanted_pictures
from schemas.inspections import Defect
from schemas.reasons import VerdictValue
from schemas.verdicts import ViewResult

PARTS = [PartVisit("aoi-1", f"SN-{number}", 1) for number in range(4_000)]


@pytest.mark.parametrize("value", [VerdictValue.NOT_OK, VerdictValue.NOT_DECIDABLE])
def test_every_part_that_is_not_ok_is_kept_whoever_said_so(value: VerdictValue) -> None:
    _, verdict = scored(1, value=value)
    assert kept_for(verdict, ok_share_ratio=0.0) is KeptFor.NOT_OK
    assert kept_for(replace(verdict, revision=2, decided_by="anna"), ok_share_ratio=0.0) is KeptFor.NOT_OK


def test_a_part_that_was_passed_with_defects_is_kept_so_that_every_defect_event_has_its_picture() -> None:
    defect = Defect(class_name="open", score=0.9, box=(1, 2, 3, 4), area_px=30.0)
    views = (ViewResult(view="top"), ViewResult(view="side", image_sha256="ab" * 32, defects=(defect,)))
    _, verdict = scored(1)
    assert kept_for(replace(verdict, views=views), ok_share_ratio=0.0) is KeptFor.DEFECT


def test_the_share_of_ok_parts_is_kept_as_sample() -> None:
    _, verdict = scored(1)
    assert kept_for(verdict, ok_share_ratio=1.0) is KeptFor.SAMPLE
    assert kept_for(verdict, ok_share_ratio=0.0) is None


@pytest.mark.parametrize("share_ratio", [0.02, 0.3, 0.9])
def test_about_the_share_that_was_asked_for_is_sampled(share_ratio: float) -> None:
    sampled = sum(is_sampled(part, share_ratio=share_ratio) for part in PARTS)
    assert sampled == pytest.approx(share_ratio * len(PARTS), rel=0.25)


def test_the_sample_is_the_same_on_every_machine_and_in_every_release() -> None:
    sampled = [part.part_id for part in PARTS[:200] if is_sampled(part, share_ratio=0.02)]
    assert sampled == ["SN-5", "SN-9", "SN-35", "SN-73", "SN-102", "SN-164", "SN-165"]


@given(st.text(), st.integers(0, 9), st.floats(0, 1), st.floats(0, 1))
def test_who_is_sampled_at_one_share_is_sampled_at_every_larger_one(
    part_id: str, visit: int, one: float, other: float
) -> None:
    part = PartVisit("aoi-1", part_id, visit)
    smaller, larger = sorted((one, other))
    assert is_sampled(part, share_ratio=larger) or not is_sampled(part, share_ratio=smaller)


def test_pictures_are_wanted_once_and_in_the_order_of_the_topic() -> None:
    def view(name: str, partition: int, offset: int, sha256: str) -> ViewResult:
        return ViewResult(view=name, image_sha256=sha256, frame_partition=partition, frame_offset=offset)

    _, verdict = scored(1)
    views = (view("c", 1, 7, "c"), view("a", 0, 9, "a"), view("again", 1, 7, "c"), view("b", 0, 2, "b"))
    wanted = wanted_pictures(replace(verdict, views=views))
    assert wanted == tuple(
        WantedPicture(partition=partition, offset=offset, image_sha256=sha256)
        for partition, offset, sha256 in ((0, 2, "b"), (0, 9, "a"), (1, 7, "c"))
    )


@pytest.mark.parametrize(
    "view", [ViewResult(view="missing"), ViewResult(view="unread", frame_partition=0, frame_offset=3)]
)
def test_a_view_without_a_picture_that_can_be_told_wants_none(view: ViewResult) -> None:
    _, verdict = scored(1)
    assert wanted_pictures(replace(verdict, views=(view,))) == ()
