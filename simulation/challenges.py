"""The known-bad parts that the simulated plant brings: each of the plant file's that it can draw, first of all and then on schedule."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count

from schemas.challenges import ChallengePart, Challenges
from simulation.defects import DefectKind
from simulation.scenario import PlannedPart

FIRST_NUMBER = 1_000_000
"""Challenge parts are numbered apart, so that they change nothing of the others."""
EARLIER_RATIO = 0.5
"""A scheduled challenge comes when so much of `every_ms` has passed."""


def with_challenges(
    parts: Iterable[PlannedPart], challenges: Challenges, *, rate_per_s: float, session: str, recipe: str
) -> Iterator[PlannedPart]:
    """`parts`, with the challenge parts before the first of them, and again where `every_ms` asks for it."""
    drawn = [part for part in challenges.parts if part.part_id is not None and _kinds(part)]
    every = _parts_between(challenges, rate_per_s)
    numbers = count(FIRST_NUMBER)
    for place, part in enumerate(parts):
        if place == 0 or (every and place % every == 0):
            for each in drawn:
                yield _challenge(each, next(numbers), session=session, recipe=recipe)
        yield part


def _challenge(part: ChallengePart, number: int, *, session: str, recipe: str) -> PlannedPart:
    # each comes once under its id: a second visit is a part that was repaired
    own = f"{session}-{number - FIRST_NUMBER + 1}"
    return PlannedPart(
        number=number,
        recipe=recipe,
        batch=0,
        defects=tuple(_kinds(part)[:1]),
        lighting_drift_ratio=0.0,
        challenge=(part.part_id or "").replace("*", own),
    )


def _kinds(part: ChallengePart) -> Sequence[DefectKind]:
    """The defects by which it can be bad."""
    return [kind for kind in DefectKind if not part.expects or kind.value in part.expects]


def _parts_between(challenges: Challenges, rate_per_s: float) -> int:
    return 0 if challenges.every_ms is None else max(1, int(challenges.every_ms / 1000 * EARLIER_RATIO * rate_per_s))
