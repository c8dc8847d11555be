"""Assets that are watched: rows from readings, normal operation learned once, one alert per episode that names its channel."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from processors.alerting import AlertStep
from processors.asset_rows import AssetRows
from processors.asset_watches import AssetWatches
from schemas.alert_rules import AssetWatchRule
from schemas.alerts import AlertState
from schemas.plant import Asset, Camera, Channel, ExternalSource, Line, Plant, Station, Watch
from schemas.sensors import AssetBaseline, SensorReading

S = 1_000_000_000
CHANNELS = (Channel(name="flow", unit="l/s", sample_ms=1_000), Channel(name="heat", unit="Cel", sample_ms=1_000))
CAMERA = Camera(name="top", views=("top",), source=ExternalSource())


def plant(revision: int = 1) -> Plant:
    return Plant(
        plant="works",
        lines=(Line(name="line-1", stations=(Station(name="cut", plc="plc-1", cameras=(CAMERA,)),)),),
        recipes=(),
        assets=(
            Asset(
                name="pump", line="line-1", channels=CHANNELS, watch=Watch(every_ms=1_000, learn_rows=200, revision=revision)
            ),
        ),
        alerts=(AssetWatchRule(name="odd", asset="pump", action="stop_line"),),
    )  # fmt: skip


def reading(channel: str, at_s: float, value: float | None, waveform: bytes | None = None) -> SensorReading:
    return SensorReading(
        id=f"{channel}/{at_s}", asset="pump", channel=channel, session="s", sequence=int(at_s * 10),
        measured_at_ns=int(at_s * S), unit="", value=value, waveform=waveform, sample_rate_hz=4.0 if waveform else None,
    )  # fmt: skip


def rows(first: int, count: int, *, heat: float = 40.0, seed: int = 1) -> list[SensorReading]:
    rng = np.random.default_rng(seed + first)
    return [
        reading(channel, at_s, float(value))
        for at_s in range(first, first + count)
        for channel, value in (("flow", rng.normal(50, 1)), ("heat", rng.normal(heat, 2)))
    ]


def taken(watches: AssetWatches, readings: list[SensorReading]) -> tuple[list[AssetBaseline], list[AlertStep]]:
    found = [watches.take(each, at_ns=each.measured_at_ns) for each in readings]
    return [each.learned for each in found if each.learned], [step for each in found for step in each.steps]


def test_one_baseline_then_one_alert_for_an_episode_with_the_channel_that_drove_it_and_the_stop_that_was_asked_for() -> (
    None
):
    watches = AssetWatches(plant=plant())
    (baseline,), steps = taken(watches, rows(0, 220))
    assert (baseline.id, baseline.rows, steps) == ("pump/1/0", 200, [])
    learned, steps = taken(watches, [*rows(220, 20, heat=55.0), *rows(240, 60)])
    assert learned == []
    assert [step.alert.state for step in steps] == [AlertState.RAISED, AlertState.CLEARED]
    raised = steps[0]
    assert "driven by heat" in raised.alert.summary
    assert raised.command is not None
    assert (raised.command.station, watches.open_alerts) == ("cut", {"odd": 0})


@pytest.mark.parametrize(("told_after_s", "acts"), [(0.9, True), (61.0, True), (62.0, False)])
def test_an_action_is_valid_from_when_the_row_was_complete_and_none_follows_from_one_that_was_kept_back(
    told_after_s: float, acts: bool
) -> None:
    watches = AssetWatches(plant=plant())
    taken(watches, rows(0, 220))
    odd = [
        watches.take(each, at_ns=each.measured_at_ns + int(told_after_s * S)).steps for each in rows(220, 5, heat=70.0)
    ]
    (step,) = (step for steps in odd for step in steps)
    assert (step.command is not None, step.alert.action == "stop_line", step.audit is not None) == (acts,) * 3
    assert step.alert.at_ns == step.alert.since_at_ns + int(told_after_s * S)
    if step.command is not None:
        assert step.command.valid_until_ns == step.alert.at_ns + 10 * S


def test_channels_that_are_not_watched_are_told_when_they_are_learned_and_at_every_start() -> None:
    watches, still = AssetWatches(plant=plant()), AssetWatches(plant=plant())
    stuck = [msgspec.structs.replace(each, value=40.0) if each.channel == "heat" else each for each in rows(0, 200)]
    (learned,) = (each for reading in stuck if (each := watches.take(reading, at_ns=0)).learned)
    assert learned.learned is not None
    assert learned.left_out == ("heat",)
    still.recall_baseline(learned.learned)
    assert still.left_out == watches.left_out == {"pump": ("heat",)}


def test_a_restart_goes_on_with_what_was_learned_and_finds_the_same_episode() -> None:
    first = AssetWatches(plant=plant())
    readings = rows(0, 240)
    (baseline,), _ = taken(first, readings)
    again = AssetWatches(plant=plant())
    again.recall_baseline(baseline)
    for each in readings[-2 * 45 :]:
        again.recall(each)
    odd = [*rows(240, 20, heat=55.0), *rows(260, 60)]
    went_on, restarted = ([step.alert.id for step in taken(watches, odd)[1]] for watches in (first, again))
    assert len(went_on) == 2
    assert restarted == went_on


def test_a_restart_in_the_middle_of_learning_goes_on_with_the_rows_that_were_read_back() -> None:
    whole, again = AssetWatches(plant=plant()), AssetWatches(plant=plant())
    readings = rows(0, 210)
    for each in readings[:300]:
        again.recall(each)
    assert taken(again, readings[300:])[0] == taken(whole, readings)[0]


def test_another_revision_learns_anew() -> None:
    (baseline,), _ = taken(AssetWatches(plant=plant()), rows(0, 200))
    wiser = AssetWatches(plant=plant(revision=2))
    wiser.recall_baseline(baseline)
    (anew,), _ = taken(wiser, rows(500, 200))
    assert (anew.revision, anew.from_ns) == (2, 500 * S)


def test_what_never_changes_cannot_be_learned_and_is_told() -> None:
    watches = AssetWatches(plant=plant())
    still = [reading(channel, at_s, 1.0) for at_s in range(200) for channel in ("flow", "heat")]
    found = [watches.take(each, at_ns=each.measured_at_ns) for each in still]
    assert "expected a channel that keeps a level" in found[-1].not_learned
    assert len(taken(watches, rows(300, 200))[0]) == 1  # it goes on trying


def test_a_row_waits_for_every_channel_and_one_that_lacks_a_reading_never_comes() -> None:
    waiting = AssetRows(plant().assets[0], every_ms=1_000)
    assert waiting.take(reading("flow", 0.1, 50.0)) is None
    assert waiting.take(reading("flow", 0.6, 99.0)) is None  # the first of a row counts
    assert waiting.take(reading("flow", 1.1, 51.0)) is None  # its heat never comes
    row = waiting.take(reading("heat", 0.9, 40.0))
    assert row is not None
    assert (row.at_ns, row.values.tolist()) == (0, [50.0, 40.0])
    waiting.take(reading("flow", 2.0, 52.0))
    row = waiting.take(reading("heat", 2.0, 41.0))
    assert row is not None
    assert (row.at_ns, waiting.incomplete) == (2 * S, 1)
    assert waiting.take(reading("heat", 1.2, 40.0)) is None  # too late: rows are in order
    assert waiting.take(reading("flow", 1.3, 51.0)) is None


def test_what_is_no_number_is_no_reading_and_a_waveform_counts_as_its_root_mean_square() -> None:
    waiting = AssetRows(plant().assets[0], every_ms=1_000)
    assert waiting.take(reading("flow", 0, float("nan"))) is None
    assert waiting.take(reading("heat", 0, 40.0)) is None
    row = waiting.take(reading("flow", 0, None, np.array([3, -4, 3, -4], "<f4").tobytes()))
    assert row is not None
    assert row.values.tolist() == pytest.approx([12.5**0.5, 40.0])
