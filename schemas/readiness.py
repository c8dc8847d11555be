"""What stages say about themselves, for those who must know before a part comes."""

from __future__ import annotations

from schemas.message import Message


class StageReadiness(Message, frozen=True, kw_only=True):
    """Whether one process of a stage has its partitions and services: said once a second, and at once when it changes.

    `id` is `stage/instance/said_at_ns`. Who says nothing for 3 s is taken for not ready. `lacking_recipes` (`name@revision`) are those
    that the process cannot do yet although it is ready: a reference of theirs is not there.
    """

    stage: str
    instance: str
    ready: bool
    said_at_ns: int
    lacking_recipes: tuple[str, ...] = ()
