"""The channels of one PLC, sampled by its OPC UA server while a session lasts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from math import ceil
from typing import Protocol

from gateways.opcua_notifications import Publication, Report
from gateways.opcua_session import OpcUaSession
from gateways.opcua_subscriptions import Granted, Monitored, Subscription
from gateways.sample_series import HELD_AT_MOST_NS, SampleSeries
from gateways.sampled_channel import SampledChannel, Taken
from schemas.plant import Asset, Channel, Plc

QUEUE_MS = 5000
"""So long the server keeps samples that it could not publish: ten publications and more."""
LARGEST_QUEUE = 1000
LONGEST_PUBLISHING_MS = 500
LOOK_AFTER_S = 5.0
"""A channel that was not reported for this long is read."""
READ_AT_ONCE = 500


class Readers(Protocol):
    """Where samples go, and what is to be told."""

    def publish(self, channel: SampledChannel, taken: Taken, *, at_ns: int) -> None:
        """Samples of a channel."""

    def tell(self, what: str, *, subject: str, detail: str) -> None:
        """Something noticed."""


class PlcSampling:
    """Has the PLC sample the channels of `assets`. One per session."""

    def __init__(self, *, plc: Plc, assets: Sequence[Asset], readings: Readers, session: OpcUaSession) -> None:
        self._plc = plc
        self._session = session
        self._readings = readings
        self._publishing_ms = publishing_interval_ms(plc, [channel for asset in assets for channel in asset.channels])
        self._channels = [
            SampledChannel(
                asset=asset.name,
                channel=channel,
                series=SampleSeries(period_ms=channel.sample_ms, publishing_ms=self._publishing_ms),
            )
            for asset in assets
            for channel in asset.channels
            if channel.node is not None
        ]
        self._published_at_ns = 0
        self._sequence = 0
        self._thinned_is_told = False

    async def run(self) -> None:
        """Samples until the session is lost or this is cancelled; what was begun is published then."""
        try:
            subscription = await self._session.subscribe(self._publishing_ms, self._told)
            if subscription.publishing_ms > self._publishing_ms:
                detail = f"asked to publish every {self._publishing_ms:g} ms, publishes every {subscription.publishing_ms:g} ms"
                self._readings.tell("publishing_revised", subject=self._plc.name, detail=detail)
            await self._monitor(subscription, range(len(self._channels)))
            self._tell_revised()
            while True:
                await asyncio.sleep(LOOK_AFTER_S)
                await self._look(subscription)
                self._tell_thinned()
        finally:
            for channel in self._channels:
                self._readings.publish(channel, Taken(blocks=channel.blocks.cut()), at_ns=self._published_at_ns)

    async def _monitor(self, subscription: Subscription, items: Sequence[int]) -> None:
        """Asks the PLC to sample; a channel that it refuses is told, and asked for again with the next look."""
        wanted = [_monitored(item, self._channels[item].channel) for item in items]
        for item, granted in zip(items, await self._session.monitor(subscription, wanted), strict=True):
            channel = self._channels[item]
            channel.granted = granted
            if granted.refused:
                detail = f"{channel.channel.node} is not sampled: {granted.refused}{_advice(granted, channel.channel)}"
                self._readings.tell("bad_quality", subject=channel.subject, detail=detail)

    async def _look(self, subscription: Subscription) -> None:
        """Reads the channels that were not reported since the last look, and asks again for those that were refused."""
        refused = [item for item, channel in enumerate(self._channels) if channel.granted.refused]
        if refused:
            await self._monitor(subscription, refused)
        silent = [channel for channel in self._channels if not (channel.reported or channel.granted.refused)]
        for channel in self._channels:
            channel.reported = False
        for first in range(0, len(silent), READ_AT_ONCE):
            some = silent[first : first + READ_AT_ONCE]
            for channel, reading in zip(
                some, await self._session.read_each([channel.channel.node or "" for channel in some]), strict=True
            ):
                if not channel.reported:  # while it was read
                    said = f"{reading.value!r}, {reading.status}"
                    self._take(channel, channel.looked(reading, self._published_at_ns), said)

    def _tell_revised(self) -> None:
        """Where the PLC samples more slowly, or keeps fewer samples, than it was asked for: once a session, not once a channel."""
        taken = [channel for channel in self._channels if not channel.granted.refused]
        slower = [channel for channel in taken if channel.granted.sampling_ms > channel.channel.sample_ms]
        if slower:
            first, asked_ms = slower[0], slower[0].channel.sample_ms
            detail = (
                f"{len(slower)} of {len(self._channels)} channels are sampled more slowly than asked: "
                f"{first.subject} every {first.granted.sampling_ms:g} ms, not {asked_ms} ms"
            )
            self._readings.tell("sampling_revised", subject=self._plc.name, detail=detail)
        fewer = [channel for channel in taken if channel.granted.queue < queue_size(channel.channel)]
        if fewer:
            first = fewer[0]
            detail = (
                f"{len(fewer)} of {len(self._channels)} channels have a shorter queue than asked: "
                f"{first.subject} keeps {first.granted.queue} samples, not {queue_size(first.channel)}; "
                f"after {first.granted.queue * first.channel.sample_ms} ms without an answer some are lost"
            )
            self._readings.tell("queue_revised", subject=self._plc.name, detail=detail)

    def _tell_thinned(self) -> None:
        """Where the PLC samples more quickly than it was asked to, so that values are passed over: once a session."""
        thinned = [channel for channel in self._channels if channel.series.thinned]
        if thinned and not self._thinned_is_told:
            self._thinned_is_told = True
            first = thinned[0]
            detail = (
                f"{len(thinned)} of {len(self._channels)} channels are sampled more quickly than asked, and values of them passed over: "
                f"{first.subject} is asked for every {first.channel.sample_ms} ms; a smaller `sample_ms` takes more of them"
            )
            self._readings.tell("samples_thinned", subject=self._plc.name, detail=detail)

    # --- on each publication: no waiting in here ---------------------------------------------------------------------

    def _told(self, publication: Publication) -> None:
        published_at_ns = publication.published_at_ns or time.time_ns()
        self._check(publication, published_at_ns)
        self._published_at_ns = published_at_ns
        for report in publication.reports:
            channel = self._channels[report.item]
            self._take(channel, channel.take(report, published_at_ns), report)
        if not publication.more:
            for channel in self._channels:
                self._take(channel, channel.quiet(published_at_ns), "")

    def _check(self, publication: Publication, published_at_ns: int) -> None:
        """Whether publications came in one piece, and at times that follow each other."""
        passed_ns = published_at_ns - self._published_at_ns
        if self._published_at_ns and not 0 <= passed_ns <= HELD_AT_MOST_NS:
            detail = f"the PLC's publications are {passed_ns / 1e9:.1f} s apart by its clock: nothing is known of the time between"
            self._readings.tell("clock_jumped", subject=self._plc.name, detail=detail)
            for channel in self._channels:
                channel.series.restart(published_at_ns)
        if publication.has_data:
            if self._sequence and publication.sequence > self._sequence + 1:
                detail = f"publications {self._sequence + 1} to {publication.sequence - 1} did not come"
                self._readings.tell("samples_lost", subject=self._plc.name, detail=detail)
                for channel in self._channels:  # until it is reported or read again
                    channel.series.lose()
            self._sequence = publication.sequence

    def _take(self, channel: SampledChannel, taken: Taken, said: Report | str) -> None:
        if taken.noticed:
            self._readings.tell(taken.noticed, subject=channel.subject, detail=str(said))
        if taken.samples or taken.unusable or taken.blocks:
            self._readings.publish(channel, taken, at_ns=self._published_at_ns)


def publishing_interval_ms(plc: Plc, channels: Sequence[Channel]) -> float:
    """How often the server publishes: twice for each message of the quickest channel, within bounds. A publication costs both sides
    far more than a sample in it."""
    quickest_ms = min((channel.sample_ms * channel.block_samples for channel in channels), default=0)
    return float(max(plc.publishing_interval_ms, min(quickest_ms / 2, LONGEST_PUBLISHING_MS)))


def queue_size(channel: Channel) -> int:
    """How many samples the server is asked to keep."""
    return min(LARGEST_QUEUE, max(2, ceil(QUEUE_MS / channel.sample_ms)))


def _monitored(item: int, channel: Channel) -> Monitored:
    return Monitored(item, channel.node or "", channel.sample_ms, queue_size(channel), channel.deadband)


def _advice(granted: Granted, channel: Channel) -> str:
    if channel.deadband and "Filter" in granted.refused:
        return f" (the PLC takes no `deadband` for this node: leave out `deadband: {channel.deadband:g}`)"
    return ""
