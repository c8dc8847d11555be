"""The assets that are watched: normal operation is learned once, told, and held against from then on; what leaves it becomes an alert.

`processors.asset_watch` has the statistics. Learning takes the first rows of a `revision` of the watch; what was learned stands on a
topic, so that a restart goes on with it. Where nothing keeps a level, learning begins anew with the next rows, and says so. An alert that
is open then ends: it was about a normal operation that does not hold any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from processors.alert_actions import AlertStep, can_act, with_action
from processors.alert_episodes import Clear, Episodes, Finding, Raise
from processors.alert_subjects import Owns, every_key
from processors.asset_rows import AssetRows, Row
from processors.asset_watch import AssetWatch, Judged, NormalOperation, learn
from processors.spc.multivariate import MultivariateModel
from schemas.alert_rules import AssetWatchRule
from schemas.alerts import Alert
from schemas.message import NS_PER_MS, NS_PER_S
from schemas.notifications import AlertResponse
from schemas.plant import Asset, Plant, Station, Watch
from schemas.sensors import AssetBaseline, NormalModel, SensorReading

ROWS_READ_BACK = 45
"""What an EWMA and the count of rows inside remember, in rows."""
ACTS_WITHIN_NS = 60 * NS_PER_S
"""After a row's end: what comes later was kept on a disk meanwhile, and an action would be about a machine as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What follows from a reading: alerts, a baseline that was learned with it, and why one could not be.

    `left_out` are channels that the new baseline does not watch: they wandered or never changed while it was learned.
    """

    steps: tuple[AlertStep, ...] = ()
    learned: AssetBaseline | None = None
    left_out: tuple[str, ...] = ()
    not_learned: str = ""


NOTHING = Watched()


@dataclass(slots=True)
class _Watch:
    asset: Asset
    settings: Watch
    rows: AssetRows
    station: Station | None
    learning: list[Row] = field(default_factory=list)
    watch: AssetWatch | None = None


class AssetWatches:
    """The watched assets that are ours. First recall baselines, alerts and readings, then `take`, `close` and `tick`."""

    def __init__(self, *, plant: Plant, owns: Owns = every_key) -> None:
        self._rules = [rule for rule in plant.alerts if isinstance(rule, AssetWatchRule)]
        self._episodes = Episodes(self._rules, plant=plant, owns=owns)
        self._watches = {
            asset.name: _Watch(asset, asset.watch, AssetRows(asset, every_ms=asset.watch.every_ms), _stop(plant, asset))
            for asset in plant.assets
            if asset.watch is not None and owns(asset.name)
        }

    @property
    def open_alerts(self) -> dict[str, int]:
        """How many alerts are open, by rule."""
        return {rule.name: len(self._episodes.open_subjects(rule.name)) for rule in self._rules}

    @property
    def left_out(self) -> dict[str, tuple[str, ...]]:
        """Channels that are in no watch, by asset: they wandered or never changed while normal operation was learned."""
        watches = {name: each.watch.baseline.left_out for name, each in self._watches.items() if each.watch}
        return {name: channels for name, channels in watches.items() if channels}

    @property
    def held_ms(self) -> int:
        """How far back readings are needed, in ms: the rows that learning takes, or the last ones."""
        return max(
            (
                (ROWS_READ_BACK if each.watch is not None else each.settings.learn_rows) * each.settings.every_ms
                for each in self._watches.values()
            ),
            default=0,
        )

    @property
    def incomplete_rows(self) -> int:
        """Rows that never came because a channel was missing."""
        return sum(each.rows.incomplete for each in self._watches.values())

    def recall_baseline(self, baseline: AssetBaseline) -> None:
        """A baseline from the topic; of an asset's present revision and channels the first one holds."""
        found = self._watches.get(baseline.asset)
        if found is not None and found.watch is None and _fits(baseline, found):
            found.watch = AssetWatch(_normal(baseline))

    def recall_alert(self, alert: Alert) -> None:
        """An alert that went out before we began."""
        self._episodes.recall(alert)

    def recall(self, reading: SensorReading) -> None:
        """A reading that was judged before we began: what it led to is on the topics."""
        found = self._watches.get(reading.asset)
        row = found.rows.take(reading) if found is not None else None
        if found is None or row is None:
            return
        if found.watch is None:
            found.learning.append(row)
        else:
            found.watch.take(row.values)

    def take(self, reading: SensorReading, *, at_ns: int) -> Watched:
        """A reading that was not refused, once; its record has the broker's time `at_ns`."""
        found = self._watches.get(reading.asset)
        row = found.rows.take(reading) if found is not None else None
        if found is None or row is None:
            return NOTHING
        if found.watch is None:
            return self._learn(found, row)
        judged = found.watch.take(row.values)
        rules = [rule for rule in self._rules if rule.asset == reading.asset]
        findings = [
            finding for rule in rules if (finding := _finding(rule, found, judged, row, at_ns=at_ns)) is not None
        ]
        return Watched(steps=tuple(step for finding in findings for step in self._steps(finding, found)))

    def close(self, response: AlertResponse, *, now_ns: int) -> list[AlertStep]:
        """A person says that an alert is over."""
        return [AlertStep(alert=alert) for alert in self._episodes.close(response, now_ns=now_ns)]

    def tick(self, now_ns: int) -> list[AlertStep]:
        """Time has passed: repetitions, and the ends of alerts about a normal operation that is learned anew."""
        learning = [name for name, each in self._watches.items() if each.watch is None]
        anew = [
            Clear(
                rule=rule.name,
                subject=rule.asset,
                at_ns=now_ns,
                summary=f"{rule.asset} learns its normal operation anew",
            )
            for rule in self._rules
            if rule.asset in learning
        ]
        return [AlertStep(alert=alert) for alert in (*self._episodes.apply(anew), *self._episodes.tick(now_ns))]

    def _learn(self, found: _Watch, row: Row) -> Watched:
        found.learning.append(row)
        if len(found.learning) < found.settings.learn_rows:
            return NOTHING
        rows, found.learning = found.learning[-found.settings.learn_rows :], []
        names = tuple(channel.name for channel in found.asset.channels)
        try:
            normal = learn(names, np.array([each.values for each in rows]))
        except ValueError as error:
            return Watched(not_learned=f"{found.asset.name}: {error}")
        found.watch = AssetWatch(normal)
        return Watched(learned=_told(normal, found, rows), left_out=normal.left_out)

    def _steps(self, finding: Finding, found: _Watch) -> list[AlertStep]:
        rule = next(rule for rule in self._rules if rule.name == finding.rule)
        alerts = self._episodes.apply([finding], action=can_act(rule, found.station))
        return [with_action(alert, rule) for alert in alerts]


