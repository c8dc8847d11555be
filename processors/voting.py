"""Which defects count under a recipe, and when those that count make a part NOT_OK.

Every rule is monotone: another defect never turns NOT_OK back into something else. So NOT_OK is certain as soon as the rule
is met, also while views are missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from schemas.inspections import Defect
from schemas.recipes import AnyDefect, DefectClass, KOfN, Recipe, Voting


def counting(defects: Iterable[Defect], recipe: Recipe) -> tuple[Defect, ...]:
    """The defects that meet the limits of their class: score and area (px of the original frame) at least the minimum.

    A class that the recipe does not list has the limits of a listed one that sets none (`DefectClass`: score 0.5, any area):
    a defect that nobody thought of when writing the recipe is still a defect.
    """
    limits = {item.name: item for item in recipe.classes}
    return tuple(defect for defect in defects if _counts(defect, limits.get(defect.class_name) or DefectClass(name="")))


def _counts(defect: Defect, limit: DefectClass) -> bool:
    return defect.score >= limit.minimum_score and defect.area_px >= limit.minimum_area_px


def votes_not_ok(voting: Voting, views: Mapping[str, Sequence[Defect]]) -> bool:
    """Whether the rule makes the part NOT_OK; `views` holds the defects that count, by view."""
    if isinstance(voting, AnyDefect):
        return any(views.values())
    if isinstance(voting, KOfN):
        return sum(1 for defects in views.values() if defects) >= voting.k
    return any(views.values()) and _score_sum(views) >= voting.threshold


def _score_sum(views: Mapping[str, Sequence[Defect]]) -> float:
    # fsum: the sum, and so the verdict, does not depend on the order in which the views came
    return math.fsum(defect.score for defects in views.values() for defect in defects)
