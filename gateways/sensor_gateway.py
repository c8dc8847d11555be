"""The sensor gateway: has machines' PLCs sample their channels, and publishes the readings.

Each channel is a monitored item: the PLC samples it every `sample_ms`, keeps the samples until it publishes them, and reports what has
changed. `sample_series.py` makes regular samples of that, `sampled_channel.py` tells samples from what is none. A channel that is not
reported for `LOOK_AFTER_S` is read, so a value that stands still is known to be one.

A reading that could not be published has used up its sequence, so a gap in the sequences is a loss, and nothing else is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from gateways.lifetime import show_ready, until_stopped
from gateways.manifests import new_session
from gateways.opcua_session import OpcUaSession
from gateways.outbox import Fate
from gateways.plc_link import PlcLink
from gateways.plc_sampling import PlcSampling
from gateways.publisher import RecordPublisher
from gateways.sample_blocks import Block
from gateways.sampled_channel import SampledChannel, Taken
from gateways.spool import open_spool
from schemas.plant import Asset, Plant, Plc
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
        readings = Readings(publisher=publisher, stage=stage)
        assets = {plc: [asset for asset in plant.assets if asset.plc == plc.name] for plc in plant.plcs}
        links = {plc: PlcLink(plc=plc, plant_dir=plant_dir, stage=stage) for plc, found in assets.items() if found}
        await until_stopped(
            stop,
            publisher.failed(),
            show_ready(stage, lambda: publisher.connected and all(link.up for link in links.values())),
            *(link.run(partial(_sample, plc, assets[plc], readings)) for plc, link in links.items()),
        )
        await publisher.drained(within_s=FINISH_S)


async def _sample(plc: Plc, assets: Sequence[Asset], readings: Readings, session: OpcUaSession) -> None:
    """Samples the channels of `assets` while the session to their PLC lasts."""
    await PlcSampling(plc=plc, assets=assets, readings=readings, session=session).run()


class Readings:
    """Publishes what channels' reports came to. One session (a new start of sequences) per life of the gateway."""

    def __init__(self, *, publisher: RecordPublisher, stage: Stage) -> None:
        self._publisher = publisher
        self._stage = stage
        self._session = new_session()
        self._next_sequence: dict[str, int] = {}

    def tell(self, what: str, *, subject: str, detail: str) -> None:
        """Something noticed."""
        self._stage.emit(Noticed(what=what, subject=subject, detail=detail))

    def publish(self, channel: SampledChannel, taken: Taken, *, at_ns: int) -> None:
        """Samples, taken up to `at_ns`."""
        count = taken.samples + taken.unusable
        if count:
            self._stage.taken("samples", at_ms=at_ns // 1_000_000, count=count)
        if taken.unusable:
            self._stage.finished(seconds=0.0, count=taken.unusable)
        for block in taken.blocks:
            self._submit(channel, block)

    def _submit(self, sampled: SampledChannel, block: Block) -> None:
        channel, subject = sampled.channel, sampled.subject
        sequence = self._next_sequence.get(subject, 0)
        self._next_sequence[subject] = sequence + 1
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
        self._stage.finished(seconds=time.monotonic() - began_s, count=samples)
