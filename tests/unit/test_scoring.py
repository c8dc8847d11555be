"""Scores mean what the literature means by them."""

from hypothesis import given
from hypothesis import strategies as st

from processors.scoring import Counts, Finding, Label, PartCounts, match, overlap_ratio, score, score_parts

CLASSES = ("open", "short", "spur")
boxes = st.builds(
    lambda x, y, w, h: (x, y, x + w, y + h),
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(1, 40),
    st.integers(1, 40),
)
labels = st.lists(st.builds(Label, class_name=st.sampled_from(CLASSES), box=boxes), max_size=8)
findings = st.lists(
    st.builds(Finding, class_name=st.sampled_from(CLASSES), box=boxes, score=st.floats(0, 1)), max_size=8
)


@given(boxes, boxes)
def test_overlap_is_symmetric_and_a_share(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> None:
    assert overlap_ratio(a, b) == overlap_ratio(b, a)
    assert 0.0 <= overlap_ratio(a, b) <= 1.0
    assert overlap_ratio(a, a) == 1.0


def test_boxes_that_only_touch_do_not_overlap() -> None:
    assert overlap_ratio((0, 0, 10, 10), (10, 0, 20, 10)) == 0.0


@given(findings, labels)
def test_no_label_is_used_twice_and_every_match_overlaps(found: list[Finding], marked: list[Label]) -> None:
    used = [index for index in match(found, marked) if index is not None]
    assert len(used) == len(set(used))
    for finding, index in zip(found, match(found, marked), strict=True):
        assert index is None or overlap_ratio(finding.box, marked[index].box) > 0.33


@given(findings, labels)
def test_counts_add_up(found: list[Finding], marked: list[Label]) -> None:
    result = score([(found, marked)])
    for counts in (result.located, result.classified):
        assert counts.hits + counts.false == len(found)
        assert counts.hits + counts.missed == len(marked)


@given(labels)
def test_the_labels_themselves_score_full_marks_where_they_lie_apart(marked: list[Label]) -> None:
    apart = [Label(class_name=label.class_name, box=_moved(label, 200 * i)) for i, label in enumerate(marked)]
    found = [Finding(class_name=label.class_name, box=label.box, score=0.5) for label in apart]
    result = score([(found, apart)])
    assert result.located.f1 == result.classified.f1 == result.mean_f1 == 1.0


def _moved(label: Label, by: int) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = label.box
    return (x1 + by, y1, x2 + by, y2)


def test_the_right_place_with_the_wrong_class_counts_as_located_only() -> None:
    found = [Finding(class_name="open", box=(0, 0, 10, 10), score=1.0)]
    marked = [Label(class_name="short", box=(0, 0, 10, 10))]
    result = score([(found, marked)])
    assert result.located == Counts(hits=1)
    assert result.classified == Counts(false=1, missed=1)
    assert result.by_class == {"open": Counts(false=1), "short": Counts(missed=1)}


def test_a_second_finding_of_the_same_defect_is_false() -> None:
    found = [Finding(class_name="open", box=(0, 0, 10, n), score=s) for n, s in ((10, 0.9), (9, 0.8))]
    result = score([(found, [Label(class_name="open", box=(0, 0, 10, 10))])])
    assert result.located == Counts(hits=1, false=1)


def test_the_more_certain_finding_takes_the_label() -> None:
    found = [
        Finding(class_name="open", box=(0, 0, 10, 8), score=0.2),
        Finding(class_name="open", box=(0, 0, 10, 6), score=0.9),
    ]
    assert match(found, [Label(class_name="open", box=(0, 0, 10, 10))]) == [None, 0]


def test_f1_of_a_known_case() -> None:
    counts = Counts(hits=8, false=2, missed=4)
    assert counts.precision == 0.8
    assert counts.recall == 8 / 12
    assert abs(counts.f1 - 16 / 22) < 1e-12


def test_nothing_to_find_and_nothing_found_is_perfect() -> None:
    assert score([([], [])]).located.f1 == 1.0
    assert score([]).mean_f1 == 1.0


@given(st.lists(st.tuples(st.booleans(), st.booleans())))
def test_every_part_is_counted_once(parts: list[tuple[bool, bool]]) -> None:
    counts = score_parts(parts)
    assert counts.good + counts.bad == len(parts)
    assert counts.escapes <= counts.bad
    assert counts.overkill <= counts.good


def test_escapes_are_bad_parts_that_passed() -> None:
    parts = [(True, True), (True, False), (False, True), (False, False), (False, False)]
    assert score_parts(parts) == PartCounts(good=3, bad=2, escapes=1, overkill=1)