def _finding(rule: AssetWatchRule, found: _Watch, judged: Judged, row: Row, *, at_ns: int) -> Finding | None:
    """What a row says: `value` is T2 or Q, whichever is further beyond its limit, and `threshold` that limit.

    It is said when the row is complete (`at_ns`), not when it began: an action is valid for some seconds from then on.
    """
    name, distances = found.asset.name, judged.distances
    assert found.watch is not None
    if not distances.outside:
        told = f"{name} is within its normal operation again"
        return Clear(rule=rule.name, subject=name, at_ns=at_ns, summary=told) if judged.is_normal else None
    driver = found.watch.driver(distances)
    is_fresh = at_ns - row.at_ns - found.settings.every_ms * NS_PER_MS <= ACTS_WITHIN_NS
    model = found.watch.baseline.model
    by_q = model.q_limit > 0 and distances.q / model.q_limit > distances.t2 / model.t2_limit
    value, limit = (distances.q, model.q_limit) if by_q else (distances.t2, model.t2_limit)
    statistic = "its channels do not go together as they did" if by_q else "its channels are far from their usual"
    return Raise(
        rule=rule.name,
        subject=name,
        line=found.asset.line,
        station=found.station.name if found.station and is_fresh else None,
        since_ns=min(row.at_ns, at_ns),
        at_ns=at_ns,
        summary=f"{name} left its normal operation, driven by {driver.channel} ({driver.share:.0%}): {statistic}",
        value=value,
        threshold=limit,
        evidence=(f"{name}/{driver.channel}",),
    )


def _stop(plant: Plant, asset: Asset) -> Station | None:
    """Where a line stop for an asset acts: the first station of its line that has a PLC."""
    stations = next((line.stations for line in plant.lines if line.name == asset.line), ())
    return next((station for station in stations if station.plc is not None), None)


def _fits(baseline: AssetBaseline, found: _Watch) -> bool:
    names = tuple(channel.name for channel in found.asset.channels)
    settings = found.settings
    return (baseline.revision, baseline.every_ms, baseline.channels) == (settings.revision, settings.every_ms, names)


def _told(normal: NormalOperation, found: _Watch, rows: list[Row]) -> AssetBaseline:
    model, settings = normal.model, found.settings
    return AssetBaseline(
        id=f"{found.asset.name}/{settings.revision}/{rows[0].at_ns}",
        asset=found.asset.name,
        revision=settings.revision,
        every_ms=settings.every_ms,
        channels=normal.channels,
        rows=len(rows),
        from_ns=rows[0].at_ns,
        to_ns=rows[-1].at_ns + settings.every_ms * NS_PER_MS,
        watched=normal.watched,
        mean=tuple(normal.mean.tolist()),
        deviation=tuple(normal.deviation.tolist()),
        model=NormalModel(
            mean=tuple(model.mean.tolist()),
            axes=tuple(model.axes.T.ravel().tolist()),
            variances=tuple(model.variances.tolist()),
            retained=model.retained,
            t2_limit=model.t2_limit,
            q_limit=model.q_limit,
        ),
    )


def _normal(baseline: AssetBaseline) -> NormalOperation:
    model, size = baseline.model, len(baseline.watched)
    return NormalOperation(
        channels=baseline.channels,
        watched=baseline.watched,
        mean=np.array(baseline.mean),
        deviation=np.array(baseline.deviation),
        model=MultivariateModel(
            mean=np.array(model.mean),
            axes=np.array(model.axes).reshape(size, size).T,
            variances=np.array(model.variances),
            retained=model.retained,
            t2_limit=model.t2_limit,
            q_limit=model.q_limit,
        ),
    )
