"""What a stage gathers from `readiness`: which recipes PLCs want, and which of them other processes keep on the shared server."""

from __future__ import annotations

from typing import Any

from schemas.readiness import StageReadiness
from topologies.recipe_wishes import SILENT_AFTER_S, RecipeWishes


def said(stage: str, instance: str = "0", **fields: Any) -> StageReadiness:
    values = {"id": f"{stage}/{instance}/1", "ready": True, "said_at_ns": 1, **fields}
    return StageReadiness(stage=stage, instance=instance, **values)


def wishes() -> RecipeWishes:
    return RecipeWishes(stage="inspect", instance="1")


def test_several_gateways_wish_together_and_one_that_is_silent_wishes_nothing() -> None:
    heard = wishes()
    heard.hear(said("plc_gateway", "1", selected_recipes=("a@1",), next_recipes=("b@1",)), now_s=0.0)
    heard.hear(said("plc_gateway", "2", selected_recipes=("c@1",)), now_s=2.0)
    assert heard.selected(now_s=2.0) == {"a@1", "c@1"}
    assert heard.coming(now_s=2.0) == {"b@1"}
    assert heard.selected(now_s=2.1 + SILENT_AFTER_S - 2.0) == {"c@1"}
    heard.hear(said("plc_gateway", "2", selected_recipes=("d@1",)), now_s=4.0)
    assert heard.selected(now_s=4.0) == {"d@1"}, "the last word counts"


def test_what_others_have_or_are_about_to_load_is_theirs_and_what_we_say_is_not() -> None:
    heard = wishes()
    heard.hear(said("inspect", "1", warm_recipes=("ours@1",)), now_s=0.0)
    heard.hear(said("inspect", "2", warm_recipes=("a@1",), lacking_reasons={"b@1": "being loaded"}), now_s=0.0)
    heard.hear(said("backfill", "1", warm_recipes=("c@1",)), now_s=0.0)
    heard.hear(said("judge", "1", warm_recipes=("d@1",)), now_s=0.0)
    assert heard.kept(now_s=0.0) == {"a@1", "b@1", "c@1"}
    assert heard.kept(now_s=SILENT_AFTER_S + 0.1) == frozenset()


def test_a_process_that_says_nothing_of_what_it_has_may_have_everything() -> None:
    heard = wishes()
    heard.hear(said("backfill"), now_s=0.0)
    assert not heard.someone_keeps_all(now_s=0.0), "the backfill loads nothing before it is asked"
    heard.hear(said("inspect", "2"), now_s=0.0)
    assert heard.someone_keeps_all(now_s=0.0), "it is of a release that loads all of it at its start"
    heard.hear(said("inspect", "2", warm_recipes=("a@1",)), now_s=0.0)
    assert not heard.someone_keeps_all(now_s=0.0)
