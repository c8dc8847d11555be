"""An asset's channels together: a baseline of normal operation, EWMA of every channel, T2 with residual.

A channel whose own baseline wanders has no level to be held against: it is left out where more than half of its variance lies between the
means of ten stretches of the baseline (temperatures that still rise). The EWMA's spread is taken from the baseline's own EWMA, so
that values that follow each other do not count as independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from processors.spc.multivariate import Distances, MultivariateModel, Rows

WEIGHT = 0.2
STRETCHES = 10
WANDERING_RATIO = 0.5
FEWEST_ROWS = 100
CLEAR_AFTER_ROWS = 30


class Judged(NamedTuple):
    """A row against the baseline: its distances, and how many rows in a row up to it were within the limits."""

    distances: Distances
    rows_inside: int

    @property
    def is_normal(self) -> bool:
        """Whether the asset has been within its limits long enough for an alert to be over."""
        return self.rows_inside >= CLEAR_AFTER_ROWS


class Driver(NamedTuple):
    """The channel that is furthest from its normal operation, with its share of the distance (may exceed 1)."""

    channel: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalOperation:
    """Normal operation of an asset. `watched` are the numbers of the channels that have a level; `mean`, `deviation`: theirs [watched]."""

    channels: tuple[str, ...]
    watched: tuple[int, ...]
    mean: Rows
    deviation: Rows
    model: MultivariateModel

    @property
    def left_out(self) -> tuple[str, ...]:
        """Channels that wandered, or never changed, in the baseline."""
        return tuple(name for number, name in enumerate(self.channels) if number not in self.watched)


def learn(channels: Sequence[str], rows: Rows) -> NormalOperation:
    """From rows of normal operation in order of time, float64 [m, channels], m >= 100.

    Raises ValueError for fewer rows, what is no number, or where no channel has a level.
    """
    if rows.shape != (len(rows), len(channels)) or len(rows) < FEWEST_ROWS or not np.isfinite(rows).all():
        raise ValueError(f"expected at least {FEWEST_ROWS} finite rows of {len(channels)} channels, got {rows.shape}")
    watched = tuple(int(number) for number in np.flatnonzero(_wandering_ratios(rows) <= WANDERING_RATIO))
    if not watched:
        raise ValueError(
            "expected a channel that keeps a level in normal operation; all of them wander or never change"
        )
    chosen = rows[:, watched]
    mean, deviation = chosen.mean(axis=0), chosen.std(axis=0, ddof=1)
    smooth = np.zeros(len(watched))
    smoothed = np.empty_like(chosen)
    for number, row in enumerate((chosen - mean) / deviation):
        smooth = smooth + WEIGHT * (row - smooth)
        smoothed[number] = smooth
    warm = round(3 / WEIGHT)  # rows that the EWMA takes to forget where it began
    return NormalOperation(
        channels=tuple(channels),
        watched=watched,
        mean=mean,
        deviation=deviation,
        # The mean of an EWMA wanders as that of weight / (2 - weight) times as many independent rows.
        model=MultivariateModel.fit(smoothed[warm:], independent_rows=(len(rows) - warm) * WEIGHT / (2 - WEIGHT)),
    )


@dataclass(slots=True)
class AssetWatch:
    """Holds an asset's rows against its baseline. Whether an alert is open it does not know: it says of every row how it is.

    The state is that of the last 45 rows: whoever starts in the middle feeds those first.
    """

    baseline: NormalOperation
    _smooth: Rows = field(init=False)
    _rows_inside: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._smooth = np.zeros(len(self.baseline.watched))

    def take(self, row: Rows) -> Judged:
        """One row of all channels, float64 [channels], in order of time.

        Raises ValueError for what is no number; the state stays as it was.
        """
        chosen = row[list(self.baseline.watched)]
        if not np.isfinite(chosen).all():
            raise ValueError("expected a finite value of every channel that is watched")
        standard = (chosen - self.baseline.mean) / self.baseline.deviation
        self._smooth = self._smooth + WEIGHT * (standard - self._smooth)
        distances = self.baseline.model.distances(self._smooth)
        self._rows_inside = 0 if distances.outside else self._rows_inside + 1
        return Judged(distances, self._rows_inside)

    def driver(self, distances: Distances) -> Driver:
        """Which channel drove a row outside."""
        number = int(np.argmax(distances.contributions))
        share = float(distances.contributions[number] / distances.contributions.sum())
        return Driver(self.baseline.channels[self.baseline.watched[number]], share)


def _wandering_ratios(rows: Rows) -> Rows:
    """Share of each channel's variance that lies between the means of ten stretches; above any limit where it never changes."""
    length = len(rows) // STRETCHES
    stretches = rows[: length * STRETCHES].reshape(STRETCHES, length, -1)
    between = stretches.mean(axis=1).var(axis=0)
    total = rows[: length * STRETCHES].var(axis=0)
    return np.where(total > 0, between / np.where(total > 0, total, 1.0), np.inf)
