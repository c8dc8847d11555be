"""Commands to a PLC and what it answered."""

from __future__ import annotations

from schemas.message import Message
from schemas.reasons import CommandKind, CommandOutcome, FailSafe, VerdictValue

PERSON_SIGNAL = "a person"
"""The signal of a stop that people ask for or approve. Two names are typed as easily as one, so people do not count twice."""


class Command(Message, frozen=True, kw_only=True):
    """A write to a PLC, as a transaction.

    `id` is `verdict/<verdict id>`, `alert/<episode>` (with `/<time>` of its approval, where it needs one),
    `andon/<notification id>` (with `/<time>` where it is asked for again) or `person/<name>/<time>`. The PLC must not execute it after
    `valid_until_ns`.
    For kind `verdict`, `part_id`, `visit`, `verdict` and `action` are set, for `reject` the first two; `reason_code` is machine
    readable. `defect_class`, `defect_view` and the centre of its box in px of that view's picture tell the highest scored defect;
    empty where there is none. Kinds `speed` and `parameter` set `value`, in the PLC's unit; `parameter` names which. `signals` are
    what saw the reason of a `stop_line`: equal ones are one signal, different ones are independent of each other.
    """

    station: str
    kind: CommandKind
    issued_at_ns: int
    valid_until_ns: int
    reason_code: str
    part_id: str = ""
    visit: int = 0
    verdict: VerdictValue | None = None
    action: FailSafe | None = None
    arrived_at_ns: int = 0
    defect_class: str = ""
    defect_view: str = ""
    defect_x_px: float = 0.0
    defect_y_px: float = 0.0
    parameter: str = ""
    value: float = 0.0
    signals: tuple[str, ...] = ()


class CommandResult(Message, frozen=True, kw_only=True):
    """What became of a command. `id` equals the command's id: one result per command.

    `sequence` is the mailbox sequence number that was used (-1: never written). `written_at_ns` is the first write,
    `acknowledged_at_ns` the PLC's echo as the gateway saw it; 0 where there was none. `parameter`, `value` and `signals` are the command's.
    """

    station: str
    kind: CommandKind
    outcome: CommandOutcome
    sequence: int
    attempts: int
    finished_at_ns: int
    detail: str = ""
    part_id: str = ""
    visit: int = 0
    arrived_at_ns: int = 0
    written_at_ns: int = 0
    acknowledged_at_ns: int = 0
    parameter: str = ""
    value: float = 0.0
    signals: tuple[str, ...] = ()
