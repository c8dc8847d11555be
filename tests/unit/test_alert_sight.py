"""A broker that is away makes no line silent: nothing is missing until what came meanwhile was read."""

from __future__ import annotations

from processors.alert_rules import BrokerOutage
from processors.alert_sight import Sight

S = 1_000_000_000


def test_silence_counts_while_there_is_contact_from_the_start_on() -> None:
    sight = Sight()
    assert sight.sees(in_contact=False, now_ns=1 * S), "a stage that starts has seen nothing yet that it could miss"
    assert sight.sees(in_contact=True, now_ns=2 * S)
    assert sight.sees(in_contact=True, now_ns=3 * S)


def test_silence_counts_again_five_seconds_after_the_contact_is_back() -> None:
    sight = Sight()
    sight.sees(in_contact=True, now_ns=0)
    assert not sight.sees(in_contact=False, now_ns=10 * S)
    assert not sight.sees(in_contact=False, now_ns=300 * S)
    assert not sight.sees(in_contact=True, now_ns=301 * S)
    assert not sight.sees(in_contact=True, now_ns=304 * S)
    assert sight.sees(in_contact=True, now_ns=305 * S)


def test_a_contact_that_comes_and_goes_does_not_add_up_to_sight() -> None:
    sight = Sight()
    for second in range(100):
        sees = sight.sees(in_contact=second % 4 != 3, now_ns=second * S)
        assert sees == (second < 3)


def test_a_time_without_contact_is_told_once_when_it_is_over_and_only_if_there_was_contact_before() -> None:
    sight = Sight()
    sight.sees(in_contact=False, now_ns=1 * S)
    sight.sees(in_contact=True, now_ns=2 * S)
    assert sight.take_outage() is None
    for second in range(10, 20):
        sight.sees(in_contact=False, now_ns=second * S)
        assert (sight.is_lost, sight.take_outage()) == (True, None)
    sight.sees(in_contact=True, now_ns=20 * S)
    assert (sight.is_lost, sight.take_outage()) == (False, BrokerOutage(lost_at_ns=10 * S, back_at_ns=20 * S))
    sight.sees(in_contact=True, now_ns=21 * S)
    assert sight.take_outage() is None
