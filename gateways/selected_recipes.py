"""What the PLCs of a gateway have selected, and what they announce: passed on to inspect, which loads it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from schemas.plant import Plant
from schemas.readiness import RecipeStatus
from schemas.telemetry import Noticed, Stage

UNKNOWN_NEXT = "unknown_next_recipe"


class Report(Protocol):
    """Who tells a station's faults."""

    def fault(self, code: str, detail: str, *, cleared: bool = False) -> None:
        """Raises or clears the fault `code`."""


class SelectedRecipes:
    """Recipes by station, `name@revision`; "" where a PLC selects or announces none. `changed` is set when one changes.

    What the plant file does not know is not passed on: selected, it is ErrorCode 6; announced, a fault on `plc-events` and no more.
    """

    def __init__(self, *, plant: Plant, stage: Stage, changed: asyncio.Event) -> None:
        self._known = frozenset(recipe.key for recipe in plant.recipes)
        self._stage = stage
        self._changed = changed
        self._by_station: dict[str, tuple[str, str]] = {}

    def selected(self, station: str) -> str:
        """What the station's PLC has selected, as it was read last."""
        return self._by_station.get(station, ("", ""))[0]

    def take(self, station: str, *, selected: object, coming: object, report: Report) -> None:
        """Takes over what was read from the PLC; null is "none"."""
        read = (str(selected or ""), str(coming or ""))
        before = self._by_station.get(station, ("", ""))
        if read == before:
            return
        self._by_station[station] = read
        if read[1] != before[1]:
            self._check_announced(station, read[1], report)
        recipes = self._by_station.values()
        self._stage.recipes = RecipeStatus(
            selected=tuple(sorted({selected for selected, _ in recipes} & self._known)),
            coming=tuple(sorted({coming for _, coming in recipes} & self._known)),
        )
        self._changed.set()

    def _check_announced(self, station: str, coming: str, report: Report) -> None:
        unknown = coming not in ("", *self._known)
        detail = f"NextRecipe {coming} is none of {', '.join(sorted(self._known))}" if unknown else ""
        report.fault(UNKNOWN_NEXT, detail, cleared=not unknown)
        if unknown:
            self._stage.emit(Noticed(what=UNKNOWN_NEXT, subject=station, detail=detail))
