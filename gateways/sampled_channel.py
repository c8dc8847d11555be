"""One channel of a machine, from what its PLC reports to the readings that are published."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gateways.opcua_notifications import Report
from gateways.opcua_session import Reading
from gateways.opcua_subscriptions import Granted
from gateways.sample_blocks import LARGEST, Block, SampleBlocks
from gateways.sample_series import Sample, SampleSeries
from schemas.plant import Channel

NOT_YET = Granted(refused="", sampling_ms=0.0, queue=0)
"""Before the PLC has answered."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a report or a look came to: the samples that it made, values that are none, the blocks that it finished, and what is to be
    told of it."""

    samples: int = 0
    unusable: int = 0
    blocks: Sequence[Block] = ()
    noticed: str = ""


@dataclass(slots=True, kw_only=True)
class SampledChannel:
    """A channel while one session to its PLC lasts."""

    asset: str
    channel: Channel
    series: SampleSeries
    blocks: SampleBlocks = field(init=False)
    granted: Granted = NOT_YET
    reported: bool = False
    doubted: bool = False

    def __post_init__(self) -> None:
        self.blocks = SampleBlocks(length=self.channel.block_samples, period_ms=self.channel.sample_ms)

    @property
    def subject(self) -> str:
        """As events name it."""
        return f"{self.asset}/{self.channel.name}"

    def take(self, report: Report, published_at_ns: int) -> Taken:
        """What the PLC reported in its publication at `published_at_ns`."""
        self.reported, self.doubted = True, False
        unusable = why_unusable(report.value, good=report.good, in_blocks=self.channel.block_samples > 1)
        if unusable:
            return self._unusable(unusable)
        lost = report.overflowed
        samples = self.series.report(
            float(report.value), at_ns=report.at_ns, published_at_ns=published_at_ns, after_loss=lost
        )
        return self._taken(samples, noticed="samples_lost" if lost else "")

    def quiet(self, published_at_ns: int) -> Taken:
        """The PLC has nothing more to report up to `published_at_ns`."""
        samples = self.series.quiet(published_at_ns)
        return self._taken(samples) if samples else _NOTHING

    def looked(self, reading: Reading, published_at_ns: int) -> Taken:
        """What stands in the node, read because the PLC had not reported it for a while.

        A change that is read may be on its way as a report. One that is still there at the next look, without a report, is taken and
        told: `change_not_reported`.
        """
        unusable = why_unusable(reading.value, good=reading.good, in_blocks=self.channel.block_samples > 1)
        if unusable:
            return self._unusable(unusable)
        value, stands = float(reading.value), self.series.value
        if stands is not None and abs(value - stands) <= self.channel.deadband:
            self.doubted = False
            return _NOTHING
        if not self.doubted:
            self.doubted = True
            return _NOTHING
        self.doubted = False
        samples = self.series.report(value, at_ns=0, published_at_ns=published_at_ns, after_loss=True)
        return self._taken(samples, noticed="change_not_reported")

    def _unusable(self, why: str) -> Taken:
        self.series.lose()
        return Taken(unusable=1, blocks=self.blocks.cut(), noticed=why)

    def _taken(self, samples: Sequence[Sample], *, noticed: str = "") -> Taken:
        blocks = [block for sample in samples for block in self.blocks.take(sample.value, at_ns=sample.at_ns)]
        return Taken(samples=len(samples), blocks=blocks, noticed=noticed)


_NOTHING = Taken()


def why_unusable(value: Any, *, good: bool, in_blocks: bool) -> str:
    """Why a value is no sample: `bad_quality`, `wrong_type`, `not_a_number` or `too_large`; empty where it is one."""
    if not good:
        return "bad_quality"
    if value is None or isinstance(value, bool) or not isinstance(value, int | float):
        return "wrong_type"
    if not math.isfinite(value):
        return "not_a_number"
    if in_blocks and abs(value) > LARGEST:
        return "too_large"
    return ""
