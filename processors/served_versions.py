"""Which versions the server need not hold any more: it keeps every version that a model's configuration names in memory."""

from __future__ import annotations

from collections.abc import Collection

from processors.model_state import ModelState, Standing
from schemas.message import NS_PER_S

SERVED_CHAMPIONS = 5
"""So many champions, the present one included, can be gone back to at once; beyond them the way back is the recipe's pin."""
DRAINED_NS = 600 * NS_PER_S
"""Parts that a version has begun are through by then."""
_LEFT = (Standing.REJECTED, Standing.ROLLED_BACK, Standing.FORMER)


def unserved(state: ModelState, *, pinned: Collection[int], now_ns: int) -> frozenset[int]:
    """Versions that were let go of some time ago, and that neither a recipe pins nor a rollback soon leads to.

    What the registry does not know was copied there by somebody, and is left alone.
    """
    kept = {*pinned, *state.champions[-SERVED_CHAMPIONS:]}
    return frozenset(
        number
        for number, each in state.versions.items()
        if number not in kept and each.standing in _LEFT and now_ns - each.since_ns > DRAINED_NS
    )
