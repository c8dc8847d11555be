"""The sensor gateway: reads the channels of machines from their PLC at their sampling time and publishes the readings.

A sample that is no finite number is counted and left out, and ends its block (`sample_blocks.py`). A reading that could not be
published has used up its sequence, so a gap in the sequences is a loss, and nothing else is.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gateways.lifetime import show_ready, together, until_stopped
from gateways.manifests import new_session
from gateways.opcua_session import OpcUaSession, Reading
from gateways.outbox import Fate
from gateways.plc_link import PlcLink
from gateways.publisher import RecordPublisher
from gateways.sample_blocks import LARGEST, Block, SampleBlocks
from gateways.spool import open_spool
from schemas.plant import Asset, Channel, Plant
from schemas.reasons import DropReason
from schemas.sensors import SensorReading
from schemas.settings import KafkaSettings
from schemas.telemetry import DroppedByRule, Noticed, Stage
from schemas.topics import MIB_BYTES, SENSORS

WAITING_READINGS_BYTES = 16 * MIB_BYTES
"""Readings kept in memory, about 40,000; more go to the spool, and without one the oldest are given up."""
FINISH_S = 3.0


async def run(plant: Plant, *, plant_dir: Path, stage: Stage, stop: asyncio.Event) -> None:
    """Runs the sensor gateway of all assets of `plant` that are read through a PLC, until `stop`. Raises `Fatal`."""
    publisher = RecordPublisher(
        plant=plant.plant,
        stage=stage,
        kafka=KafkaSettings(),
        budget_bytes=WAITING_READINGS_BYTES,
        spool=open_spool(plant=plant.plant, stage=stage),
    )
    async with publisher:
        sampler = Sampler(publisher=publisher, stage=stage)
        links = {
            plc.name: PlcLink(plc=plc, plant_dir=plant_dir, stage=stage)
            for plc in plant.plcs
            if any(asset.plc == plc.name for asset in plant.assets)
        }
        assets = {name: [asset for asset in plant.assets if asset.plc == name] for name in links}
        await until_stopped(
            stop,
            publisher.failed(),
            show_ready(stage, lambda: publisher.connected and all(link.up for link in links.values())),
            *(link.run(partial(sampler.sample_all, assets[name])) for name, link in links.items()),
        )
        await publisher.drained(within_s=FINISH_S)


@dataclass(slots=True, kw_only=True)
class _Sampled:
    """A channel with the next sequence of its readings."""

    asset: str
    channel: Channel
    blocks: SampleBlocks
    next_sequence: int = 0


class Sampler:
    """Samples channels and publishes their readings. One session (a new start of sequences) per Sampler."""

    def __init__(self, *, publisher: RecordPublisher, stage: Stage) -> None:
        self._publisher = publisher
        self._stage = stage
        self._session = new_session()
        self._sampled: dict[tuple[str, str], _Sampled] = {}

    async def sample_all(self, assets: Sequence[Asset], session: OpcUaSession) -> None:
        """Samples the channels of `assets` while the session to their PLC lasts."""
        by_period: dict[int, list[_Sampled]] = {}
        for asset in assets:
            for channel in asset.channels:
                if channel.node is not None:
                    blocks = SampleBlocks(length=channel.block_samples, period_ms=channel.sample_ms)
                    sampled = self._sampled.setdefault(
                        (asset.name, channel.name), _Sampled(asset=asset.name, channel=channel, blocks=blocks)
                    )
                    by_period.setdefault(channel.sample_ms, []).append(sampled)
        await together(*(self._sample(period, channels, session) for period, channels in by_period.items()))

    async def _sample(self, sample_ms: int, channels: Sequence[_Sampled], session: OpcUaSession) -> None:
        """One read for all channels of one period; a read that comes late shifts the next ones, and never bunches them."""
        due_s = time.monotonic()
        nodes = [sampled.channel.node or "" for sampled in channels]
        try:
            while True:
                measured_at_ns = time.time_ns()
                for sampled, reading in zip(channels, await session.read_each(nodes), strict=True):
                    self._take(sampled, reading, measured_at_ns)
                due_s = max(due_s + sample_ms / 1000, time.monotonic())
                await asyncio.sleep(due_s - time.monotonic())
        finally:
            for sampled in channels:
                self._submit(sampled, sampled.blocks.cut())

    def _take(self, sampled: _Sampled, reading: Reading, measured_at_ns: int) -> None:
        channel, subject = sampled.channel, f"{sampled.asset}/{sampled.channel.name}"
        self._stage.taken("samples", at_ms=measured_at_ns // 1_000_000)
        unusable = why_unusable(reading)
        if unusable is None and channel.block_samples > 1 and abs(reading.value) > LARGEST:
            unusable = "too_large"
        if unusable is not None:
            self._stage.emit(Noticed(what=unusable, subject=subject, detail=f"{reading.value!r}, {reading.status}"))
            self._stage.finished(seconds=0.0)
            self._submit(sampled, sampled.blocks.cut())
            return
        self._submit(sampled, sampled.blocks.take(float(reading.value), at_ns=measured_at_ns))

    def _submit(self, sampled: _Sampled, blocks: Sequence[Block]) -> None:
        channel, subject = sampled.channel, f"{sampled.asset}/{sampled.channel.name}"
        for block in blocks:
            sequence, sampled.next_sequence = sampled.next_sequence, sampled.next_sequence + 1
            alone = channel.block_samples == 1
            message = SensorReading(
                id=f"{subject}/{self._session}/{sequence}",
                asset=sampled.asset,
                channel=channel.name,
                session=self._session,
                sequence=sequence,
                measured_at_ns=block.first_at_ns,
                unit=channel.unit,
                value=block.values[0] if alone else None,
                waveform=None if alone else block.as_waveform(),
                sample_rate_hz=None if alone else 1000 / channel.sample_ms,
            )
            tell = partial(self._settle, subject, time.monotonic(), len(block.values))
            self._publisher.submit(SENSORS, sampled.asset, message, tell=tell, droppable=True)

    def _settle(self, subject: str, began_s: float, samples: int, fate: Fate) -> None:
        if fate is Fate.DROPPED:
            self._stage.emit(DroppedByRule(reason=DropReason.BROKER_AWAY, subject=subject))
        for _ in range(samples):
            self._stage.finished(seconds=time.monotonic() - began_s)


def why_unusable(reading: Reading) -> str | None:
    """Why a reading is no sample: `bad_quality`, `not_a_number` or `wrong_type`; None where it is one."""
    if not reading.good:
        return "bad_quality"
    if reading.value is None or isinstance(reading.value, bool) or not isinstance(reading.value, int | float):
        return "wrong_type"
    if not math.isfinite(reading.value):
        return "not_a_number"
    return None
