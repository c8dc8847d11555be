"""Pictures of one camera: taken at once, published in order, and each that is owed has its fate in the book."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateways import capture
from gateways.capture import CameraCapture
from gateways.framing import Framer, Subject
from gateways.manifests import ManifestBook
from gateways.outbox import Fate
from gateways.picture_source import CaptureFailed, Picture, TooLate, Trigger
from schemas.errors import Transient
from schemas.frames import Frame
from schemas.object_store import ObjectMissing
from schemas.telemetry import Stage


class Publisher:
    """In place of the publisher: remembers what was submitted, and gives each record its fate."""

    def __init__(self, fate: Callable[[Frame], Fate] = lambda _frame: Fate.ACKNOWLEDGED) -> None:
        self.frames: list[Frame] = []
        self._fate = fate

    def submit(self, topic: Any, key: str, message: Frame, *, tell: Callable[[Fate], None], droppable: bool) -> None:
        assert droppable
        self.frames.append(message)
        tell(self._fate(message))


class Store:
    """An object store that is away until told otherwise."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.away = False

    def put(self, key: str, content: bytes) -> None:
        if self.away:
            raise Transient("the store is away")
        self.content[key] = content

    def get(self, key: str) -> bytes:
        raise ObjectMissing(key)

    def exists(self, key: str) -> bool:
        return key in self.content

    def expire(self, prefix: str, *, older_than_s: float) -> int:
        return 0


class Eye:
    """A camera whose pictures come when the test lets them."""

    def __init__(self, *, keeps_triggers: bool = True) -> None:
        self.keeps_triggers = keeps_triggers
        self.told: list[tuple[int, bool]] = []
        self.asked: list[int] = []
        self.pictures: dict[int, asyncio.Future[bytes]] = {}

    def triggered(self, trigger: Trigger, *, wanted: bool) -> None:
        self.told.append((trigger.count, wanted))

    async def capture(self, *, view: str, trigger: Trigger) -> Picture:
        self.asked.append(trigger.count)
        future = self.pictures.setdefault(trigger.count, asyncio.get_running_loop().create_future())
        return Picture(await future, 1)

    def give(self, trigger_count: int, image: bytes | CaptureFailed | None = None) -> None:
        """By default a picture that is nobody else's."""
        future = self.pictures.setdefault(trigger_count, asyncio.get_running_loop().create_future())
        given = f"picture {trigger_count}".encode() if image is None else image
        future.set_exception(given) if isinstance(given, Exception) else future.set_result(given)


class Bench:
    """A camera's capture with everything around it."""

    def __init__(
        self,
        eye: Eye,
        publisher: Publisher,
        *,
        useful_for_s: float = 60.0,
        inline_limit: int = 100,
        refuse_repeats: bool = True,
    ) -> None:
        self.book = ManifestBook(station="s", camera="c", session="t")
        self.eye = eye
        self.publisher = publisher
        self.store = Store()
        self.stage = Stage("station_gateway")
        self.capture = CameraCapture(
            camera="c",
            source=eye,
            framer=Framer(
                station="s",
                camera="c",
                session="t",
                store=self.store,
                stage=self.stage,
                inline_limit_bytes=inline_limit,
            ),
            book=self.book,
            publisher=publisher,  # type: ignore[arg-type]
            stage=self.stage,
            useful_for_s=useful_for_s,
            refuse_repeats=refuse_repeats,
        )

    def arrive(self, trigger: int, *, views: tuple[str, ...] = ("v",), fresh: bool = True, age_s: float = 0) -> None:
        subject = Subject(part_id=f"p{trigger}", visit=1, recipe="r@1", trigger_count=trigger)
        at_s = time.monotonic() - age_s
        self.capture.take(subject, views, Trigger(count=trigger, seen_s=at_s, at_s=at_s, fresh=fresh))

    def fates(self) -> dict[int, str | None]:
        manifest = self.book.next_manifest(now_ns=1)
        assert manifest is not None
        told: dict[int, str | None] = dict.fromkeys(range(manifest.first_sequence, manifest.last_sequence + 1))
        for gone in manifest.dropped:
            told |= dict.fromkeys(range(gone.first_sequence, gone.last_sequence + 1), gone.reason)
        return told


