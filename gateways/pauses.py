"""How long to wait before the next attempt."""

from __future__ import annotations

import random

FIRST_S = 0.2
LONGEST_S = 2.0


def pause_s(attempt: int) -> float:
    """Seconds before attempt number `attempt` + 1 (from 1): doubling, bounded, with jitter, so that clients do not knock in step."""
    return random.uniform(0.5, 1.0) * min(LONGEST_S, FIRST_S * 2.0 ** min(attempt - 1, 10))
