"""The law of charts over counts: whatever the order, duplicates, late parts, reviews and restarts, the last revision of every point
equals one made at once from SQL over the verdicts, with textbook limits worked out here."""

from __future__ import annotations

import sqlite3

from charted_log import Logged, S, logs, through_the_stage
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from schemas.chart_settings import Chart, CountedBaseline, Defects, NotOk
from schemas.statistics_settings import StatisticsSettings

W = 2
RATE = 0.2
FROZEN_S = 140
BASELINE = CountedBaseline(
    chart="share", subject="station/a", points=30, from_ns=0, to_ns=90 * S, data="made up", frozen_by="M. Keller",
    frozen_at_ns=FROZEN_S * S, applies_from_ns=FROZEN_S * S, rate=RATE, counted=60, looked_at=300,
)  # fmt: skip
SETTINGS = StatisticsSettings(
    windows_ms=(W * 1_000,),
    grace_ms=1_000,
    idle_timeout_ms=3_000,
    charts=(
        Chart(name="share", figure=NotOk(), chart="p", window_ms=W * 1_000, rules=("eight_on_one_side",)),
        Chart(name="slow", figure=NotOk(), chart="ewma", window_ms=W * 1_000, by="line"),
        Chart(name="opens", figure=Defects(class_name="open"), chart="c", window_ms=W * 1_000),
    ),
    baselines=(
        BASELINE,
        CountedBaseline(
            chart="slow", subject="line/l", points=30, from_ns=0, to_ns=0, data="made up", frozen_by="M. Keller",
            frozen_at_ns=0, applies_from_ns=0, rate=RATE, counted=60, looked_at=300,
        ),
    ),
)  # fmt: skip
LENGTH_NS = W * S


def sql_windows(log: list[Logged]) -> list[tuple[int, int, int, int]]:
    """Begin, NOT_OK parts, decided parts and defects of every window, by SQL over the newest revisions."""
    base = sqlite3.connect(":memory:")
    base.execute("create table verdicts (part, revision, verdict, arrived, defects)")
    rows = {(v.part_id, v.revision, v.verdict.value, v.arrived_at_ns, len(v.views[0].defects)) for v, _, _ in log}
    base.executemany("insert into verdicts values (?, ?, ?, ?, ?)", sorted(rows))
    return list(
        base.execute(
            f"""select arrived / {LENGTH_NS} * {LENGTH_NS} as start, sum(verdict = 'NOT_OK'),
            sum(verdict <> 'NOT_DECIDABLE'), sum(defects) from
            (select *, row_number() over (partition by part order by revision desc) as place from verdicts)
            where place = 1 group by 1 order by 1"""
        )
    )


Expected = dict[tuple[str, int], tuple[float | None, bool, tuple[str, ...]]]


def expected(log: list[Logged]) -> Expected:
    found: Expected = {}
    windows = sql_windows(log)
    for at, (start, bad, decided, defects) in enumerate(windows):
        past = [w for w in windows[: at + 1] if w[0] > start - 100 * LENGTH_NS]
        found["opens", start] = (float(defects), False, ())  # phase I: no limits
        if decided == 0:
            found["share", start] = found["slow", start] = (None, False, ())
            continue
        outside, rules = False, ()
        if start >= FROZEN_S * S:
            tail = (1 - 0.9973) / 2
            outside = not binom.ppf(tail, decided, RATE) <= bad <= binom.isf(tail, decided, RATE)
            since = [w for w in past if w[0] >= FROZEN_S * S and w[2] > 0][-8:]
            sides = {binom.cdf(b - 1, n, RATE) + binom.pmf(b, n, RATE) / 2 > 0.5 for _, b, n, _ in since}
            rules = ("eight_on_one_side",) if len(since) == 8 and len(sides) == 1 else ()
        found["share", start] = (bad / decided, outside, rules)
        z = 0.0
        for _, b, n, _ in past:
            if n:
                z = 0.2 * (b / n - RATE) / (RATE * (1 - RATE) / n) ** 0.5 + 0.8 * z
        found["slow", start] = (z, abs(z) > 2.962 * (0.2 / 1.8) ** 0.5, ())
    return found


@settings(max_examples=60, deadline=None)
@given(logs(), st.sets(st.integers(1, 60), max_size=3))
def test_the_last_revision_of_every_point_equals_one_from_sql_over_the_verdicts(
    log: list[Logged], crashes: set[int]
) -> None:
    told = {
        (chart, start): (None if p.value is None else round(p.value, 9), p.outside, p.rules)
        for (chart, _, start), p in through_the_stage(log, crashes, SETTINGS).items()
    }
    wanted = {
        key: (None if value is None else round(value, 9), outside, rules)
        for key, (value, outside, rules) in expected(log).items()
    }
    assert told == wanted
