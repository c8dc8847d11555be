"""A process that stood still notices it, and knows it until it is told where it stands."""

from __future__ import annotations

import time

import pytest

from topologies.standstill import STANDSTILL_S, Standstill


def test_a_standstill_is_noticed_until_it_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr(time, "clock_gettime", lambda clock: now_s if clock == time.CLOCK_BOOTTIME else 0.0)
    standstill = Standstill()
    now_s += STANDSTILL_S
    assert not standstill.noticed()
    now_s += STANDSTILL_S + 0.1
    assert standstill.noticed()
    now_s += 0.02
    assert standstill.noticed()
    standstill.forget()
    assert not standstill.noticed()
