"""What the section `learning` may not say although every number is in its range."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.plant import Plant
from schemas.plant_yaml import Finding


def learning_findings(plant: Plant) -> Iterator[Finding]:
    """Limits that would prove nothing, and a section that no recipe follows."""
    learning = plant.learning
    if learning is None:
        return
    if learning.canary_share_ratio in (0, 1):  # what lies outside is told by its range
        yield (
            ("learning", "canary_share_ratio"),
            "a share above 0 and below 1, such as 0.1: the others are compared with",
            None,
        )
    if learning.slower_factor < 1:
        yield ("learning", "slower_factor"), "1 or more: how many times as long a version may take", None
    if not 0 < learning.p_value <= 0.05:
        yield (
            ("learning", "p_value"),
            "above 0, at most 0.05: chance must not let versions go, and not excuse all of them",
            None,
        )
    pins = [pin for recipe in plant.recipes for inspection in recipe.inspections for pin in inspection.models]
    if plant.recipes and not any(pin.follow for pin in pins):
        yield (
            ("learning",),
            "a recipe whose model says `follow: true`: no recipe follows the versions that are learned here",
            None,
        )
