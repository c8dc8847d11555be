"""What a quality engineer relies on: which defects count, and when they make a part NOT_OK."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged_parts import defect, recipe

from processors.voting import counting, votes_not_ok
from schemas.inspections import Defect
from schemas.recipes import AnyDefect, DefectClass, KOfN, ScoreSum, Voting

LIMITS = recipe(
    classes=(
        DefectClass(name="open", minimum_score=0.7, minimum_area_px=20.0),
        DefectClass(name="spur", minimum_score=0.0, minimum_area_px=0.0),
    )
)


@pytest.mark.parametrize(
    ("found", "counts"),
    [
        (defect("open", score=0.7, area_px=20.0), True),
        (defect("open", score=0.69, area_px=500.0), False),
        (defect("open", score=0.99, area_px=19.9), False),
        (defect("spur", score=0.01, area_px=0.0), True),
        (defect("never heard of", score=0.5, area_px=1.0), True),
        (defect("never heard of", score=0.49, area_px=900.0), False),
    ],
)
def test_a_defect_counts_when_it_meets_the_limits_of_its_class(found: Defect, counts: bool) -> None:
    assert counting([found], LIMITS) == ((found,) if counts else ())


@pytest.mark.parametrize(
    ("voting", "views", "not_ok"),
    [
        (AnyDefect(), {"left": (), "right": ()}, False),
        (AnyDefect(), {"left": (), "right": (defect(),)}, True),
        (KOfN(k=2), {"left": (defect(), defect()), "right": ()}, False),
        (KOfN(k=2), {"left": (defect(),), "right": (defect("spur"),)}, True),
        (ScoreSum(threshold=1.2), {"left": (defect(score=0.6),), "right": ()}, False),
        (ScoreSum(threshold=1.2), {"left": (defect(score=0.6),), "right": (defect(score=0.6),)}, True),
        (ScoreSum(threshold=0.0), {"left": (), "right": ()}, False),
    ],
)
def test_the_rule_decides_over_all_views(voting: Voting, views: dict[str, tuple[Defect, ...]], not_ok: bool) -> None:
    assert votes_not_ok(voting, views) is not_ok


votings = st.one_of(
    st.just(AnyDefect()),
    st.integers(1, 4).map(lambda k: KOfN(k=k)),
    st.floats(0, 5).map(lambda threshold: ScoreSum(threshold=threshold)),
)
defects = st.builds(defect, score=st.floats(0, 1))
views = st.dictionaries(st.sampled_from("abcd"), st.lists(defects, max_size=3))


@given(votings, views, st.sampled_from("abcd"), defects)
def test_another_defect_never_takes_not_ok_back(
    voting: Voting, found: dict[str, list[Defect]], view: str, another: Defect
) -> None:
    more = {**found, view: [*found.get(view, []), another]}
    assert votes_not_ok(voting, more) or not votes_not_ok(voting, found)
