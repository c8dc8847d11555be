"""What a plant file may say about challenge parts: known-bad parts by which a station proves that it still finds them."""

from __future__ import annotations

from schemas.section import Section


class ChallengePart(Section, frozen=True, kw_only=True):
    """A known-bad part. It is recognised by its id (`part_id`, where `*` stands for any characters) or by its `labels`, all of which the
    PLC has to give it.

    It passes when its verdict is NOT_OK with a defect of one of the classes `expects` (any class where there is none), in the view `view`
    where one is named.
    """

    name: str
    part_id: str | None = None
    labels: dict[str, str] = {}
    expects: tuple[str, ...] = ()
    view: str | None = None


class Challenges(Section, frozen=True, kw_only=True):
    """The challenge parts of a station. Each has to pass within every `every_ms` in which other parts came, or `per_shift` times in every
    shift (of `statistics.shifts`): once in each of as many equal spans. Neither: whenever somebody brings one."""

    parts: tuple[ChallengePart, ...] = ()
    every_ms: int | None = None
    per_shift: int | None = None

    def part(self, name: str) -> ChallengePart | None:
        """The challenge part of that name."""
        return next((part for part in self.parts if part.name == name), None)
