"""The arithmetic of the benchmark: rates, ratios, floors and ceilings."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.bench_models import FAINT, cnn_graph
from benchmarks.model_input import model_input
from benchmarks.results_file import Row, left_by, ratio, steady_rate


def test_the_rate_is_of_the_middle_of_a_run() -> None:
    slow_start = [0.0, 1.0, 2.0, 3.0, 4.0]
    steady = [5.0 + number / 100 for number in range(90)]
    dry_end = [10.0, 11.0, 12.0, 13.0, 14.0]
    assert steady_rate([*slow_start, *steady, *dry_end]) == pytest.approx(100.0)


def test_the_order_in_which_frames_are_seen_does_not_matter() -> None:
    times = [number / 50 for number in range(200)]
    assert steady_rate(times[::-1]) == pytest.approx(steady_rate(times)) == pytest.approx(50.0)


def test_a_ratio_is_of_the_middle_rounds() -> None:
    row = ratio("ours / theirs", [10.0, 200.0, 220.0], [100.0, 90.0, 1000.0], at_least=2.0)
    assert row.value == 2.0
    assert row.met is True


@pytest.mark.parametrize(
    ("value", "at_least", "at_most", "met"),
    [
        (1.0, 1.0, None, True),
        (0.999, 1.0, None, False),
        (4.0, None, 4.0, True),
        (4.1, None, 4.0, False),
        (4.1, None, None, None),
    ],
)
def test_a_figure_meets_its_floor_or_ceiling(
    value: float, at_least: float | None, at_most: float | None, met: bool | None
) -> None:
    row = Row(name="x", value=value, unit="ratio", at_least=at_least, at_most=at_most)
    assert row.met is met
    written = row.as_json()
    assert written["met"] is met
    assert ("at_most" in written) == (at_most is not None)


def test_the_cnn_takes_and_gives_what_the_comparison_does_and_finds_nothing() -> None:
    runtime = pytest.importorskip("onnxruntime")
    picture = np.random.default_rng(1).integers(0, 256, (64, 96), np.uint8)
    tensor = model_input(picture)
    session = runtime.InferenceSession(cnn_graph().SerializeToString(), providers=["CPUExecutionProvider"])
    [difference] = session.run(["difference"], {"image": tensor, "reference": tensor})
    assert difference.dtype == np.uint8
    assert difference.shape == tensor.shape == (1, 1, 32, 48)
    assert difference.max() <= FAINT


def test_work_beside_a_ceiling_takes_its_share_of_the_cores() -> None:
    assert left_by(0.0, ceiling_per_s=1000.0, cores=2) == 1.0
    assert left_by(2.0, ceiling_per_s=1000.0, cores=2) == pytest.approx(0.5)
    assert left_by(2.0, ceiling_per_s=1000.0, cores=4) > left_by(2.0, ceiling_per_s=1000.0, cores=2)
