"""Run lengths of the charts on simulated points: many runs at once, each until its chart signals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from processors.spc.attribute_charts import AttributeLimits
from processors.spc.run_rules import Place, RunRule, RunRules

Values = npt.NDArray[np.float64]
Draw = Callable[[int], Values]
LONGEST = 200_000  # points; a run that is not over by then is counted as that long


def shewhart(draw: Draw, *, lower: float, upper: float, runs: int) -> float:
    """Average points until a value lies outside [lower, upper]."""
    return _average(runs, lambda _, values: (values < lower) | (values > upper), draw)


def ewma(draw: Draw, *, weight: float, width: float, runs: int) -> float:
    """Average points until the EWMA of standardised values passes its constant limits."""
    reach = width * math.sqrt(weight / (2 - weight))
    state = np.zeros(runs)

    def signals(active: npt.NDArray[np.intp], values: Values) -> npt.NDArray[np.bool_]:
        state[active] += weight * (values - state[active])
        return np.abs(state[active]) > reach

    return _average(runs, signals, draw)


def cusum(draw: Draw, *, reference: float, interval: float, runs: int) -> float:
    """Average points until one of the two sums of standardised values passes the interval."""
    upper, lower = np.zeros(runs), np.zeros(runs)

    def signals(active: npt.NDArray[np.intp], values: Values) -> npt.NDArray[np.bool_]:
        upper[active] = np.maximum(0, upper[active] + values - reference)
        lower[active] = np.maximum(0, lower[active] - values - reference)
        return np.maximum(upper[active], lower[active]) > interval

    return _average(runs, signals, draw)


def run_rules(rules: tuple[RunRule, ...], *, runs: int, seed: int) -> float:
    """Average points until one of the rules is met, by the class that watches live charts, on independent normal points."""
    rng = np.random.default_rng(seed)
    points = 0
    for _ in range(runs):
        watched = RunRules(rules)
        for score in iter(rng.standard_normal, None):
            points += 1
            if watched.add(Place.of_score(score)):
                break
    return points / runs


def counts(*, size: int, rate: float, seed: int) -> Draw:
    """Draws counts of bad parts of `size` parts that really have `rate`."""
    rng = np.random.default_rng(seed)
    return lambda number: rng.binomial(size, rate, number).astype(np.float64)


def scores(limits: AttributeLimits, *, size: int, rate: float, seed: int) -> Draw:
    """Draws standardised rates, (x / size - centre) / sigma."""
    draw = counts(size=size, rate=rate, seed=seed)
    return lambda number: (draw(number) / size - limits.rate) / limits.sigma(size)


def normal(*, shift: float, seed: int) -> Draw:
    """Draws normal values of standard deviation 1, `shift` off the target."""
    rng = np.random.default_rng(seed)
    return lambda number: rng.normal(shift, 1, number)


def _average(runs: int, signals: Callable[[npt.NDArray[np.intp], Values], npt.NDArray[np.bool_]], draw: Draw) -> float:
    active = np.arange(runs)
    points = 0
    for _ in range(LONGEST):
        points += len(active)
        active = active[~signals(active, draw(len(active)))]
        if not len(active):
            break
    return points / runs
