"""A candidate that is worse in anything that counts is not released, and what was not measured passes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.model_gates import Figures, GateRules, gates

CHAMPION = Figures(
    good=80,
    bad=40,
    escapes_ratio=0.05,
    overkill_ratio=0.04,
    f1_by_class={"open": 0.9, "short": 0.8},
    cpu_ms_per_image=20.0,
    parity=1e-6,
)
RULES = GateRules()


def failed(candidate: Figures, champion: Figures | None = CHAMPION) -> list[str]:
    return [gate.name for gate in gates(candidate, champion, RULES) if not gate.passed]


def test_one_that_is_as_good_passes_every_gate() -> None:
    assert failed(CHAMPION) == []


@pytest.mark.parametrize(
    ("worse", "name"),
    [
        ({"escapes_ratio": 0.06}, "escapes_ratio"),
        ({"overkill_ratio": 0.07}, "overkill_ratio"),
        ({"f1_by_class": {"open": 0.99, "short": 0.7}}, "f1_ratio/short"),
        ({"f1_by_class": {"open": 0.99}}, "f1_ratio/short"),
        ({"cpu_ms_per_image": 31.0}, "cpu_ms_per_image"),
        ({"parity": 0.01}, "parity"),
        ({"bad": 4}, "bad_count"),
        ({"good": 0, "overkill_ratio": None}, "overkill_ratio"),
        ({"bad": 0, "escapes_ratio": None}, "escapes_ratio"),
    ],
    ids=str,
)
def test_one_that_is_worse_in_one_thing_is_stopped_by_the_gate_of_that_name(worse: dict[str, Any], name: str) -> None:
    assert name in failed(replace(CHAMPION, **worse))


def test_without_a_version_to_compare_with_the_limits_are_absolute() -> None:
    assert failed(CHAMPION, None) == []
    assert failed(replace(CHAMPION, escapes_ratio=0.2, f1_by_class={"open": 0.5}), None) == [
        "escapes_ratio",
        "f1_ratio/open",
    ]


RATIOS = st.floats(0, 1)


@given(one=RATIOS, other=RATIOS, overkill=RATIOS)
def test_more_escapes_never_pass_where_fewer_do_not(one: float, other: float, overkill: float) -> None:
    few, many = sorted((one, other))
    passes = [not failed(replace(CHAMPION, escapes_ratio=value, overkill_ratio=overkill)) for value in (few, many)]
    assert passes[0] or not passes[1]
