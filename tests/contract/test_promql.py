"""The reader of expressions that the checks of rules and dashboards rest on."""

from __future__ import annotations

import pytest
from promql import Selector, grouping_labels, label_values_of, selectors


def plain(name: str, *labels: str) -> Selector:
    return Selector(name, False, frozenset(labels))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("up == 0", {plain("up")}),
        ('rate(a_total{x="1", y=~"b|c"}[5m])', {plain("a_total", "x", "y")}),
        ("sum by (le, stage) (rate(d_bucket[$__rate_interval]))", {plain("d_bucket")}),
        ("a and on (plant, stage) time() - b > 60", {plain("a"), plain("b")}),
        ("x offset 5m or y", {plain("x"), plain("y")}),
        ('stage:linesight_lag_seconds:max{plant="$plant"} > 2e3', {plain("stage:linesight_lag_seconds:max", "plant")}),
        ('{__name__=~"a_(b|c)"}', {Selector("a_(b|c)", True, frozenset())}),
        ("histogram_quantile(0.99, q) # of d\n", {plain("q")}),
        ('label_replace(a, "to", "$1", "from", "(.*)")', {plain("a")}),
    ],
)
def test_selectors_are_found(expression: str, expected: set[Selector]) -> None:
    assert set(selectors(expression)) == expected


def test_labels_are_found() -> None:
    expression = 'sum by (plant, stage) (x{reason=~"a|b"}) / on (plant) y{reason="c"}'
    assert grouping_labels(expression) == {"plant", "stage"}
    assert label_values_of(expression, "reason") == {"a", "b", "c"}
