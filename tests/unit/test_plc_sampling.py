"""What a PLC's server tells and does not tell of its channels: samples, notices, and nothing made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from gateways import plc_sampling
from gateways.opcua_notifications import OVERFLOW, Publication, Report
from gateways.opcua_session import Reading
from gateways.opcua_subscriptions import Granted, Monitored, Subscription
from gateways.plc_sampling import PlcSampling, publishing_interval_ms, queue_size
from gateways.sample_series import SampleSeries
from gateways.sampled_channel import SampledChannel, Taken
from schemas.plant import Asset, Channel, Plc

MS = 1_000_000
T0 = 1_700_000_000_000_000_000
CHANNELS = (
    Channel(name="speed", unit="1", node="s=Speed", sample_ms=100),
    Channel(name="load", unit="1", node="s=Load", sample_ms=100, deadband=0.5),
)
PLC = Plc(name="plc-1", endpoint="opc.tcp://192.0.2.1:4840/", security="none")


class Server:
    """What the session's other end says; a PLC that reports, answers reads, and refuses nodes as it is told."""

    def __init__(self) -> None:
        self.standing: dict[str, Reading] = {channel.node or "": Reading(1.0, "Good") for channel in CHANNELS}
        self.refuses: dict[str, str] = {}
        self.asked: list[Monitored] = []
        self.grants = Granted(refused="", sampling_ms=100, queue=50)
        self.told: Callable[[Publication], None] = lambda _publication: None
        self.sequence = 0

    async def subscribe(self, publishing_ms: float, told: Callable[[Publication], None]) -> Subscription:
        self.told = told
        return Subscription(1, publishing_ms, 1000)

    async def monitor(self, _subscription: Subscription, items: Sequence[Monitored]) -> list[Granted]:
        self.asked += items
        return [self.grants._replace(refused=self.refuses.get(item.identifier, "")) for item in items]

    async def read_each(self, identifiers: Sequence[str]) -> list[Reading]:
        return [self.standing[identifier] for identifier in identifiers]

    def publish(self, *reports: Report, at_ms: float, skipped: int = 0) -> None:
        self.sequence += skipped + bool(reports)
        at_ns = T0 + int(at_ms * MS)
        self.told(Publication(1, self.sequence, at_ns, list(reports), more=False, has_data=bool(reports), ended=None))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0)


class Heard:
    """Where samples and notices go."""

    def __init__(self) -> None:
        self.samples: dict[str, list[tuple[float, float]]] = {channel.name: [] for channel in CHANNELS}
        self.noticed: list[tuple[str, str]] = []

    def publish(self, channel: SampledChannel, taken: Taken, *, at_ns: int) -> None:
        found = self.samples[channel.channel.name]
        found += [(block.values[0], (block.first_at_ns - T0) / MS) for block in taken.blocks]

    def tell(self, what: str, *, subject: str, detail: str) -> None:
        self.noticed.append((what, subject))

    async def notices(self, what: str) -> None:
        await until(lambda: any(noticed == what for noticed, _ in self.noticed))


def report(item: int, value: object, *, at_ms: float, status: int = 0) -> Report:
    return Report(item, value, status, T0 + int(at_ms * MS))


@asynccontextmanager
async def sampling(server: Server) -> AsyncIterator[Heard]:
    heard = Heard()
    asset = Asset(name="press", line="l", plc="plc-1", channels=CHANNELS)
    task = asyncio.create_task(
        PlcSampling(plc=PLC, assets=[asset], readings=heard, session=server).run()  # type: ignore[arg-type]
    )
    await until(lambda: len(server.asked) == len(CHANNELS))
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_every_channel_is_asked_for_with_its_interval_its_deadband_and_seconds_of_queue() -> None:
    server = Server()
    async with sampling(server) as heard:
        assert server.asked == [Monitored(0, "s=Speed", 100, 50, 0.0), Monitored(1, "s=Load", 100, 50, 0.5)]
        assert heard.noticed == []
    assert publishing_interval_ms(PLC, CHANNELS) == 50
    quick = Channel(name="q", unit="1", node="s=q", sample_ms=1, block_samples=100)
    assert (publishing_interval_ms(PLC, [quick]), queue_size(quick)) == (50, 1000)
    slow = Channel(name="s", unit="1", node="s=s", sample_ms=60_000)
    assert (publishing_interval_ms(PLC, [slow]), queue_size(slow)) == (500, 2)


async def test_a_server_that_samples_more_slowly_or_keeps_less_is_told_once() -> None:
    server = Server()
    server.grants = Granted(refused="", sampling_ms=250, queue=1)
    async with sampling(server) as heard:
        await heard.notices("queue_revised")
        assert heard.noticed == [("sampling_revised", "plc-1"), ("queue_revised", "plc-1")]


