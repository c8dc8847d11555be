"""Which faults belong to which round: each one alone, in the order of the catalogue, and then random pairs from a seed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from benchmarks.chaos.faults import FAULTS
from benchmarks.chaos.scene import Fault


def faults_of(number: int, *, seed: int) -> list[Fault]:
    """The faults of round `number` (from 1); the same for the same seed, whichever rounds are run."""
    return next(itertools.islice(_all_rounds(seed), number - 1, None))


def _all_rounds(seed: int) -> Iterator[list[Fault]]:
    for fault in FAULTS:
        yield [fault]
    chance = random.Random(seed)
    while True:
        first, second = chance.sample(FAULTS, 2)
        if first.target != second.target:
            yield [first, second]
