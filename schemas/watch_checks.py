"""What is wrong with how an asset is watched, and with the specification of what is measured."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.plant import Asset
from schemas.plant_yaml import Finding, Place
from schemas.specification import Specification

FEWEST_ROWS = 100
"""With fewer there is no telling what is normal."""


def watch_findings(asset: Asset, where: Place) -> Iterator[Finding]:
    """Of one asset, whose place in the plant file is `where`."""
    for index, channel in enumerate(asset.channels):
        if channel.specification is not None:
            yield from specification_findings(channel.specification, (*where, "channels", index, "specification"))
    watch = asset.watch
    if watch is None:
        return
    slowest = max((channel.sample_ms * channel.block_samples for channel in asset.channels), default=0)
    if watch.every_ms < slowest:
        expected = f"{slowest} or more, so that every row has a reading of each channel; not {watch.every_ms}"
        yield (*where, "watch", "every_ms"), expected, None
    if watch.learn_rows < FEWEST_ROWS:
        yield (*where, "watch", "learn_rows"), f"{FEWEST_ROWS} rows or more, not {watch.learn_rows}", None


def specification_findings(wanted: Specification, place: Place) -> Iterator[Finding]:
    """Of one specification, which stands at `place`."""
    if wanted.low is None and wanted.high is None:
        yield place, "`low`, `high` or both", None
    if wanted.low is not None and wanted.high is not None and wanted.low >= wanted.high:
        yield (*place, "low"), f"a value below `high` ({wanted.high})", None
