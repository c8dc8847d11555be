"""Whether a command is one that a mailbox can hold: what is not would be written again and again, and hold up those behind it.

The judge and the alerts give no other; the topic is open to whoever may write to it.
"""

from __future__ import annotations

import math

from schemas.codec import NAME_LIMIT
from schemas.commands import Command
from schemas.errors import Refused
from schemas.reasons import RefusalReason

ID_LIMIT = 1024
"""Characters: an id is made of a station, a part and some words."""
_UINT16, _INT64 = 2**16, 2**63
_TEXTS = ("part_id", "reason_code", "defect_class", "defect_view", "parameter")
_NUMBERS = ("defect_x_px", "defect_y_px", "value")


def check_fits(command: Command) -> None:
    """Raises `Refused` where a field does not fit the type that its node has (docs/connect-a-station.md, section 4)."""
    if not 0 <= command.visit < _UINT16:
        _refuse("visit", command.visit, "a UInt16")
    if not 0 <= command.valid_until_ns < _INT64:
        _refuse("valid_until_ns", command.valid_until_ns, "ns UTC, an Int64 from 0")
    for name, limit in (("id", ID_LIMIT), *((text, NAME_LIMIT) for text in _TEXTS)):
        if (length := len(getattr(command, name))) > limit:
            _refuse(name, f"{length} characters", f"at most {limit}")
    for name in _NUMBERS:
        if not math.isfinite(number := getattr(command, name)):
            _refuse(name, number, "a finite number")


def _refuse(name: str, found: object, expected: str) -> None:
    raise Refused(RefusalReason.WRONG_TYPE, f"`{name}` is {found}, expected {expected}: no mailbox can hold it")
