"""What a plant file may say about alerts: when each is raised and cleared."""

from __future__ import annotations

from typing import Literal

from schemas.section import Section


class AlertRule(Section, frozen=True, kw_only=True):
    """What all alert rules share. An open alert is repeated after `repeat_after_ms`, then after twice as long each time, up to
    `longest_repeat_ms`; `repeat_after_ms` null: said once until cleared.

    `divert` and `hold_batch` set the parameter of that name (under the station's interlocks) to 1; setting it back is a person's.
    With `approval: required` the action waits for `linesight alerts approve`.
    """

    name: str
    severity: Literal["info", "warning", "critical"] = "warning"
    repeat_after_ms: int | None = 300_000
    longest_repeat_ms: int = 3_600_000
    action: Literal["stop_line", "divert", "hold_batch"] | None = None
    approval: Literal["required"] | None = None

    @property
    def signals(self) -> tuple[str, ...]:
        """What the rule sees its reason with. Two rules that look at the same thing err together: they are one signal."""
        raise NotImplementedError


class DefectRateRule(AlertRule, tag_field="type", tag="defect_rate", frozen=True, kw_only=True):
    """NOT_OK share of a station's last `window_ms` of parts at or above `raise_ratio`; cleared below `clear_ratio`, which is the lower one:
    a share that wavers at one limit would be raised and cleared all the time."""

    raise_ratio: float
    clear_ratio: float
    window_ms: int = 60_000
    minimum_parts: int = 20
    station: str | None = None

    @property
    def signals(self) -> tuple[str, ...]:
        """Judged by our models."""
        return ("verdicts",)


class SilentCameraRule(AlertRule, tag_field="type", tag="silent_camera", frozen=True, kw_only=True):
    """A camera gave no inspection for `after_ms` while parts arrived at its station."""

    after_ms: int = 10_000

    @property
    def signals(self) -> tuple[str, ...]:
        """What cameras deliver."""
        return ("cameras",)


class SilentStationRule(AlertRule, tag_field="type", tag="silent_station", frozen=True, kw_only=True):
    """No part arrived at a station for `after_ms` while its line was running."""

    after_ms: int = 60_000

    @property
    def signals(self) -> tuple[str, ...]:
        """What the PLC tells."""
        return ("PLC",)


class MissingFramesRule(AlertRule, tag_field="type", tag="missing_frames", frozen=True, kw_only=True):
    """A gap in a camera's sequence, seen by the inspect stage."""

    clear_after_ms: int = 60_000

    @property
    def signals(self) -> tuple[str, ...]:
        """What cameras deliver."""
        return ("cameras",)


class PlcHeartbeatRule(AlertRule, tag_field="type", tag="plc_heartbeat", frozen=True, kw_only=True):
    """The PLC's heartbeat stood still, the PLC is away, a node of the station does not serve, or a second gateway writes there (fault
    `heartbeat_lost`, `plc_away`, `node_fault` or `second_writer`)."""

    @property
    def signals(self) -> tuple[str, ...]:
        """What the PLC tells."""
        return ("PLC",)


class BrokerAwayRule(AlertRule, tag_field="type", tag="broker_away", frozen=True, kw_only=True):
    """The alerts stage had no contact with the broker for `after_ms` or longer. Raised for every line when the broker is back, for nothing
    reaches a topic before; cleared when it has been there for `clear_after_ms`, in which stages read what they missed.

    Until then it explains stations and cameras that are silent and frames that are missing. It has no `action`: it is over when it is told.
    """

    after_ms: int = 10_000
    clear_after_ms: int = 30_000

    @property
    def signals(self) -> tuple[str, ...]:
        """Our own contact."""
        return ("broker",)


class ImageHealthRule(AlertRule, tag_field="type", tag="image_health", frozen=True, kw_only=True):
    """How a camera sees: one figure of `Inspection.imaging` outside `low..high`, smoothed over about `frames` frames of a view.

    `camera` null: every camera. Judged from `frames` frames of the view on; cleared when the smoothed figure was inside for as many
    frames in a row.
    """

    figure: Literal["sharpness_ratio", "level_ratio", "saturated_ratio", "black_ratio", "shift_px"]
    low: float | None = None
    high: float | None = None
    camera: str | None = None
    frames: int = 50

    @property
    def signals(self) -> tuple[str, ...]:
        """What cameras deliver."""
        return ("cameras",)


class WrongLaneRule(AlertRule, tag_field="type", tag="wrong_lane", frozen=True, kw_only=True):
    """A part that had to be rejected was seen leaving on the good lane; cleared when there was none for `clear_after_ms`.

    Its `action: stop_line` needs no second signal: the verdict and the machine's own lane sensor are two.
    """

    clear_after_ms: int = 60_000

    @property
    def signals(self) -> tuple[str, ...]:
        """The verdict, and the machine's own sensor on the lane."""
        return ("lane sensor", "verdicts")


class ChallengeRule(AlertRule, tag_field="type", tag="challenge", frozen=True, kw_only=True):
    """A station's challenge part (`challenges` of the station) did not get the verdict that it must get, its reject was not confirmed
    `confirm_within_ms` after the verdict, or none passed in time. Cleared by one that passes. `station` null: every station that
    has some.
    """

    confirm_within_ms: int = 10_000
    station: str | None = None

    @property
    def signals(self) -> tuple[str, ...]:
        """A part that is known to be bad, whatever the models say."""
        return ("challenge parts",)


class SensorLimitRule(AlertRule, tag_field="type", tag="sensor_limit", frozen=True, kw_only=True):
    """A channel outside `low..high`, or changing faster than `max_change_per_s` (in its unit per second)."""

    asset: str
    channel: str
    low: float | None = None
    high: float | None = None
    max_change_per_s: float | None = None
    clear_after_ms: int = 5_000

    @property
    def signals(self) -> tuple[str, ...]:
        """That channel alone."""
        return (f"sensor {self.asset}/{self.channel}",)


class ChartRule(AlertRule, tag_field="type", tag="chart", frozen=True, kw_only=True):
    """A point of a control chart signals: beyond a limit, or it completes a run rule. Phase I points never do.

    Cleared after `clear_after_points` points in a row without a signal. An `action` is valid from when its point is told. It follows from
    a point above the centre only (more bad parts than usual), told within a minute of when its window had to be closed at the latest.
    """

    chart: str
    clear_after_points: int = 5

    @property
    def signals(self) -> tuple[str, ...]:
        """Judged by our models; a chart of measurements stops no line."""
        return ("verdicts",)


class AssetWatchRule(AlertRule, tag_field="type", tag="asset_watch", frozen=True, kw_only=True):
    """An asset left the normal operation that its `watch` learned: all its channels together, one alert per episode, cleared after 30 rows
    within it. An `action` follows from a row that is complete within a minute of its end."""

    asset: str

    @property
    def signals(self) -> tuple[str, ...]:
        """The asset's channels."""
        return (f"sensors {self.asset}",)


SENSOR_RULES = (SensorLimitRule, AssetWatchRule)
"""Judged by the sensors stage; all others by the alerts stage."""

Rule = (
    DefectRateRule
    | SilentCameraRule
    | SilentStationRule
    | MissingFramesRule
    | PlcHeartbeatRule
    | BrokerAwayRule
    | ImageHealthRule
    | WrongLaneRule
    | ChallengeRule
    | SensorLimitRule
    | ChartRule
    | AssetWatchRule
)
