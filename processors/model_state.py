"""What the topic `models` says, as values: where each version and each training run of a model stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from schemas.records import Gate

PIN = 0
"""In place of a version: the one that the recipe pins."""


class Standing(StrEnum):
    """Where a version stands. Nothing goes back up this list but `former` to `champion`, by a rollback."""

    RELEASED = "released"
    SHADOW = "shadow"
    CANARY = "canary"
    CHAMPION = "champion"
    FORMER = "former"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"


ON_TRIAL = frozenset({Standing.SHADOW, Standing.CANARY})
NEVER_PROMOTED = frozenset({Standing.RELEASED, Standing.SHADOW, Standing.CANARY})


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionState:
    """One version. `since_ns` is when it came to stand there; `retired`: it judges no part any more and may be unloaded.

    `share_ratio` is the share of parts that it judges as a canary. `run` is the training run that made it, empty where a person
    brought it. `figures` and `gates` are those of the last step. `settings` (JSON) is how it takes pictures and how its answers are read,
    empty where its release did not say so.
    """

    version: int
    digest: str
    standing: Standing
    released_at_ns: int
    since_ns: int
    by: str
    detail: str = ""
    run: str = ""
    share_ratio: float = 0.0
    retired: bool = False
    figures: Mapping[str, float] = field(default_factory=dict)
    gates: tuple[Gate, ...] = ()
    settings: str = ""


class RunStep(StrEnum):
    """How far a training run is, in this order; `released` and `ended` are its two ends."""

    STARTED = "started"
    FROZEN = "frozen"
    TRAINING = "training"
    EVALUATED = "evaluated"
    RELEASED = "released"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """One training run. `dataset` is a digest, `progress_ratio` 0 to 1, `version` what it was released as (0: not)."""

    run: str
    trigger: str
    step: RunStep
    started_at_ns: int
    changed_at_ns: int
    dataset: str = ""
    frozen_at_ns: int = 0
    progress_ratio: float = 0.0
    figures: Mapping[str, float] = field(default_factory=dict)
    gates: tuple[Gate, ...] = ()
    version: int = 0
    detail: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.step not in (RunStep.RELEASED, RunStep.ENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """Everything about one model. `champions` are the versions that a rollback returns to, the one that judges parts last."""

    model: str
    versions: Mapping[int, VersionState] = field(default_factory=dict)
    champions: tuple[int, ...] = ()
    runs: Mapping[str, RunState] = field(default_factory=dict)

    @property
    def champion(self) -> int:
        """The version that judges parts; `PIN` where the recipes' pins do."""
        return self.champions[-1] if self.champions else PIN

    @property
    def highest(self) -> int:
        """The highest version that was ever released; 0 where none was."""
        return max(self.versions, default=0)

    @property
    def candidate(self) -> VersionState | None:
        """The version on trial: at most one, as shadow or canary."""
        return next((each for each in self.versions.values() if each.standing in ON_TRIAL), None)

    @property
    def open_run(self) -> RunState | None:
        """The training run that goes on: at most one."""
        return next((run for run in self.runs.values() if run.is_open), None)

    @property
    def loaded(self) -> tuple[int, ...]:
        """Versions that the server has to hold beside the pinned ones: champion, candidate, and what is not drained yet."""
        return tuple(
            number
            for number, each in sorted(self.versions.items())
            if not each.retired and each.standing is not Standing.RELEASED
        )
