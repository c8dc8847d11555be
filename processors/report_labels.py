"""The decided parts of a period with everything that they can be told apart by: recipe, batch, labels of the PLC, shift, camera."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from zoneinfo import ZoneInfo

from processors.quality.association import Part
from processors.shift_calendar import ShiftCalendar
from processors.statistics_counts import camera_shares
from schemas.reasons import VerdictValue
from schemas.statistics_settings import StatisticsSettings
from schemas.verdicts import Verdict


def labelled(verdicts: Iterable[Verdict], settings: StatisticsSettings) -> Iterator[Part]:
    """One for each decided part, and one for each look of a camera at it: bad where that camera saw a defect."""
    calendar = ShiftCalendar(settings.shifts, ZoneInfo(settings.time_zone))
    for verdict in verdicts:
        if verdict.verdict is not VerdictValue.NOT_DECIDABLE:
            yield Part(verdict.verdict is VerdictValue.NOT_OK, _labels(verdict, calendar))
        for share in camera_shares(verdict):
            if share.counts.verdict is not VerdictValue.NOT_DECIDABLE:
                yield Part(share.counts.verdict is VerdictValue.NOT_OK, {"camera": share.level})


def _labels(verdict: Verdict, calendar: ShiftCalendar) -> dict[str, str]:
    batch = {"batch": verdict.batch} if verdict.batch else {}
    shifts = [window.shift for window in calendar.containing(verdict.arrived_at_ns)]  # one at most: they do not overlap
    shift = {"shift": shifts[0]} if shifts else {}
    return {"recipe": verdict.recipe, **batch, **shift, **verdict.labels}
