"""How much memory windows may take, and what happens beyond it: they are held for less long, and what is late for them is counted anew."""

from __future__ import annotations

from collections.abc import Collection

from processors.statistics_panes import Panes
from schemas.errors import ConfigurationError

MIB_BYTES = 1 << 20


def keep_within(held: Collection[Panes], *, limit_bytes: int) -> int:
    """Lets go of the oldest closed windows of the largest partitions until all of them together take no more; returns the bytes that were
    let go. No figure changes. Raises ConfigurationError where the windows that are open take more."""
    over_bytes = sum(each.held_bytes for each in held) - limit_bytes
    freed_bytes = 0
    for each in sorted(held, key=lambda each: -each.held_bytes):
        if freed_bytes < over_bytes:
            freed_bytes += each.let_go(over_bytes - freed_bytes)
    if freed_bytes < over_bytes:
        raise ConfigurationError(
            f"open windows hold {sum(each.parts_held for each in held)} parts and {sum(each.windows_held for each in held)} sums, "
            f"about {(limit_bytes + over_bytes - freed_bytes) // MIB_BYTES} MiB; expected at most {limit_bytes // MIB_BYTES} MiB. "
            "Choose shorter windows or labels with fewer levels (statistics, by), run more processes, or raise LINESIGHT_BUDGET_WINDOWS_MIB"
        )
    return freed_bytes


def require_within(held: Collection[Panes], *, limit_bytes: int) -> None:
    """Of a count of the past, in which nothing may be let go. Raises ConfigurationError where it takes more."""
    if sum(each.held_bytes for each in held) > limit_bytes:
        raise ConfigurationError(
            f"{sum(each.parts_held for each in held)} parts of the past take more than the {limit_bytes // MIB_BYTES} MiB that windows "
            "may; expected fewer. Choose a shorter period, or raise LINESIGHT_BUDGET_WINDOWS_MIB"
        )
