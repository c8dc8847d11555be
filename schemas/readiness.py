"""What stages say about themselves, for those who must know before a part comes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.message import Message


class StageReadiness(Message, frozen=True, kw_only=True):
    """Whether one process of a stage has its partitions and services: said once a second, and at once when it changes.

    `id` is `stage/instance/said_at_ns`. Who says nothing for 3 s is taken for not ready. Recipes are named `name@revision`.

    Of inspect: `lacking_recipes` are those that the process cannot do yet although it is ready: not loaded, or a reference of theirs is
    not there. `warm_recipes` are loaded, proved and warmed up. `lacking_reasons` says of each recipe that is wanted and lacking what it
    waits for. Of the PLC gateway: the `selected_recipes` of its stations, and the `next_recipes` that their PLCs announce.
    """

    stage: str
    instance: str
    ready: bool
    said_at_ns: int
    lacking_recipes: tuple[str, ...] = ()
    warm_recipes: tuple[str, ...] = ()
    lacking_reasons: dict[str, str] = {}
    selected_recipes: tuple[str, ...] = ()
    next_recipes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeStatus:
    """What a stage says of recipes on `readiness`, as `StageReadiness` has it."""

    lacking: tuple[str, ...] = ()
    warm: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    selected: tuple[str, ...] = ()
    coming: tuple[str, ...] = ()
