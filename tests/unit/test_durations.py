"""Durations of records that finish together: Prometheus sees what single observations would have shown."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from schemas.durations import Durations

BOUNDS = (0.001, 0.01, 1.0)


@given(st.lists(st.tuples(st.sampled_from((0.0, 0.001, 0.0011, 1.0, 2.0)) | st.floats(0, 100), st.integers(0, 5))))
def test_many_at_once_are_the_same_as_one_after_the_other(observations: list[tuple[float, int]]) -> None:
    one_by_one, together = CollectorRegistry(), CollectorRegistry()
    expected = Histogram("d", "-", registry=one_by_one, buckets=BOUNDS)
    found = Durations("d", "-", registry=together, buckets=BOUNDS)
    for seconds, count in observations:
        found.observe_times(seconds, count)
        for _ in range(count):
            expected.observe(seconds)
    for bound in ("0.001", "0.01", "1.0", "+Inf"):
        label = {"le": bound}
        assert together.get_sample_value("d_bucket", label) == one_by_one.get_sample_value("d_bucket", label)
    assert math.isclose(_value(together, "d_sum"), _value(one_by_one, "d_sum"), abs_tol=1e-9)


def _value(registry: CollectorRegistry, name: str) -> float:
    return registry.get_sample_value(name) or 0.0
