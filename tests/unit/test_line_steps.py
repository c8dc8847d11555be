"""Where the time of a part goes, from what its messages say."""

from __future__ import annotations

import itertools

import pytest

from benchmarks.line_steps import STEPS, LineSteps
from schemas.commands import CommandResult
from schemas.inspections import Inspection
from schemas.message import Message
from schemas.plc_events import PartArrived
from schemas.reasons import CommandKind, CommandOutcome, FailSafe, FrameOutcome, VerdictValue
from schemas.verdicts import Verdict

MS = 1_000_000
PLACE = {"station": "aoi-1", "visit": 1}


def messages(part_id: str, *took_ms: int) -> list[Message]:
    """Of a part whose steps took so long."""
    at = [1000 * MS + total * MS for total in itertools.accumulate(took_ms, initial=0)]
    place = {**PLACE, "part_id": part_id}
    return [
        PartArrived(
            id=f"{part_id}/a", recipe="r@1", expected_views=(), trigger_count=1, occurred_at_ns=at[0], batch="",
            plc_session="s", **place,
        ),
        Inspection(
            id=f"{part_id}/i", camera="c", view="v", session="s", sequence=0, outcome=FrameOutcome.INSPECTED,
            captured_at_ns=at[1], received_at_ns=at[2], inspected_at_ns=at[3], **place,
        ),
        Verdict(
            id=f"{part_id}/v", line="l", revision=1, verdict=VerdictValue.OK, action=FailSafe.REJECT, arrived_at_ns=0,
            decided_at_ns=at[4], recipe="r@1", **place,
        ),
        CommandResult(
            id=f"{part_id}/c", kind=CommandKind.VERDICT, outcome=CommandOutcome.ACKNOWLEDGED, sequence=1, attempts=1,
            finished_at_ns=at[6], written_at_ns=at[5], acknowledged_at_ns=at[6], **place,
        ),
    ]  # fmt: skip


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_steps_add_up_whatever_the_order_of_the_messages(order: tuple[int, ...]) -> None:
    steps = LineSteps()
    told = messages("p", 1, 2, 3, 4, 5, 6)
    for index in order:
        steps.add(told[index])
    assert steps.medians_ms() == dict(zip(STEPS, map(float, range(1, 7)), strict=True))


def test_parts_of_which_a_moment_is_missing_do_not_count() -> None:
    steps = LineSteps()
    for message in (
        *messages("p", 1, 1, 1, 1, 1, 1),
        *messages("q", 3, 3, 3, 3, 3, 3),
        *messages("r", 9, 9, 9, 9, 9, 9)[:3],
    ):
        steps.add(message)
    assert set(steps.medians_ms().values()) == {2.0}
    assert LineSteps().medians_ms() == {}
