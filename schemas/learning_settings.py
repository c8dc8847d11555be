"""The section `learning` of a plant file: what models may do without a person."""

from __future__ import annotations

from schemas.section import Section


class LearningSettings(Section, frozen=True, kw_only=True):
    """How requests for training are answered, and how a new version is proved on live parts. A plant file without this section leaves
    every step to people.

    A run trains for `budget_min` minutes; runs of one model begin at least `run_interval_ms` apart, `runs_per_day` at most.

    In shadow a version answers `shadow_frames` live frames, `shadow_bad_frames` of which the line calls NOT_OK. Of these it may pass
    `missed_ratio`, of the others reject `extra_ratio`; where people reviewed the part and agree with it, it does not count. As a canary it
    judges `canary_share_ratio` of the parts, until it has judged `canary_parts`. Once promoted it is on probation for
    `probation_parts`: the same evidence takes it back. A trial that has not come to an end after `trial_limit_ms` is given up.

    `most_errors`: so many frames may come to grief through the version. `slower_factor`: half of its frames may take so many times what
    the others take, and 5 ms more. `p_value`: below it, a difference to the other parts is no chance (exact tests, one-sided).
    """

    budget_min: float = 20.0
    run_interval_ms: int = 3_600_000
    runs_per_day: int = 4
    shadow_frames: int = 200
    shadow_bad_frames: int = 10
    missed_ratio: float = 0.2
    extra_ratio: float = 0.02
    canary_share_ratio: float = 0.1
    canary_parts: int = 100
    probation_parts: int = 200
    trial_limit_ms: int = 86_400_000
    most_errors: int = 0
    slower_factor: float = 1.5
    p_value: float = 0.001
