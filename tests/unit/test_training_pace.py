"""Training takes the number of threads that is quicker on the machine as it is, and finds out when that changes."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from training.pace import Pace, most_threads


def run(pace: Pace, steps: range, seconds: Callable[[int], float]) -> list[int]:
    """Threads of each step, which takes as long as `seconds` says of that many."""
    taken = []
    for step in steps:
        threads = pace.threads(step)
        pace.took(step, seconds(threads))
        taken.append(threads)
    return taken


@given(alone_s=st.floats(0.01, 2), together_s=st.floats(0.01, 2))
def test_the_quicker_number_of_threads_does_nearly_all_steps(alone_s: float, together_s: float) -> None:
    if abs(alone_s - together_s) < 1e-6:
        return
    taken = run(Pace(2), range(200), lambda threads: alone_s if threads == 1 else together_s)
    assert taken.count(1 if alone_s < together_s else 2) >= 196


def test_it_notices_that_a_core_has_become_free() -> None:
    pace = Pace(2)
    assert run(pace, range(200), lambda threads: 0.2 * threads)[-1] == 1
    assert run(pace, range(200, 400), lambda threads: 0.2 / threads)[-1] == 2


def test_a_run_that_is_taken_up_in_between_uses_all_until_the_next_trial() -> None:
    assert run(Pace(2), range(57, 120), lambda threads: 0.1) == [2] * 63


def test_one_core_has_one_choice() -> None:
    assert set(run(Pace(1), range(300), lambda threads: 0.1)) == {1}


def test_who_starts_the_training_beside_a_line_can_keep_it_to_one_thread() -> None:
    assert most_threads(16, {"OMP_NUM_THREADS": "1"}) == 1
    assert most_threads(16, {}) == 2
    assert most_threads(1, {}) == 1
    assert most_threads(16, {"OMP_NUM_THREADS": "4,2"}) == 2
