"""Frames that the gateway fires itself: late, lost and double ones cost a picture, and never give a part another part's."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.software_binding import Fits, SoftwareBinding, Stray
from gateways.trigger_binding import WRAP


@dataclass(frozen=True)
class Exposure:
    """What one firing leads to: as many exposures, each delivered after a delay in s, or lost on the way (None)."""

    delays_s: tuple[float | None, ...]


EXPOSURES = st.lists(
    st.lists(st.none() | st.floats(0.001, 5.0), max_size=2).map(lambda found: Exposure(tuple(found))),
    min_size=1,
    max_size=12,
)
APART_S, TIMEOUT_S, QUIET_S = 1.0, 0.5, 0.2


class Camera:
    """A camera with a way to it: numbers its exposures, delivers them when it does, begins anew when it is told to.

    `counts_on`: its numbers go on over acquisitions. Frames of an acquisition that was ended arrive within `QUIET_S` of that, or never.
    """

    def __init__(self, firings: list[Exposure], *, counts_on: bool, first_number: int) -> None:
        self.firings = firings
        self.counts_on = counts_on
        self.first_number = self.number = first_number
        self.on_the_way: list[tuple[float, int, float, int]] = []  # arrives, number, exposed, part

    def fire(self, part: int, now_s: float) -> None:
        for place, delay_s in enumerate(self.firings[part].delays_s):
            exposed_s = now_s + 0.001 + place * 0.01
            if delay_s is not None:
                self.on_the_way.append((exposed_s + delay_s, self.number, exposed_s, part))
            self.number = 1 if self.number == WRAP else self.number + 1
        self.on_the_way.sort()

    def arrived(self, until_s: float) -> list[tuple[float, int, float, int]]:
        found = [frame for frame in self.on_the_way if frame[0] <= until_s]
        self.on_the_way = self.on_the_way[len(found) :]
        return found

    def begin_anew(self) -> None:
        self.on_the_way.clear()
        if not self.counts_on:
            self.number = self.first_number


@given(firings=EXPOSURES, counts_on=st.booleans(), first_number=st.sampled_from([0, 1, 7, WRAP - 2]))
def test_no_part_ever_gets_another_parts_picture(firings: list[Exposure], counts_on: bool, first_number: int) -> None:
    camera = Camera(firings, counts_on=counts_on, first_number=first_number)
    binding: SoftwareBinding[int] = SoftwareBinding()
    binding.begun()
    shown: dict[int, int] = {}
    for part in range(len(firings)):
        now_s = part * APART_S
        for _, number, exposed_s, of in camera.arrived(now_s):
            assert isinstance(binding.frame(number, of, exposed_s=exposed_s), Stray)
        if not binding.in_step:
            camera.begin_anew()
            binding.begun()
        binding.fired(at_s=now_s)
        camera.fire(part, now_s)
        for _, number, exposed_s, of in camera.arrived(now_s + TIMEOUT_S):
            found = binding.frame(number, of, exposed_s=exposed_s)
            if isinstance(found, Fits):
                shown[part] = found.shown
                break
            if found.ends_it:
                break
        else:
            binding.gave_up("no frame")
    assert all(part == of for part, of in shown.items())
    good = [part for part, exposure in enumerate(firings) if exposure == Exposure((0.001,))]
    after_good = [part for part in good if part == 0 or part - 1 in good]
    assert set(after_good) <= shown.keys(), "a camera that does as it is told gives every picture"


def at(
    binding: SoftwareBinding[str], frame_id: int, *, fired_s: float, exposed_s: float | None = None
) -> Fits[str] | Stray:
    binding.fired(at_s=fired_s)
    return binding.frame(frame_id, str(frame_id), exposed_s=fired_s + 0.01 if exposed_s is None else exposed_s)


def test_numbers_go_on_by_one_and_wrap() -> None:
    binding: SoftwareBinding[str] = SoftwareBinding()
    for second, number in enumerate((WRAP - 1, WRAP, 1, 2)):
        assert at(binding, number, fired_s=second) == Fits(str(number))


@pytest.mark.parametrize("number", [0, 1, 3, 200])
def test_a_frame_with_another_number_is_refused_and_says_what_was_expected(number: int) -> None:
    binding: SoftwareBinding[str] = SoftwareBinding()
    at(binding, 1, fired_s=0)
    found = at(binding, number, fired_s=1)
    assert isinstance(found, Stray)
    assert found.ends_it
    assert f"frame id {number}, expected 2" in found.why
    assert not binding.in_step
    binding.begun()
    assert at(binding, 1, fired_s=2) == Fits("1")


def test_a_second_exposure_of_the_trigger_before_has_the_right_number_and_the_wrong_time() -> None:
    binding: SoftwareBinding[str] = SoftwareBinding()
    at(binding, 1, fired_s=0)
    found = at(binding, 2, fired_s=1, exposed_s=0.05)
    assert isinstance(found, Stray)
    assert not binding.in_step


def test_a_late_frame_is_dropped_and_the_right_one_still_taken() -> None:
    binding: SoftwareBinding[str] = SoftwareBinding()
    at(binding, 5, fired_s=0)
    binding.fired(at_s=1)
    late = binding.frame(4, "late", exposed_s=0.5)
    assert isinstance(late, Stray)
    assert not late.ends_it
    assert binding.frame(6, "right", exposed_s=1.01) == Fits("right")
