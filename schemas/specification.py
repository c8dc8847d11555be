"""What a drawing or a process sheet allows: the limits that capability is told against."""

from __future__ import annotations

from schemas.section import Section


class Specification(Section, frozen=True, kw_only=True):
    """What the drawing or the process sheet allows, in the unit of what is measured; either limit may be missing. Not a control limit."""

    low: float | None = None
    high: float | None = None
