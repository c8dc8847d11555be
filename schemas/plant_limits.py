"""Limits of single values in a plant file: which numbers make sense, which names can be used in topics, keys and ids."""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

from schemas.challenges import ChallengePart
from schemas.chart_settings import Chart
from schemas.plant import Camera, Channel, Line, PartLabel, Plant, Station
from schemas.plant_yaml import Finding, Place
from schemas.receivers import Receiver
from schemas.recipes import GoldenInspection, Recipe, TrainedInspection, View
from schemas.section import Section
from schemas.statistics_settings import Shift
from schemas.topics import FRAME_LIMIT_BYTES

SHARES = ("minimum_score", "minimum_distance", "p_value", "confidence")
"""Numbers from 0 to 1, beside everything that ends in `_ratio`."""

POSITIVE = (
    "acknowledge_timeout_ms",
    "after_ms",
    "baseline_parts",
    "baseline_views",
    "block_samples",
    "budget_min",
    "canary_parts",
    "clear_after_points",
    "confirm_within_ms",
    "deadline_ms",
    "escalate_after_ms",
    "every_ms",
    "expose_within_ms",
    "exposure_time_us",
    "frames_per_part",
    "gate_after_ms",
    "heartbeat_ms",
    "ideal_cycle_ms",
    "idle_timeout_ms",
    "length_ms",
    "longest_repeat_ms",
    "max_change_per_s",
    "max_height_px",
    "max_image_bytes",
    "max_tries",
    "max_width_px",
    "minimum_parts",
    "minimum_reviews",
    "mix_batch_parts",
    "mix_batches",
    "most_per_30_days",
    "opportunities_per_part",
    "per_shift",
    "probation_parts",
    "publishing_interval_ms",
    "repeat_after_ms",
    "retention_days",
    "revision",
    "runs_per_day",
    "sample_ms",
    "shadow_frames",
    "subgroup",
    "width_sigma",
    "interval_sigma",
    "points",
    "stall_after_ms",
    "timeout_ms",
    "trial_limit_ms",
    "version",
    "window_ms",
    "window_views",
)
"""Numbers that must be above 0; all others but sensor limits may be 0, and none may be negative."""

LEAST_MS = {
    "acknowledge_timeout_ms": 10,
    "after_ms": 100,
    "confirm_within_ms": 100,
    "deadline_ms": 10,
    "escalate_after_ms": 1000,
    "expose_within_ms": 10,
    "gate_after_ms": 20,
    "heartbeat_ms": 10,
    "idle_timeout_ms": 100,
    "longest_repeat_ms": 1000,
    "repeat_after_ms": 1000,
    "timeout_ms": 10,
    "trial_limit_ms": 60_000,
}
"""Below these nobody works, and a number there was meant in seconds."""

MOST = {
    "budget_min": 10_000,
    "canary_parts": 20_000,
    "probation_parts": 20_000,
    "shadow_frames": 20_000,
    "shadow_bad_frames": 20_000,
    "learn_rows": 100_000,
    "max_per_hour": 3600,
    "mix_batches": 100,
    "opportunities_per_part": 1_000_000,
    "max_tries": 100,
    "per_shift": 48,
    "retention_days": 36_500,
    "subgroup": 100,
}

ANY_SIGN = ("low", "high", "centre", "lower", "upper")
NAMED = (Line, Station, Camera, View, Channel, Recipe, Shift, PartLabel, Receiver, ChallengePart, Chart)
MAX_NAME = 100
HEADER_BYTES = 64 * 1024
"""Room for the fields of a frame beside its image."""


def limit_findings(section: Section, place: Place = ()) -> Iterator[Finding]:
    """Numbers and names that cannot work, in `section` and everything in it."""
    if isinstance(section, Plant):
        yield from _plant(section)
    if isinstance(section, NAMED) and not _usable(section.name):
        yield (*place, "name"), _NAME, None
    for field in msgspec.structs.fields(section):
        value, where = getattr(section, field.name), (*place, field.encode_name)
        if isinstance(value, GoldenInspection | TrainedInspection):
            continue  # its numbers have ranges of their own, in inspection_checks
        if isinstance(value, Section):
            yield from limit_findings(value, where)
        elif isinstance(value, tuple):
            for index, item in enumerate(value):
                if isinstance(item, Section):
                    yield from limit_findings(item, (*where, index))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            expected = _number(field.name, value)
            if expected:
                yield where, expected, None


_NAME = f"a name of letters, digits, '-', '_' and '.', at most {MAX_NAME} characters (it stands in keys and ids)"


def _plant(plant: Plant) -> Iterator[Finding]:
    if not _usable(plant.plant) or not plant.plant.isascii():
        yield ("plant",), "a name of ASCII letters, digits, '-', '_' and '.' (it prefixes every topic)", None
    largest = FRAME_LIMIT_BYTES - HEADER_BYTES
    if not 1 <= plant.kafka.inline_limit_bytes <= largest:
        yield ("kafka", "inline_limit_bytes"), f"from 1 to {largest} (larger records are not taken by the topic)", None


def _number(name: str, value: float) -> str | None:
    if not math.isfinite(value):
        return "a finite number"
    if (name.endswith("_ratio") or name in SHARES) and not 0 <= value <= 1:
        percent = f"; {value:g} % is {value / 100:g}" if 1 < value <= 100 else ""
        return f"a number from 0 to 1, not {value}{percent}"
    if name in POSITIVE and value <= 0:
        return f"a number above 0, not {value}"
    if value < 0 and name not in ANY_SIGN:
        return f"a number of 0 or more, not {value}"
    return _implausible(name, value)


def _implausible(name: str, value: float) -> str | None:
    if value < LEAST_MS.get(name, -math.inf):
        return f"at least {LEAST_MS[name]} ms, not {value}; {value} s are {value * 1000} ms"
    if value > MOST.get(name, math.inf):
        return f"at most {MOST[name]}, not {value}"
    return None


def _usable(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME and all(c.isalnum() or c in "-_." for c in name)
