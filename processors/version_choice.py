"""Which version of a model judges a part: the pinned one, or for pins that say `follow` the one that the registry says.

    1. the canary, for its share of the parts
    2. the champion; where the server cannot serve it, the champion before it, and so on
    3. the pinned version: the floor, below which the line never goes

The share is chosen by hash of the part, so that all of its views and its next visit meet the same version, in every process; and who
is in at one share is in at every larger one. The hash takes the version in, or the same parts would try out every candidate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

import msgspec

from processors.model_state import ModelState, Standing
from schemas.recipes import GoldenInspection, ModelPin, ViewInspection

_TRIED = (Standing.CANARY, Standing.ROLLED_BACK, Standing.REJECTED)
"""The last two while a frame was on its way."""
_HASH_BYTES = 8
_HASHES = 2.0 ** (8 * _HASH_BYTES)

Inspecting = TypeVar("Inspecting", bound=ViewInspection)


def version_for(pin: ModelPin, state: ModelState, *, part: str, serves: Callable[[int], bool]) -> int:
    """The version that judges this part (`station/part_id`). `serves` says whether the server has a version loaded and proved."""
    if not pin.follow:
        return pin.version
    order = _order(pin, state, part)
    return next((each for each in order if each == pin.version or serves(each)), pin.version)


def in_canary(*, model: str, version: int, part: str, share_ratio: float) -> bool:
    """Whether the part is among the share that a canary judges."""
    digest = hashlib.sha256(f"{model}/{version}/{part}".encode()).digest()
    return int.from_bytes(digest[:_HASH_BYTES], "big") < share_ratio * _HASHES


def with_versions(inspection: Inspecting, version_of: Callable[[ModelPin], int]) -> Inspecting:
    """The inspection with the versions of its pins replaced; the same object where none changes."""
    names = ("compare", "classifier") if isinstance(inspection, GoldenInspection) else ("model",)
    changed = {}
    for name in names:
        pin: ModelPin = getattr(inspection, name)
        version = version_of(pin)
        if version != pin.version:
            changed[name] = msgspec.structs.replace(pin, version=version)
    return msgspec.structs.replace(inspection, **changed) if changed else inspection


def on_trial(pin: ModelPin, state: ModelState) -> bool:
    """Whether the version that judges a part (as in `with_versions`) is there to be tried, or was let go of meanwhile."""
    version = state.versions.get(pin.version)
    return pin.follow and version is not None and version.standing in _TRIED


def shadow_for(pin: ModelPin, state: ModelState) -> int | None:
    """The version whose answers are compared with those of what judges; None where there is none in shadow."""
    candidate = state.candidate
    if not pin.follow or candidate is None or candidate.standing is not Standing.SHADOW:
        return None
    return candidate.version if candidate.version > pin.version else None


def versions_needed(pin: ModelPin, state: ModelState) -> tuple[int, ...]:
    """Versions besides the pinned one that the server has to hold: champion, canary, and the champion to go back to."""
    if not pin.follow:
        return ()
    candidate = _canary(state)
    needed = [*state.champions[-2:], *((candidate,) if candidate else ())]
    return tuple(sorted(each for each in needed if each > pin.version))


def _order(pin: ModelPin, state: ModelState, part: str) -> list[int]:
    order = list(reversed(state.champions))
    canary = _canary(state)
    if canary is not None:
        share_ratio = state.versions[canary].share_ratio
        if in_canary(model=state.model, version=canary, part=part, share_ratio=share_ratio):
            order.insert(0, canary)
    return [each for each in order if each >= pin.version]


def _canary(state: ModelState) -> int | None:
    candidate = state.candidate
    return candidate.version if candidate is not None and candidate.standing is Standing.CANARY else None
