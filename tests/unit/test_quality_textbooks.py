"""Capability, yield, effectiveness and false discovery equal published examples. docs/statistics.md lists the sources."""

from __future__ import annotations

import math

import pytest

from processors.quality.capability import Specification, capability, indices, normality
from processors.quality.false_discovery import adjusted_p_values
from processors.quality.oee import StateChange, effectiveness, state_times
from processors.quality.yields import (
    USUAL_SHIFT,
    defects_per_million,
    rolled_throughput_ratio,
    sigma_level,
)
from schemas.plc_events import LineMode

MINUTE_NS = 60_000_000_000
# SAS/QC User's Guide, PROC CAPABILITY, "Computing Descriptive Statistics": fluid weights of 100 drink cans, ounces, in hundredths above 11.
CANS = (
    *(107, 102, 100, 101, 98, 96, 104, 105, 101, 97, 103, 103, 100, 104, 96, 102, 106, 100, 102, 91),
    *(105, 98, 91, 101, 106, 102, 105, 90, 107, 98, 102, 111, 100, 99, 95, 98, 105, 100, 110, 104),
    *(106, 104, 99, 106, 99, 107, 96, 97, 100, 97, 109, 99, 95, 99, 99, 96, 94, 103, 109, 103),
    *(99, 100, 105, 104, 105, 101, 97, 93, 100, 97, 113, 107, 100, 96, 99, 97, 105, 94, 99, 102),
    *(95, 99, 91, 106, 103, 106, 105, 104, 103, 98, 105, 105, 111, 96, 100, 96, 96, 100, 101, 98),
)


def test_capability_of_the_nist_handbook() -> None:
    # 6.1.6: USL = 20, LSL = 8, mean 16, standard deviation 2: Cp = 1.0, Cpk = min(0.6667, 1.3333).
    found = indices(16, 2, Specification(lower=8, upper=20), values=50, freedom=49, interval_confidence=0.95)
    assert found.spread is not None
    assert (found.spread.value, round(found.nearest.value, 4)) == (1.0, 0.6667)
    low = indices(16, 2, Specification(lower=8), values=50, freedom=49, interval_confidence=0.95)
    assert (low.spread, round(low.nearest.value, 4)) == (None, 1.3333)


def test_capability_of_the_drink_cans_with_the_printed_confidence_limits() -> None:
    weights = [11 + can / 100 for can in CANS]
    sample = capability([weights[:50], weights[50:]], Specification(lower=11.95, upper=12.05))
    assert (sample.values, round(sample.mean, 4)) == (100, 12.0093)
    assert sample.overall.spread is not None
    # Printed: Cp 0.354967 (0.305565, 0.404288); Cpk 0.288943 (0.212210, 0.365677): by the spread of all values.
    assert [round(value, 6) for value in sample.overall.spread] == [0.354967, 0.305565, 0.404288]
    assert [round(value, 6) for value in sample.overall.nearest] == [0.288943, 0.212210, 0.365677]
    assert sample.normality is not None
    assert sample.normality.shapiro_wilk is not None
    assert sample.normality.shapiro_wilk_p is not None
    # Printed: W = 0.987876, Pr < W 0.499.
    assert round(sample.normality.shapiro_wilk, 6) == 0.987876
    assert round(sample.normality.shapiro_wilk_p, 3) == 0.499
    assert sample.normality.anderson_darling_p > 0.05


def test_normality_is_refused_to_what_is_not_normal() -> None:
    skewed = normality([math.exp(number / 10) for number in range(100)])
    assert skewed.anderson_darling_p < 0.001
    assert skewed.shapiro_wilk_p is not None
    assert skewed.shapiro_wilk_p < 0.001
    extreme = normality([0.0] * 5000 + [float(number) for number in range(5000)])
    assert extreme.anderson_darling_p < 1e-20
    assert extreme.shapiro_wilk is None


def test_false_discovery_of_benjamini_and_hochberg() -> None:
    # 1995: fifteen p-values; four are rejected at 0.05, Bonferroni rejects three.
    p_values = (
        *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
        *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.000),
    )
    adjusted = adjusted_p_values(p_values)
    assert [value <= 0.05 for value in adjusted] == [True] * 4 + [False] * 11
    assert adjusted_p_values([]) == []


def test_throughput_of_harrys_three_steps() -> None:
    # iSixSigma: DPU 0.10, 0.05, 0.008: yields 0.9512 and 0.9920 of the last two, rolled throughput 0.853850 = exp(-0.158).
    ratios = [math.exp(-dpu) for dpu in (0.10, 0.05, 0.008)]
    assert rolled_throughput_ratio(ratios) == pytest.approx(0.853850, abs=1e-6)


def test_sigma_levels_with_and_without_the_shift() -> None:
    # "Six sigma" is 3.4 per million with the shift of 1.5; 60 errors on 400 orders of 6 critical items: 25,000 per million, 3.46 sigma.
    assert sigma_level(3.4, shift=USUAL_SHIFT) == pytest.approx(6.0, abs=0.005)
    found = defects_per_million(60, 400 * 6)
    assert found == 25_000
    assert round(sigma_level(25_000, shift=USUAL_SHIFT), 2) == 3.46
    assert round(sigma_level(25_000, shift=0), 2) == 1.96
    assert sigma_level(0, shift=0) == math.inf


def test_effectiveness_of_a_tpm_shift() -> None:
    # TPM: A Route to World-Class Performance, p. 127: 910 min planned, 127 min down, cycle 3 min, 203 cycles: 86.0 % and 77.7 %.
    changes = [
        StateChange(0, LineMode.RUNNING),
        StateChange(783 * MINUTE_NS, LineMode.STOPPED),
    ]
    times = state_times(changes, from_ns=0, to_ns=910 * MINUTE_NS)
    found = effectiveness(times, ideal_cycle_ns=3 * MINUTE_NS, parts=203, good_parts=203)
    assert found.availability_ratio == pytest.approx(0.860, abs=5e-4)
    assert found.performance_ratio == pytest.approx(203 / 261)  # printed 77.7, cut off: 0.7778
    assert found.quality_ratio == 1
    assert found.oee_ratio == pytest.approx(783 / 910 * 203 / 261)
