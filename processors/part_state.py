"""A part from its arrival to its verdict: what is known of it, and what it is still waiting for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from schemas.inspections import Inspection
from schemas.plc_events import PartArrived
from schemas.reasons import FrameOutcome
from schemas.recipes import Recipe

Source = TypeVar("Source")
"""Whatever the caller hands in with a message and wants back when the message is finished; never looked into."""


class PartVisit(NamedTuple):
    """What a verdict is about: one part at one station on one visit (rework brings it back)."""

    station: str
    part_id: str
    visit: int

    def __str__(self) -> str:
        return f"{self.station}/{self.part_id}/{self.visit}"


@dataclass(slots=True, kw_only=True)
class OpenPart(Generic[Source]):
    """A part that has arrived and has no verdict yet.

    `arrived_at_ns` is the broker's time of the arrival record and `due_at_ns` counts from it (None: waits for all views).
    `recipe` is None where the arrival names one that the plant does not have. `sources` begins with the arrival's.
    """

    arrival: PartArrived
    arrived_at_ns: int
    due_at_ns: int | None
    recipe: Recipe | None
    sources: list[Source]
    size_bytes: int
    views: dict[str, Inspection] = field(default_factory=dict)
    has_left: bool = False

    @property
    def visit(self) -> PartVisit:
        """The part's key."""
        return PartVisit(self.arrival.station, self.arrival.part_id, self.arrival.visit)

    @property
    def required_views(self) -> tuple[str, ...]:
        """Views without which there is no OK: those the arrival names, else the recipe's.

        All views of a recipe that requires none: a part that nobody looked at is not OK.
        """
        if self.arrival.expected_views or self.recipe is None:
            return self.arrival.expected_views
        return self.recipe.required_views or tuple(view.name for view in self.recipe.views)

    @property
    def missing_views(self) -> tuple[str, ...]:
        """Required views of which no inspection came."""
        return tuple(view for view in self.required_views if view not in self.views)

    @property
    def dropped_views(self) -> tuple[str, ...]:
        """Required views whose frame ended dropped."""
        return tuple(
            view
            for view in self.required_views
            if view in self.views and self.views[view].outcome is FrameOutcome.DROPPED
        )
