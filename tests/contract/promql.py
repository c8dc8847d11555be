"""Which series a PromQL expression reads: names and label names, enough to hold them against what is emitted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
_COMMENT = re.compile(r"#[^\n]*")
_RANGE = re.compile(r"\[[^\]]*\]")
_LABEL_LIST = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)?\s*\{(?P<matchers>[^}]*)\}")
_MATCHER = re.compile(r'(?P<label>[a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)\s*"(?P<value>(?:[^"\\]|\\.)*)"')
_WORD = re.compile(r"(?<![\w:.$])(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?!\s*\(|[\w:])")
_KEYWORDS = {"and", "or", "unless", "offset", "bool", "by", "without", "on", "ignoring", "group_left", "group_right"}


@dataclass(frozen=True)
class Selector:
    """One vector selector: `name` is the metric's name or, where `is_pattern`, a pattern over names."""

    name: str
    is_pattern: bool
    labels: frozenset[str]

    def matches(self, names: set[str]) -> set[str]:
        """Those of `names` that it selects."""
        return {name for name in names if re.fullmatch(self.name, name)} if self.is_pattern else names & {self.name}


def selectors(expression: str) -> Iterator[Selector]:
    """All vector selectors of an expression; Grafana's variables may stand in it."""
    text = _RANGE.sub("", _LABEL_LIST.sub("", _COMMENT.sub("", expression)))
    for found in _SELECTOR.finditer(text):
        matchers = {m["label"]: m["value"] for m in _MATCHER.finditer(found["matchers"])}
        pattern = matchers.pop("__name__", None)
        yield Selector(pattern or found["name"], pattern is not None, frozenset(matchers))
    for found in _WORD.finditer(_STRING.sub("", _SELECTOR.sub("", text))):
        if found["name"] not in _KEYWORDS and not re.fullmatch(r"\d+[smhdwy]", found["name"]):
            yield Selector(found["name"], False, frozenset())


def grouping_labels(expression: str) -> set[str]:
    """Label names in `by (...)`, `on (...)` and the like."""
    lists = [found[2] for found in _LABEL_LIST.finditer(expression)]
    return {label.strip() for text in lists for label in text.split(",") if label.strip()}


def label_values_of(expression: str, label: str) -> set[str]:
    """Alternatives that matchers of `label` name, those of patterns such as `a|b` taken apart."""
    found = [m["value"] for m in _MATCHER.finditer(expression) if m["label"] == label]
    return {alternative for value in found for alternative in value.split("|")}
