"""Image health: a camera that sees worse and worse (dirty lens, ageing lamp, a mount that moves), told before verdicts go wrong."""

from __future__ import annotations

from dataclasses import dataclass

from processors.alert_episodes import Clear, Finding, Raise
from processors.alert_rules import AlertInput
from schemas.alert_rules import ImageHealthRule
from schemas.inspections import Inspection
from schemas.plant import Plant


@dataclass(slots=True)
class _View:
    """A view's figure, smoothed: an exponentially weighted moving average (Roberts, Technometrics 1(3), 1959)."""

    count: int = 0
    smoothed: float = 0.0
    inside: int = 0
    """How many frames in a row the average has been within the limits."""

    def add(self, value: float, *, frames: int) -> None:
        """The plain mean of the first `frames` values; from then on their weight is that of a mean over as many: 2 / (frames + 1)."""
        self.count = min(self.count + 1, frames)
        weight = 1 / self.count if self.count < frames else 2 / (frames + 1)
        self.smoothed += weight * (value - self.smoothed)


class ImageHealthWatch:
    """Raised and cleared per camera and view, whatever the product: the figures are relative to each product's own reference.

    Cleared when the average was within the limits for `frames` frames in a row: an average that wavers at a limit is one alert.
    """

    def __init__(self, rule: ImageHealthRule, *, plant: Plant, stations: frozenset[str]) -> None:
        self._rule = rule
        self._places = {
            camera.name: (line.name, station.name)
            for line in plant.lines
            for station in line.stations
            for camera in station.cameras
            if station.name in stations and rule.camera in (None, camera.name)
        }
        self._views: dict[tuple[str, str], _View] = {}

    def see(self, message: AlertInput, *, at_ns: int, now_ns: int) -> list[Finding]:
        """An inspection that tells how its camera saw."""
        if not isinstance(message, Inspection) or message.imaging is None or message.camera not in self._places:
            return []
        view = self._views.setdefault((message.camera, message.view), _View())
        view.add(getattr(message.imaging, self._rule.figure), frames=self._rule.frames)
        return [] if view.count < self._rule.frames else self._judge(message, view, at_ns)

    def remember(self, message: AlertInput, *, at_ns: int, now_ns: int) -> None:
        """The average goes on where it was."""
        self.see(message, at_ns=at_ns, now_ns=now_ns)

    def tick(self, now_ns: int) -> list[Finding]:
        """Time alone changes no picture."""
        return []

    def resume(self, subject: str, now_ns: int) -> None:
        """The coming pictures tell."""

    def _judge(self, message: Inspection, view: _View, at_ns: int) -> list[Finding]:
        rule, smoothed = self._rule, view.smoothed
        line, station = self._places[message.camera]
        subject = f"{message.camera}/{message.view}"
        told = f"{rule.figure} of {subject} is {smoothed:.3g} over about {rule.frames} frames"
        below, above = rule.low is not None and smoothed < rule.low, rule.high is not None and smoothed > rule.high
        view.inside = 0 if below or above else view.inside + 1
        if not (below or above):
            is_over = view.inside >= rule.frames
            return (
                [Clear(rule=rule.name, subject=subject, at_ns=at_ns, summary=told, value=smoothed)] if is_over else []
            )
        limit = rule.low if below else rule.high
        return [
            Raise(
                rule=rule.name,
                subject=subject,
                line=line,
                station=station,
                since_ns=at_ns,
                at_ns=at_ns,
                summary=f"{told}, {'below' if below else 'above'} {limit:g}",
                value=smoothed,
                threshold=limit,
                evidence=(message.id,),
            )
        ]
