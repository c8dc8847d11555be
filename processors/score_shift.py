"""Whether a figure of good parts has moved (anomaly score, brightness, sharpness), by rank within each recipe's view, so that the mix
of recipes does not matter.

Every (recipe, view) has its own baseline: its first `n` scores under the models in use. A later score becomes its rank among
them, 0 to 1. Ranks of all recipes and views share one distribution while nothing has moved - uniform, whatever the scores look
like - so the newest of them, from whatever recipes, are held against the baselines' own ranks by the two-sample
Kolmogorov-Smirnov test (Massey, JASA 46, 1951). With a single recipe and view this is the plain test on the scores.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from schemas.alerts import DriftEvidence
from schemas.plant import RetrainingSettings

STATISTIC = "ks_distance"
EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A figure of one view of a good part, in the figure's own unit. `inspection` is the inspection's id; `at_ns` when it became known."""

    recipe: str
    view: str
    inspection: str
    value: float
    at_ns: int


@dataclass(frozen=True, slots=True)
class _Ranked:
    score: Score
    rank: float


class ScoreShift:
    """One figure of one station under one set of models. Memory: a baseline per recipe and view, and one window."""

    def __init__(self, *, settings: RetrainingSettings, statistic: str = STATISTIC) -> None:
        """`statistic` is what the evidence calls it."""
        self._settings = settings
        self._statistic = statistic
        self._baselines: dict[tuple[str, str], list[float]] = {}
        self._window: deque[_Ranked] = deque(maxlen=settings.window_views)

    @property
    def recipe(self) -> str:
        """The recipe that the newest scores are of; empty where they are of several."""
        recipes = {ranked.score.recipe for ranked in self._window}
        return recipes.pop() if len(recipes) == 1 else ""

    def add(self, score: Score) -> None:
        """Takes a score: into its baseline until that is complete, then into the window."""
        baseline = self._baselines.setdefault((score.recipe, score.view), [])
        if len(baseline) < self._settings.baseline_views:
            insort(baseline, score.value)
        else:
            self._window.append(_Ranked(score, _rank(score, baseline)))

    def evidence(self, *, since_ns: int) -> DriftEvidence | None:
        """What shows that the scores have moved; None where they have not, or fewer than a window came after `since_ns`."""
        settings, window = self._settings, self._window
        if len(window) < settings.window_views or window[0].score.at_ns <= since_ns:
            return None
        grid = (np.arange(settings.baseline_views) + 0.5) / settings.baseline_views
        ranks = np.array([ranked.rank for ranked in window])
        if _distance(grid, ranks) < settings.minimum_distance:
            return None  # after nearly every part: the whole test takes thirty times as long
        kinds = {(ranked.score.recipe, ranked.score.view) for ranked in window}
        test = ks_2samp(np.tile(grid, len(kinds)), ranks, method="asymp")
        if test.pvalue > settings.p_value:
            return None
        side = 1 if ranks.mean() >= 0.5 else -1
        furthest = sorted(window, key=lambda ranked: (-side * ranked.rank, -ranked.score.at_ns))
        return DriftEvidence(
            statistic=self._statistic,
            baseline=0.0,
            observed=float(test.statistic),
            threshold=settings.minimum_distance,
            sample_size=len(window),
            p_value=float(test.pvalue),
            examples=tuple(ranked.score.inspection for ranked in furthest[:EXAMPLES]),
        )


def _distance(grid: NDArray[np.float64], ranks: NDArray[np.float64]) -> float:
    """Kolmogorov-Smirnov distance of ranks, [n], from a baseline's own, [m] and ascending. Repeating those changes nothing."""
    places = np.concatenate((grid, ranks))
    expected = np.searchsorted(grid, places, side="right") / len(grid)
    return float(np.abs(np.searchsorted(np.sort(ranks), places, side="right") / len(ranks) - expected).max())


def _rank(score: Score, baseline: list[float]) -> float:
    """Share of the baseline below `score`. Equal values count as below in part, by a hash of the inspection's id.

    Scores are quantised; with ties broken evenly their ranks are uniform nevertheless, and a replay breaks them alike.
    """
    below, up_to = bisect_left(baseline, score.value), bisect_right(baseline, score.value)
    lot = int.from_bytes(blake2b(score.inspection.encode(), digest_size=8).digest(), "big") / 2**64
    return (below + int(lot * (up_to - below + 1))) / len(baseline)