@asynccontextmanager
async def at_work(bench: Bench) -> AsyncIterator[Bench]:
    running = asyncio.create_task(bench.capture.run())
    try:
        yield bench
        await bench.capture.finish(within_s=5)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_pictures_that_come_in_any_order_are_published_in_the_order_of_the_arrivals() -> None:
    async with at_work(Bench(Eye(), Publisher())) as bench:
        for trigger in range(6):
            bench.arrive(trigger)
        for trigger in (5, 3, 4, 0, 2, 1):
            bench.eye.give(trigger)
            await asyncio.sleep(0)
    assert [(frame.sequence, frame.part_id) for frame in bench.publisher.frames] == [(n, f"p{n}") for n in range(6)]
    assert bench.fates() == dict.fromkeys(range(6))


async def test_each_picture_that_is_owed_has_its_fate() -> None:
    def fate(frame: Frame) -> Fate:
        return Fate.DROPPED if frame.sequence == 2 else Fate.ACKNOWLEDGED

    async with at_work(Bench(Eye(), Publisher(fate))) as bench:
        for trigger in range(4):
            bench.arrive(trigger)
            bench.eye.give(trigger, CaptureFailed("dark") if trigger == 1 else None)
    assert bench.fates() == {0: None, 1: "capture_failed", 2: "broker_away", 3: None}


async def test_every_picture_that_a_camera_does_not_give_is_counted_as_the_cameras_failure() -> None:
    def failures() -> float:
        labels = {"reason": "camera"}
        return bench.stage.registry.get_sample_value("linesight_station_gateway_retried_total", labels) or 0.0

    async with at_work(Bench(Eye(), Publisher())) as bench:
        for trigger in range(5):
            bench.arrive(trigger)
            bench.eye.give(trigger, b"x" if trigger == 3 else CaptureFailed("no answer"))
    assert failures() == 4
    async with at_work(Bench(Eye(keeps_triggers=False), Publisher())) as bench:
        bench.arrive(9, fresh=False)
    assert failures() == 0, "that the part has moved on is not the camera's fault"


async def test_no_more_pictures_than_agreed_are_in_memory_however_slow_the_first_one_is() -> None:
    async with at_work(Bench(Eye(), Publisher())) as bench:
        for trigger in range(30):
            bench.arrive(trigger)
            if trigger:
                bench.eye.give(trigger)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(bench.eye.asked) == capture.PICTURES_AT_ONCE
        bench.eye.give(0)
    assert [frame.sequence for frame in bench.publisher.frames] == list(range(30))


async def test_a_flood_of_arrivals_is_refused_by_name_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "OPEN_PICTURES", 5)
    bench = Bench(Eye(), Publisher())
    for trigger in range(12):
        bench.arrive(trigger)
        bench.eye.give(trigger)
    async with at_work(bench):
        pass
    assert bench.fates() == {n: None if n < 5 else "capture_failed" for n in range(12)}


async def test_a_picture_of_a_part_that_has_passed_the_gate_is_not_taken() -> None:
    async with at_work(Bench(Eye(), Publisher(), useful_for_s=-1)) as bench:
        bench.arrive(1)
    assert bench.eye.asked == []
    assert bench.fates() == {0: "expired"}


async def test_after_a_standstill_old_arrivals_do_not_hold_up_the_pictures_that_can_still_be_had() -> None:
    async with at_work(Bench(Eye(), Publisher(), useful_for_s=2.0)) as bench:
        for trigger in range(1, 40):
            bench.arrive(trigger, age_s=20)
        bench.arrive(40, age_s=1)
        bench.eye.give(40)
    assert bench.eye.asked == [40]
    assert bench.fates() == {**dict.fromkeys(range(39), "expired"), 39: None}


async def test_a_camera_that_exposes_when_asked_is_not_asked_for_a_part_that_has_moved_on() -> None:
    async with at_work(Bench(Eye(keeps_triggers=False), Publisher())) as bench:
        bench.arrive(1, fresh=False)
        bench.arrive(2, fresh=True)
        bench.eye.give(2)
    assert bench.eye.asked == [2]
    assert bench.fates() == {0: "expired", 1: None}


async def test_a_camera_that_exposes_when_asked_is_not_asked_late_because_others_were_slow() -> None:
    async with at_work(Bench(Eye(keeps_triggers=False), Publisher())) as bench:
        for trigger in range(capture.PICTURES_AT_ONCE + 1):
            bench.arrive(trigger)
            await asyncio.sleep(0)
        for trigger in range(capture.PICTURES_AT_ONCE):
            bench.eye.give(trigger)
    assert bench.eye.asked == list(range(capture.PICTURES_AT_ONCE))
    assert bench.fates()[capture.PICTURES_AT_ONCE] == "expired"


