"""When the defect rate changed: the most likely single change in a row of binomial counts, and what else changed then.

Statistic: the largest log likelihood ratio over all splits (D. V. Hinkley, E. A. Hinkley, Biometrika 57, 1970; K. J. Worsley, Biometrika
70, 1983). Its p-value comes from permuting the parts over the points: given the sums, every order is as likely while nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy

PERMUTATIONS = 999
SEED = 20261124  # the same counts always give the same p-value
LIKELIHOOD_DROP = 1.92  # half the 95 % quantile of chi-square with one degree of freedom
COUNTS_AT_ONCE = 1_000_000  # 8 MB each in a handful of arrays
LARGEST_COUNT = 10**9 - 1  # numpy's hypergeometric draws take no more


class CountPoint(NamedTuple):
    """`bad` of `parts` decided parts in the window that begins at `start_at_ns`."""

    start_at_ns: int
    bad: int
    parts: int


class ChangePoint(NamedTuple):
    """The rate before and from `at_ns` on. The change lies between `earliest_ns` and `latest_ns`: all splits nearly as
    likely, and the window before the first of them, in which it may have begun.

    `p_value` in steps of 1/1000; `bad`, `parts` of each side are the evidence.
    """

    at_ns: int
    earliest_ns: int
    latest_ns: int
    bad_before: int
    parts_before: int
    bad_after: int
    parts_after: int
    log_likelihood_ratio: float
    p_value: float

    @property
    def rate_before(self) -> float:
        """Share of bad parts before the change."""
        return self.bad_before / self.parts_before

    @property
    def rate_after(self) -> float:
        """Share of bad parts from the change on."""
        return self.bad_after / self.parts_after


class Event(NamedTuple):
    """Something else that changed: `what` as `label: old -> new`, a tool, batch, shift, camera, recipe revision, model."""

    at_ns: int
    what: str


def change_point(points: Iterable[CountPoint]) -> ChangePoint | None:
    """The most likely change; None with fewer than two points that hold parts. Points are put in order of time first.

    It is always one: look at `p_value`. Raises ValueError for counts that cannot be, and for 1e9 parts or more in all.
    """
    ordered = [point for point in sorted(points) if point.parts > 0]
    if any(not 0 <= point.bad <= point.parts for point in ordered):
        raise ValueError("expected 0 <= bad <= parts in every point")
    if len(ordered) < 2:
        return None
    bad = np.array([point.bad for point in ordered], dtype=np.int64)
    parts = np.array([point.parts for point in ordered], dtype=np.int64)
    if parts.sum() > LARGEST_COUNT:
        raise ValueError(f"expected at most {LARGEST_COUNT} parts in all, got {parts.sum()}; take wider samples")
    ratios = _ratios(bad[None, :], parts)[0]
    split = int(np.argmax(ratios))
    near = np.flatnonzero(ratios >= ratios[split] - LIKELIHOOD_DROP)
    before = split + 1
    return ChangePoint(
        at_ns=ordered[before].start_at_ns,
        earliest_ns=ordered[int(near[0])].start_at_ns,
        latest_ns=ordered[int(near[-1]) + 1].start_at_ns,
        bad_before=int(bad[:before].sum()),
        parts_before=int(parts[:before].sum()),
        bad_after=int(bad[before:].sum()),
        parts_after=int(parts[before:].sum()),
        log_likelihood_ratio=float(ratios[split]),
        p_value=_p_value(bad, parts, float(ratios[split])),
    )


def changed_then(change: ChangePoint, events: Sequence[Event]) -> list[Event]:
    """What else changed while the rate may have, nearest to its most likely moment first. Evidence of time, not of cause."""
    within = [event for event in events if change.earliest_ns <= event.at_ns <= change.latest_ns]
    return sorted(within, key=lambda event: (abs(event.at_ns - change.at_ns), event))


def _p_value(bad: npt.NDArray[np.int64], parts: npt.NDArray[np.int64], ratio: float) -> float:
    """Rank of the ratio among those of permuted parts; some permutations at a time, so that many points need no more memory."""
    rng = np.random.default_rng(SEED)
    as_large, left, at_once = 0, PERMUTATIONS, max(1, COUNTS_AT_ONCE // len(parts))
    while left:
        rows = min(left, at_once)
        shuffled = rng.multivariate_hypergeometric(parts, int(bad.sum()), size=rows, method="marginals")
        as_large += int(np.sum(_ratios(shuffled, parts).max(axis=1) >= ratio - 1e-9))
        left -= rows
    return (as_large + 1) / (PERMUTATIONS + 1)


def _ratios(bad: npt.NDArray[np.int64], parts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Log likelihood ratio of a change after each point but the last: bad [rows, k], parts [k] -> [rows, k - 1]."""
    bad_before, parts_before = np.cumsum(bad, axis=1)[:, :-1], np.cumsum(parts)[:-1]
    all_bad, all_parts = bad.sum(axis=1, keepdims=True), parts.sum()
    return (
        _log_likelihood(bad_before, parts_before)
        + _log_likelihood(all_bad - bad_before, all_parts - parts_before)
        - _log_likelihood(all_bad, all_parts)
    )


def _log_likelihood(bad: npt.NDArray[np.int64], parts: npt.NDArray[np.int64] | np.int64) -> npt.NDArray[np.float64]:
    """Largest log likelihood of `bad` of `parts`, without the binomial coefficient."""
    found: npt.NDArray[np.float64] = xlogy(bad, bad / parts) + xlogy(parts - bad, 1 - bad / parts)
    return found
