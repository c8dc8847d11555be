"""How many threads a step takes: tried from time to time, since it depends on what else the machine does. No torch.

Two threads that wait for each other at every layer are nearly twice as quick as one on two idle cores, and several times slower
where another process needs one of them, as beside a running line. Who starts the training may cap them (`OMP_NUM_THREADS`): trying two
for a moment would already take the second core from the line.
"""

from collections.abc import Mapping

MOST_THREADS = 2
CAP_VARIABLE = "OMP_NUM_THREADS"

_TRIED_EVERY_STEPS = 200
_TRIED_STEPS = 4


class Pace:
    """Tries one thread and all of them for four steps each, keeps the quicker, and tries again 200 steps later."""

    def __init__(self, most_threads: int) -> None:
        self._choices = sorted({1, most_threads})
        self._best = self._choices[-1]
        self._took_s: dict[int, list[float]] = {}

    def threads(self, step: int) -> int:
        """For this step of the run, counted from 0 or from where it was taken up."""
        trial = step % _TRIED_EVERY_STEPS // _TRIED_STEPS
        return self._choices[trial] if trial < len(self._choices) else self._best

    def took(self, step: int, seconds: float) -> None:
        """Tells how long a step took. The first one of a trial does not count: it pays for the change."""
        in_round = step % _TRIED_EVERY_STEPS
        trial = in_round // _TRIED_STEPS
        if in_round == 0:
            self._took_s = {}
        if trial >= len(self._choices) or in_round % _TRIED_STEPS == 0:
            return
        self._took_s.setdefault(self._choices[trial], []).append(seconds)
        if in_round == len(self._choices) * _TRIED_STEPS - 1:
            self._best = min(self._took_s, key=lambda threads: min(self._took_s[threads]))


def most_threads(cores: int, environment: Mapping[str, str]) -> int:
    """How many threads a step may take at most: two, where there are as many cores and nobody allows fewer."""
    cap = environment.get(CAP_VARIABLE, "")
    allowed = int(cap) if cap.isdecimal() and int(cap) > 0 else MOST_THREADS
    return max(1, min(MOST_THREADS, cores, allowed))
