"""What surrounds the inspection of a frame: its places checked, its sequence watched, its order and its room kept."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge

from processors.believed_time import is_skewed
from processors.frame_checks import FrameChecks
from processors.inspection import FramePlace, deferred, dropped, given_up
from processors.sequence_watch import REMEMBERED_FRAMES, REMEMBERED_SESSIONS, SequenceWatch
from schemas.codec import decode, encode
from schemas.errors import Refused
from schemas.frames import Frame, ImageEncoding
from schemas.plant import Camera, ExternalSource, Line, Plant, Station
from schemas.reasons import DropReason, FrameOutcome, RefusalReason
from schemas.recipes import DefectClass, GoldenInspection, Recipe, View
from schemas.topics import INSPECTIONS
from topologies.byte_budget import ByteBudget
from topologies.ordered_exit import OrderedExit

PLANT = Plant(
    plant="p",
    lines=(
        Line(
            name="l",
            stations=(
                Station(name="a", cameras=(Camera(name="a-1", views=("top", "side"), source=ExternalSource()),)),
                Station(name="b", cameras=(Camera(name="b-1", views=("top",), source=ExternalSource()),)),
            ),
        ),
    ),
    recipes=(
        Recipe(
            name="r",
            views=(View(name="top"), View(name="bottom")),
            inspection=GoldenInspection(copper="dark", max_candidates=7),
            classes=(DefectClass(name="short"),),
        ),
    ),
)


def frame(**changes: object) -> Frame:
    values: dict[str, object] = {
        "id": "a-1/s/0",
        "station": "a",
        "camera": "a-1",
        "view": "top",
        "session": "s",
        "sequence": 0,
        "part_id": "part",
        "visit": 1,
        "recipe": "r@1",
        "captured_at_ns": 0,
        "encoding": ImageEncoding.JPEG,
        "width_px": 1,
        "height_px": 1,
        "size_bytes": 1,
        "sha256": "",
    }
    return Frame(**{**values, **changes})  # type: ignore[arg-type]


def test_a_frame_of_the_plant_is_told_its_camera_view_and_recipe() -> None:
    found = FrameChecks(PLANT).check(frame())
    assert (found.camera.name, found.view.name, found.recipe.key) == ("a-1", "top", "r@1")


@pytest.mark.parametrize(
    ("changes", "reason", "named"),
    [
        ({"station": "c"}, RefusalReason.UNKNOWN_STATION, "a, b"),
        ({"camera": "z"}, RefusalReason.UNKNOWN_CAMERA, "a-1"),
        ({"camera": "b-1"}, RefusalReason.UNKNOWN_CAMERA, "a-1"),
        ({"view": "back"}, RefusalReason.UNKNOWN_CAMERA, "side, top"),
        ({"part_id": ""}, RefusalReason.UNKNOWN_PART, "no part"),
        ({"recipe": "r@2"}, RefusalReason.UNKNOWN_RECIPE, "r@1"),
        ({"view": "side"}, RefusalReason.UNKNOWN_RECIPE, "bottom, top"),
    ],
)
def test_what_the_plant_does_not_know_is_refused_with_what_it_knows(
    changes: dict[str, object], reason: RefusalReason, named: str
) -> None:
    with pytest.raises(Refused) as raised:
        FrameChecks(PLANT).check(frame(**changes))
    assert raised.value.reason is reason
    assert named in raised.value.detail


@pytest.mark.parametrize(("off_s", "is_off"), [(0, False), (59, False), (-59, False), (61, True), (-600, True)])
def test_a_clock_more_than_a_minute_off_is_noticed(off_s: int, is_off: bool) -> None:
    assert is_skewed(10**18 + off_s * 10**9, 10**18) is is_off


def test_a_dropped_frame_says_why_and_keeps_whose_it_is() -> None:
    refused = Refused(RefusalReason.NOT_ALIGNED, "too far off")
    place = FramePlace(partition=3, offset=17, received_at_ns=5)
    inspection = dropped(frame(part_id="x", visit=2), place, refused, warnings=["clock_skew"], now_ns=9)
    assert (inspection.id, inspection.part_id, inspection.visit) == ("a-1/s/0", "x", 2)
    assert (inspection.outcome, inspection.reason) == (FrameOutcome.DROPPED, "not_aligned")
    assert (inspection.frame_partition, inspection.frame_offset, inspection.warnings) == (3, 17, ("clock_skew",))
    encoded = encode(INSPECTIONS, inspection)
    assert decode(INSPECTIONS, encoded.value, encoded.headers) == inspection


def test_word_of_a_deferral_and_the_outcome_after_it_bear_two_ids_and_tell_what_they_are() -> None:
    place = FramePlace(partition=3, offset=41, received_at_ns=7)
    late = deferred(frame(part_id="x"), place, detail="too late", warnings=["sequence_gap"], now_ns=9)
    gone = given_up(late, reason=DropReason.EXPIRED, detail="gone", now_ns=10)
    for message in (late, gone):
        encoded = encode(INSPECTIONS, message)
        assert decode(INSPECTIONS, encoded.value, encoded.headers) == message
        assert (message.part_id, message.frame_partition, message.frame_offset) == ("x", 3, 41)
    assert (late.id, late.outcome, late.is_deferral, late.was_deferred) == (
        "a-1/s/0/deferred", FrameOutcome.DROPPED, True, False
    )  # fmt: skip
    assert (gone.id, gone.outcome, gone.is_deferral, gone.was_deferred) == (
        "a-1/s/0", FrameOutcome.DROPPED, False, True
    )  # fmt: skip
    assert gone.warnings == ("sequence_gap", "deferred")


@given(st.lists(st.integers(0, 40), max_size=80))
def test_each_frame_counts_once_and_what_is_missing_is_named_once(sequences: list[int]) -> None:
    watch, seen, missing = SequenceWatch(), set[int](), set[int]()
    for sequence in sequences:
        sighting = watch.note(camera="c", session="s", sequence=sequence)
        assert sighting.duplicate == (sequence in seen)
        if sighting.missing is not None:
            named = set(range(sighting.missing[0], sighting.missing[1] + 1))
            assert not named & (seen | missing)
            missing |= named
        seen.add(sequence)
    if sequences:
        assert missing | seen >= set(range(sequences[0], max(sequences) + 1))


def test_cameras_and_sessions_are_watched_apart() -> None:
    watch = SequenceWatch()
    for camera, session in (("c", "s"), ("c", "t"), ("d", "s")):
        sighting = watch.note(camera=camera, session=session, sequence=5)
        assert not sighting.duplicate
        assert sighting.missing is None


def test_the_watch_forgets_what_is_old_and_stays_bounded() -> None:
    watch = SequenceWatch()
    for sequence in range(REMEMBERED_FRAMES + 1):
        watch.note(camera="c", session="s", sequence=sequence)
    assert watch.note(camera="c", session="s", sequence=1).duplicate
    assert not watch.note(camera="c", session="s", sequence=0).duplicate
    for number in range(REMEMBERED_SESSIONS):
        watch.note(camera="c", session=f"other-{number}", sequence=0)
    assert not watch.note(camera="c", session="s", sequence=REMEMBERED_FRAMES).duplicate


@given(st.permutations(range(6)))
async def test_work_leaves_in_the_order_in_which_it_began_whatever_ends_first(order: list[int]) -> None:
    exits, left = OrderedExit(), list[int]()
    gates = [asyncio.Event() for _ in order]

    async def work(number: int) -> None:
        place = exits.enter("camera")
        try:
            await gates[number].wait()
            if number == 2:
                raise RuntimeError("fails")
            await place.turn()
            left.append(number)
        finally:
            place.leave()

    tasks = [asyncio.create_task(work(number)) for number in range(6)]
    await asyncio.sleep(0)
    for number in order:
        gates[number].set()
        await asyncio.sleep(0)
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in ended].count(RuntimeError) == 1
    assert left == [0, 1, 3, 4, 5]


async def test_keys_do_not_wait_for_each_other() -> None:
    exits = OrderedExit()
    exits.enter("a")
    other = exits.enter("b")
    await asyncio.wait_for(other.turn(), 1)


def shown(gauge: Gauge) -> float:
    (sample,) = (sample for metric in gauge.collect() for sample in metric.samples)
    return sample.value


@given(st.lists(st.integers(0, 130), min_size=1, max_size=20), st.integers(1, 4), st.sets(st.integers(0, 19)))
async def test_the_room_is_never_exceeded_and_everyone_gets_in(
    sizes: list[int], limit_count: int, cancelled: set[int]
) -> None:
    used = Gauge("used", "What is taken.", registry=CollectorRegistry())
    budget = ByteBudget(limit_bytes=100, limit_count=limit_count, used=used)
    inside: dict[int, int] = {}

    async def work(number: int, size_bytes: int) -> None:
        async with budget.hold(size_bytes):
            inside[number] = min(size_bytes, 100)
            assert sum(inside.values()) <= shown(used) <= 100
            assert len(inside) <= limit_count
            try:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            finally:
                del inside[number]

    tasks = [asyncio.create_task(work(number, size)) for number, size in enumerate(sizes)]
    await asyncio.sleep(0)
    for number in cancelled & set(range(len(tasks))):
        tasks[number].cancel()
    ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert all(each is None or isinstance(each, asyncio.CancelledError) for each in ended)
    async with asyncio.timeout(1), budget.hold(100):
        assert shown(used) == 100
    assert shown(used) == 0
