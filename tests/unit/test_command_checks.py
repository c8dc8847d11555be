"""A command that no mailbox can hold is refused by name; every one that the line itself gives passes."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from mailbox_plc import asked, command

from gateways.command_checks import check_fits
from schemas.errors import Refused
from schemas.reasons import CommandKind, RefusalReason


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"visit": 70_000}, "`visit` is 70000, expected a UInt16"),
        ({"visit": -1}, "`visit` is -1, expected a UInt16"),
        ({"valid_until_ns": 2**63}, "`valid_until_ns` is 9223372036854775808, expected ns UTC, an Int64"),
        ({"part_id": "x" * 4096}, "`part_id` is 4096 characters, expected at most 256"),
        ({"id": "x" * 4096}, "`id` is 4096 characters, expected at most 1024"),
        ({"defect_x_px": math.nan}, "`defect_x_px` is nan, expected a finite number"),
        ({"value": math.inf}, "`value` is inf, expected a finite number"),
    ],
)
def test_what_no_mailbox_can_hold_is_refused_by_name(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said) as refused:
        check_fits(msgspec.structs.replace(command("p0"), **fields))
    assert refused.value.reason is RefusalReason.WRONG_TYPE


def test_what_the_line_gives_passes() -> None:
    longest = "x" * 256
    check_fits(msgspec.structs.replace(command(longest), id=f"verdict/{longest}/{longest}/65535/1", visit=65_535))
    check_fits(asked("c", CommandKind.SPEED, value=-1e308))
