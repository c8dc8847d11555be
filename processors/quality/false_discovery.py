"""Which of many p-values to believe: Y. Benjamini, Y. Hochberg, Journal of the Royal Statistical Society B 57, 1995."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def adjusted_p_values(p_values: Sequence[float]) -> list[float]:
    """Benjamini-Hochberg adjusted p-values, in the given order: of those <= q, at most the share q is expected to be false."""
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    raised = np.asarray(p_values, dtype=np.float64)[order] * count / np.arange(1, count + 1)
    falling = np.minimum.accumulate(raised[::-1])[::-1]
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(falling, 1.0)
    return [float(value) for value in adjusted]
