"""Samples of a channel out of what a server reports: what polling would have read, with the source's times, and no more than asked for."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from gateways.sample_series import SPARE_SAMPLES, Sample, SampleSeries

PERIOD_MS, PERIOD_NS = 100, 100_000_000
START_NS = 1_700_000_000_000_000_000
DAY_NS = 86_400_000_000_000
MORE = 3


def series(publishing_ms: float = 500) -> SampleSeries:
    return SampleSeries(period_ms=PERIOD_MS, publishing_ms=publishing_ms)


@dataclass(frozen=True)
class Served:
    """What an OPC UA server does with a node: it samples on its timer, keeps what has changed, and publishes now and then."""

    values: list[int]
    jitters_ns: list[int]
    publish_after: list[int]
    clock_ns: int

    def samples(self) -> list[Sample]:
        """What it found, sample by sample."""
        return [
            Sample(float(value), START_NS + place * PERIOD_NS + self.jitters_ns[place])
            for place, value in enumerate(self.values)
        ]

    def run(self) -> list[Sample]:
        """What the series makes of it. The last publication lies `MORE` periods behind the last sample; publications have a clock that is
        `clock_ns` ahead of the source's."""
        found, channel, told = self.samples(), series(), 0
        made: list[Sample] = []
        last = len(found)
        places = sorted({min(last, place) for place in self.publish_after} | {last})
        for place in places:
            published_ns = START_NS + place * PERIOD_NS - PERIOD_NS // 3 + self.clock_ns
            for number in range(told, place):
                if number == 0 or found[number].value != found[number - 1].value:
                    made += channel.report(found[number].value, at_ns=found[number].at_ns, published_at_ns=published_ns)
            told = place
            made += channel.quiet(published_ns)
        return made + channel.quiet(START_NS + (last + MORE) * PERIOD_NS - PERIOD_NS // 3 + self.clock_ns)


SERVED = st.integers(2, 25).flatmap(
    lambda length: st.builds(
        Served,
        values=st.lists(st.integers(0, 2), min_size=length, max_size=length),
        jitters_ns=st.lists(st.integers(-24_000_000, 24_000_000), min_size=length, max_size=length),
        publish_after=st.lists(st.integers(1, 25), max_size=12).map(lambda found: [1, *found]),
        clock_ns=st.sampled_from([0, 50_000_000, -DAY_NS]),
    )
)


@given(SERVED)
def test_every_sample_that_the_server_took_is_there_once_with_its_value_and_its_time(served: Served) -> None:
    made, taken = served.run(), served.samples()
    assert len(taken) <= len(made) <= len(taken) + MORE
    assert {sample.value for sample in made[len(taken) :]} <= {taken[-1].value}
    for mine, theirs in zip(made, taken, strict=False):
        assert mine.value == theirs.value
        assert abs(mine.at_ns - theirs.at_ns) <= PERIOD_NS // 2
    reported = [one for place, one in enumerate(taken) if place == 0 or one.value != taken[place - 1].value]
    assert set(reported) <= set(made), "a reported sample keeps the time of its source"


@given(
    steps=st.lists(st.tuples(st.integers(0, 400_000_000), st.booleans(), st.floats(-5, 5)), max_size=80),
    lag_ns=st.integers(-DAY_NS, DAY_NS),
)
def test_whatever_is_reported_times_go_on_and_a_server_that_gives_too_much_is_thinned(
    steps: list[tuple[int, bool, float]], lag_ns: int
) -> None:
    channel, now_ns, made = series(), START_NS, []
    for gap_ns, changed, value in steps:
        now_ns += gap_ns
        if changed:
            made += channel.report(value, at_ns=now_ns - lag_ns, published_at_ns=now_ns)
        made += channel.quiet(now_ns)
    behind_first = (
        made[1:] if lag_ns > 0 else made
    )  # the time of a first report that is old is taken from its publication
    times = [sample.at_ns for sample in behind_first]
    assert times == sorted(times)
    assert len(made) <= 2 + SPARE_SAMPLES + 1.25 * (now_ns - START_NS) / PERIOD_NS


def test_a_constant_is_a_sample_a_period_and_only_as_far_as_the_server_spoke() -> None:
    channel = series()
    assert channel.report(7.0, at_ns=START_NS, published_at_ns=START_NS + 1) == [Sample(7.0, START_NS)]
    assert channel.quiet(START_NS + 10 * PERIOD_NS) == [
        Sample(7.0, START_NS + place * PERIOD_NS) for place in range(1, 10)
    ]
    assert channel.quiet(START_NS + 10 * PERIOD_NS) == []


def test_the_time_of_a_change_days_ago_is_not_the_time_of_the_first_sample() -> None:
    channel = series()
    (first,) = channel.report(7.0, at_ns=START_NS - 3 * DAY_NS, published_at_ns=START_NS)
    assert first.at_ns == START_NS
    assert [one.at_ns for one in channel.quiet(START_NS + 2 * PERIOD_NS)] == [START_NS + PERIOD_NS]
    assert channel.report(8.0, at_ns=0, published_at_ns=START_NS + 9 * PERIOD_NS)[-1].at_ns == START_NS + 9 * PERIOD_NS


def test_nothing_is_held_across_a_loss_nor_behind_a_value_that_is_none() -> None:
    channel = series()
    channel.report(7.0, at_ns=START_NS, published_at_ns=START_NS)
    late_ns = START_NS + 20 * PERIOD_NS
    assert channel.report(9.0, at_ns=late_ns, published_at_ns=late_ns, after_loss=True) == [Sample(9.0, late_ns)]
    channel.lose()
    assert channel.value is None
    assert channel.quiet(late_ns + 5 * PERIOD_NS) == []
    assert len(channel.report(9.0, at_ns=late_ns + 9 * PERIOD_NS, published_at_ns=late_ns + 9 * PERIOD_NS)) == 1


def test_a_clock_that_jumps_leaves_a_hole_and_not_a_day_of_samples() -> None:
    for jump_ns in (DAY_NS, -DAY_NS):
        channel = series()
        channel.report(7.0, at_ns=START_NS, published_at_ns=START_NS)
        channel.restart(START_NS + jump_ns)
        held = channel.quiet(START_NS + jump_ns + 3 * PERIOD_NS)
        assert [one.at_ns for one in held] == [START_NS + jump_ns + place * PERIOD_NS for place in (1, 2)]
    channel = series()
    channel.report(7.0, at_ns=START_NS, published_at_ns=START_NS)
    later_ns = START_NS + DAY_NS
    assert channel.report(8.0, at_ns=later_ns, published_at_ns=START_NS + PERIOD_NS) == [Sample(8.0, later_ns)]
