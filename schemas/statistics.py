"""Figures over windows of event time: per station (`Pane`) and per line (`WindowStatistics`)."""

from __future__ import annotations

from schemas.message import Message, Value


class PaneCounts(Value, frozen=True, kw_only=True):
    """Sums that can be added. `first_pass_ok` counts parts that were OK on visit 1.

    `units` counts distinct parts on their first visit. `defects_by_class` counts defects, not parts. `measured` is not a sum: of each
    chart of measurements from pictures that has a point for this window, the values of the first `subgroup` parts that have one, in
    order of arrival (ties: by part and visit); a line has none.
    """

    parts: int = 0
    ok: int = 0
    not_ok: int = 0
    not_decidable: int = 0
    units: int = 0
    first_pass_ok: int = 0
    defects: int = 0
    opportunities: int = 0
    defects_by_class: dict[str, int] = {}
    measured: dict[str, tuple[float, ...]] = {}


class Pane(Message, frozen=True, kw_only=True):
    """The sums of one station over one window; `id` is `station/window_ms/start/revision`.

    The highest `revision` holds; revisions are not consecutive. Windows are `[start_at_ns, start_at_ns + window_ms)` by time of
    arrival of the part. `late_parts` counts verdicts that came when the window was complete: the number of corrections; `previous`
    are the sums before the last of them (None: the window stands as it closed).

    `kind` is `tumbling`, `sliding` or `shift` (then `shift` is its name). `by` and `level` say which parts are counted: of `by`
    `tool` those whose label `tool` is `level`; empty: all. The `id` of what is not tumbling, or not of all parts, names these too.
    """

    line: str
    station: str
    window_ms: int
    start_at_ns: int
    revision: int
    counts: PaneCounts
    closed: bool
    late_parts: int = 0
    kind: str = "tumbling"
    shift: str = ""
    by: str = ""
    level: str = ""
    previous: PaneCounts | None = None


class ControlPoint(Value, frozen=True, kw_only=True):
    """One point of a p-chart: `value` = not OK / decided parts, exact binomial limits at `confidence`.

    `centre` is the baseline proportion. `outside` when the value lies beyond a limit.
    """

    value: float
    centre: float
    lower: float
    upper: float
    confidence: float
    sample_size: int
    outside: bool


class WindowStatistics(Message, frozen=True, kw_only=True):
    """Figures of one line (or one station) over one window; `id` is `scope/name/window_ms/start/revision`.

    The highest `revision` holds; revisions are not consecutive. `closed` says that no part is expected any more, yet a late
    verdict or a review still makes a higher revision.
    `scope` is `station` or `line`. Ratios are in [0, 1] and None where nothing was counted.
    DPMO is defects per million opportunities. `late_parts`, `previous`, `kind`, `shift`, `by` and `level` are as in `Pane`.
    """

    scope: str
    name: str
    line: str
    window_ms: int
    start_at_ns: int
    revision: int
    counts: PaneCounts
    closed: bool
    first_pass_yield_ratio: float | None = None
    not_ok_ratio: float | None = None
    dpmo: float | None = None
    p_chart: ControlPoint | None = None
    late_parts: int = 0
    kind: str = "tumbling"
    shift: str = ""
    by: str = ""
    level: str = ""
    previous: PaneCounts | None = None
