"""Everything that can go wrong, by what to do about it.

LinesightError
├── Transient            try again: the broker, Triton, the PLC or the object store is away
│   └── ServiceAway      ... and it stayed away past the deadline (exit code 3)
├── Refused              this message can never succeed: dead letter with `reason`
├── StageFailed          a defect of the program or of a library: the process ends, and is started again (exit code 1)
└── Fatal                the process must stop
    ├── ConfigurationError   wrong usage or configuration (exit code 2)
    └── TopicMismatch        the broker's topics differ from the catalogue (exit code 2)
"""

from __future__ import annotations

from schemas.reasons import RefusalReason

DETAIL_LIMIT = 500


class LinesightError(Exception):
    """Root of all errors raised on purpose."""


class Transient(LinesightError):
    """The same attempt may succeed later."""


class ServiceAway(Transient):
    """A service did not answer within its deadline. The message says which, where, and what to do."""


class Refused(LinesightError):
    """This message can never succeed.

    `reason` is from the fixed list; `detail` says what was expected and what was found, for a person. It is cut to
    `DETAIL_LIMIT` characters: it may quote the message, and must fit into a dead letter beside it.
    """

    def __init__(self, reason: RefusalReason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail[:DETAIL_LIMIT]}")
        self.reason = reason
        self.detail = detail[:DETAIL_LIMIT]


class StageFailed(LinesightError):
    """A defect of the program or of a library stopped a stage. What was not finished is not committed: the next start reads it again."""


class Fatal(LinesightError):
    """The process must stop; a person has to change something."""


class ConfigurationError(Fatal):
    """Wrong usage or configuration. The message names file, line, key and what was expected where they are known."""


class TopicMismatch(Fatal):
    """A topic exists with other settings than the catalogue's. The message lists each difference."""