async def test_a_camera_hears_of_every_trigger_whether_or_not_a_picture_of_it_is_wanted_or_can_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capture, "OPEN_PICTURES", 2)
    async with at_work(Bench(Eye(keeps_triggers=False), Publisher())) as bench:
        bench.arrive(1, views=())
        bench.arrive(2, fresh=False)
        bench.arrive(3, age_s=100)
        bench.arrive(4)
        bench.arrive(5, views=())
    assert bench.eye.told == [(1, False), (2, True), (3, True), (4, True), (5, False)]
    assert bench.fates() == {0: "expired", 1: "expired", 2: "capture_failed"}


async def test_a_picture_that_was_too_late_for_its_camera_is_expired_and_no_failure_of_the_camera() -> None:
    async with at_work(Bench(Eye(keeps_triggers=False), Publisher())) as bench:
        bench.arrive(1)
        bench.eye.give(1, TooLate("600 ms after the trigger"))
    assert bench.fates() == {0: "expired"}
    labels = {"reason": "camera"}
    assert not bench.stage.registry.get_sample_value("linesight_station_gateway_retried_total", labels)


async def test_what_is_owed_when_the_gateway_stops_is_named() -> None:
    bench = Bench(Eye(), Publisher())
    running = asyncio.create_task(bench.capture.run())
    for trigger in range(3):
        bench.arrive(trigger)
    bench.eye.give(0)
    await bench.capture.finish(within_s=0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    bench.capture.give_up()
    assert bench.fates() == {0: None, 1: "capture_failed", 2: "capture_failed"}


async def test_a_large_picture_goes_to_the_store_and_one_that_cannot_is_named() -> None:
    async with at_work(Bench(Eye(), Publisher(), inline_limit=10, useful_for_s=0.3)) as bench:
        bench.arrive(0)
        bench.eye.give(0, b"0123456789")
        bench.arrive(1)
        bench.eye.give(1, b"0123456789a")
        await bench.capture.finish(within_s=5)
        bench.store.away = True
        bench.arrive(2)
        bench.eye.give(2, b"0123456789b")
    inline, claimed = bench.publisher.frames
    assert (inline.image, inline.uri) == (b"0123456789", None)
    assert (claimed.image, claimed.size_bytes) == (None, 11)
    assert bench.store.content == {claimed.uri: b"0123456789a"}
    assert bench.fates() == {0: None, 1: None, 2: "expired"}


async def test_the_picture_of_the_part_before_is_no_picture_of_this_part() -> None:
    async with at_work(Bench(Eye(), Publisher())) as bench:
        for trigger, image in enumerate((b"a", b"a", b"a", b"b", b"a")):
            bench.arrive(trigger)
            bench.eye.give(trigger, image)
    assert [frame.part_id for frame in bench.publisher.frames] == ["p0", "p3", "p4"]
    assert bench.fates() == {0: None, 1: "repeated_picture", 2: "repeated_picture", 3: None, 4: None}
    assert bench.stage.registry.get_sample_value(
        "linesight_station_gateway_dropped_total", {"reason": "repeated_picture"}
    ) == 2  # fmt: skip


async def test_the_picture_of_another_view_is_no_picture_of_this_view() -> None:
    async with at_work(Bench(Eye(), Publisher())) as bench:
        bench.arrive(1, views=("v", "w"))
        bench.eye.give(1, b"a")
        for trigger, view, image in ((2, "v", b"b"), (3, "w", b"b"), (4, "w", b"c")):
            bench.arrive(trigger, views=(view,))
            bench.eye.give(trigger, image)
    assert bench.fates() == {0: None, 1: "repeated_picture", 2: None, 3: "repeated_picture", 4: None}


async def test_the_picture_of_a_part_is_known_though_the_store_did_not_take_it() -> None:
    async with at_work(Bench(Eye(), Publisher(), inline_limit=10, useful_for_s=0.5)) as bench:
        bench.store.away = True
        bench.arrive(1)
        bench.eye.give(1, b"0123456789a")
        await bench.capture.finish(within_s=30)
        bench.store.away = False
        bench.arrive(2)
        bench.eye.give(2, b"0123456789a")
    assert bench.fates() == {0: "expired", 1: "repeated_picture"}
    assert bench.store.content == {}


async def test_a_source_without_noise_may_repeat() -> None:
    async with at_work(Bench(Eye(), Publisher(), refuse_repeats=False)) as drawn:
        for trigger in (1, 2):
            drawn.arrive(trigger, views=("v", "w"))
            drawn.eye.give(trigger, b"a")
    assert drawn.fates() == dict.fromkeys(range(4))