async def test_a_server_that_samples_far_more_quickly_is_told_once_with_its_channels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plc_sampling, "LOOK_AFTER_S", 0.001)
    server = Server()
    async with sampling(server) as heard:
        for each in (1, 2):
            server.publish(*(report(0, float(n), at_ms=each * 1000 + n) for n in range(200)), at_ms=each * 1000 + 210)
            await heard.notices("samples_thinned")
        await heard.notices("samples_thinned")
        assert heard.noticed == [("samples_thinned", "plc-1")]
        assert len(heard.samples["speed"]) < 100, "of 400 reports"


async def test_an_overflow_and_a_publication_that_is_missing_are_losses_and_nothing_is_held_across() -> None:
    server = Server()
    async with sampling(server) as heard:
        server.publish(report(0, 1.0, at_ms=0), report(1, 1.0, at_ms=0), at_ms=10)
        server.publish(report(0, 9.0, at_ms=1000, status=OVERFLOW), at_ms=1010)
        assert ("samples_lost", "press/speed") in heard.noticed
        assert heard.samples["speed"] == [(1.0, 0.0), (9.0, 1000.0)]
        assert len(heard.samples["load"]) == 10, "the other one stood still"
        server.publish(report(0, 3.0, at_ms=2000), at_ms=2010, skipped=1)
        assert ("samples_lost", "plc-1") in heard.noticed
        assert heard.samples["speed"][-1] == (3.0, 2000.0)
        server.publish(at_ms=3000)
        assert len(heard.samples["load"]) == 10, "it may have changed in what was lost"


async def test_a_plc_whose_clock_jumps_is_told_and_its_day_is_not_filled() -> None:
    server = Server()
    async with sampling(server) as heard:
        server.publish(report(0, 1.0, at_ms=0), at_ms=10)
        server.publish(at_ms=86_400_000)
        assert ("clock_jumped", "plc-1") in heard.noticed
        server.publish(at_ms=86_400_500)
        times = [at_ms for _, at_ms in heard.samples["speed"]]
        assert len(times) < 8
        assert times[-1] > 86_400_000


async def test_a_bad_status_has_no_samples_and_a_good_one_begins_again() -> None:
    server = Server()
    async with sampling(server) as heard:
        server.publish(report(0, 1.0, at_ms=0), at_ms=10)
        server.publish(report(0, None, at_ms=100, status=0x8089_0000), at_ms=110)
        server.publish(at_ms=900)
        assert heard.noticed == [("bad_quality", "press/speed")]
        server.publish(report(0, 2.0, at_ms=1000), at_ms=1010)
        assert heard.samples["speed"] == [(1.0, 0.0), (2.0, 1000.0)]


async def test_a_tag_that_stands_still_is_read_and_goes_on_and_one_that_is_silent_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plc_sampling, "LOOK_AFTER_S", 0.01)
    server = Server()
    server.refuses["s=Load"] = "BadMonitoredItemFilterUnsupported"
    async with sampling(server) as heard:
        await heard.notices("bad_quality")
        server.publish(report(0, 1.0, at_ms=0), at_ms=10)
        asked = len(server.asked)
        await until(lambda: len(server.asked) >= asked + 3)  # three looks, each of which asks for the refused one again
        assert {what for what, _ in heard.noticed} == {"bad_quality"}, "the one that stands still is well"
        server.standing["s=Speed"] = Reading(5.0, "Good")
        await heard.notices("change_not_reported")
        assert heard.samples["speed"][-1][0] == 5.0
        server.standing["s=Speed"] = Reading(None, "BadNotConnected")
        count = len(heard.noticed)
        await until(lambda: ("bad_quality", "press/speed") in heard.noticed[count:])


async def test_a_slow_sensor_within_its_deadband_is_as_told() -> None:
    server = Server()
    async with sampling(server) as heard:
        server.publish(report(1, 1.0, at_ms=0), at_ms=10)
        server.publish(at_ms=1000)
        assert {value for value, _ in heard.samples["load"]} == {1.0}
        assert {b - a for (_, a), (_, b) in pairwise(heard.samples["load"])} == {100.0}


def test_a_change_that_is_read_before_its_report_comes_is_no_news_of_a_silent_tag() -> None:
    channel = SampledChannel(asset="press", channel=CHANNELS[0], series=SampleSeries(period_ms=100, publishing_ms=50))
    channel.take(report(0, 1.0, at_ms=0), T0)
    assert channel.looked(Reading(5.0, "Good"), T0) == Taken(), "it may be on its way"
    channel.take(report(0, 5.0, at_ms=100), T0 + 100 * MS)
    channel.take(report(0, 6.0, at_ms=200), T0 + 200 * MS)
    assert channel.looked(Reading(7.0, "Good"), T0 + 200 * MS) == Taken(), "another change, read for the first time"
    assert channel.looked(Reading(7.0, "Good"), T0 + 300 * MS).noticed == "change_not_reported"
    assert channel.looked(Reading(7.0, "Good"), T0 + 400 * MS) == Taken()
