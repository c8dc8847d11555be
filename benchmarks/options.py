"""What a run of the benchmark was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Options:
    """`frames` per candidate and round; `say` tells a person how far it is."""

    frames: int
    rounds: int
    say: Callable[[str], None]
