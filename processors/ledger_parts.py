"""Parts in the ledger: arrived, judged once, commanded once, answered once, and seen to leave on the lane that was decided."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import msgspec

from processors.ledger_findings import Difference, Finding
from processors.part_state import PartVisit
from schemas.commands import Command, CommandResult
from schemas.plc_events import PartArrived, PartLeft, RejectConfirmed
from schemas.reasons import CommandKind, CommandOutcome, FailSafe
from schemas.verdicts import Verdict

MOST_OPEN = 100_000
DEPARTURE_MS = 3_600_000
"""How long after its verdict a part may be told to have left: a PLC gateway that was away tells it from the PLC's ring."""

GOOD, REJECT = "good", "reject"
LANE_OF = {FailSafe.PASS: GOOD, FailSafe.REJECT: REJECT}
"""Where the machine puts a part that it was told so. With `stop_line` people decide."""

MAYBE_EXECUTED = (CommandOutcome.EXPIRED, CommandOutcome.NOT_ACKNOWLEDGED)
"""The machine did not say whether it took the command; both its lane and the fail-safe's are right."""


class VisitAccount(msgspec.Struct, kw_only=True):
    """What is known of one part visit. `place` is where its arrival lies on `plc-events`; `touched_ms` is the newest record's time."""

    touched_ms: int = 0
    place: str | None = None
    action: FailSafe | None = None
    commanded: bool = False
    outcome: CommandOutcome | None = None
    lane: str | None = None
    by_fail_safe: bool = False
    confirmed: bool = False
    refused: bool = False

    def findings(self, subject: str, *, begins_midway: bool) -> Iterator[Difference]:
        """What does not add up, or not yet."""
        if self.place is None:
            if begins_midway:
                return
            yield Difference(
                kind="part_not_arrived", subject=subject, expected="an arrival", found="only what follows it"
            )
        if self.action is None:
            if not self.refused:
                yield Difference(kind="part_without_verdict", subject=subject, expected="one verdict", found="none")
            return
        if self.commanded and self.outcome is None:
            yield Difference(kind="command_without_result", subject=subject, expected="one result", found="none")
        if self.outcome is not None and not self.commanded:
            yield Difference(
                kind="result_without_command", subject=subject, expected="a command", found="only its result"
            )
        if self.lane is not None:
            yield from self._lane(subject)

    def _lane(self, subject: str) -> Iterator[Difference]:
        found = f"{self.lane} lane" + (" by the PLC's fail-safe" if self.by_fail_safe else "")
        if self.lane == REJECT and not self.confirmed:
            yield Difference(
                kind="reject_not_confirmed", subject=subject, expected="the gate's confirmation", found=found
            )
        if self.outcome is CommandOutcome.OBSERVED or self.lane not in (GOOD, REJECT):
            return
        decided = LANE_OF.get(self.action) if self.action else None
        obeyed = not self.by_fail_safe and decided in (None, self.lane)
        if self.outcome is CommandOutcome.ACKNOWLEDGED and not obeyed:
            yield Difference(
                kind="wrong_lane", subject=subject, expected=f"{decided} lane, as acknowledged", found=found
            )
        elif self.outcome in MAYBE_EXECUTED and not (obeyed or self.by_fail_safe):
            yield Difference(
                kind="wrong_lane", subject=subject, expected=f"{decided} lane or the fail-safe", found=found
            )
        elif self.outcome not in (CommandOutcome.ACKNOWLEDGED, *MAYBE_EXECUTED) and not self.by_fail_safe:
            yield Difference(kind="left_without_command", subject=subject, expected="the PLC's fail-safe", found=found)


class PartBook:
    """All part visits and orders (commands that are about no part), the least recently touched first."""

    def __init__(self) -> None:
        self._visits: OrderedDict[str, VisitAccount] = OrderedDict()
        self._orders: OrderedDict[str, VisitAccount] = OrderedDict()
        self._refused: OrderedDict[str, None] = OrderedDict()  # dead letters that were read before their arrival
        self.given_up: list[Finding] = []
        self.given_up_count = 0

    def arrived(self, event: PartArrived, *, place: str, at_ms: int) -> None:
        """A part entered its station; `place` is `topic/partition/offset`."""
        account = self._visit(event.station, event.part_id, event.visit, at_ms)
        account.place = place
        if place in self._refused:
            del self._refused[place]
            account.refused = True

    def refused(self, place: str) -> None:
        """An arrival became a dead letter: it needs no verdict, though it may have one."""
        for account in self._visits.values():
            if account.place == place:
                account.refused = True
                return
        self._refused[place] = None
        if len(self._refused) > MOST_OPEN:
            self._refused.popitem(last=False)

    def judged(self, verdict: Verdict, *, at_ms: int) -> None:
        """The line's own verdict."""
        self._visit(verdict.station, verdict.part_id, verdict.visit, at_ms).action = verdict.action

    def commanded(self, command: Command, *, at_ms: int) -> None:
        """A write was asked for."""
        self._account_of(command, at_ms).commanded = True

    def answered(self, result: CommandResult, *, at_ms: int) -> None:
        """What became of it."""
        self._account_of(result, at_ms).outcome = result.outcome

    def left(self, event: PartLeft, *, at_ms: int) -> None:
        """A part passed the gate."""
        account = self._visit(event.station, event.part_id, event.visit, at_ms)
        account.lane, account.by_fail_safe = event.lane, event.by_fail_safe

    def confirmed(self, event: RejectConfirmed, *, at_ms: int) -> None:
        """The gate really moved."""
        self._visit(event.station, event.part_id, event.visit, at_ms).confirmed = True

    def close_settled(self, *, before_ms: int) -> None:
        """Forgets visits that nothing came about since `before_ms` and that add up; those that have not left, `DEPARTURE_MS` later:
        a gateway that was away tells of them when it is back. Over 100,000 others the oldest are given up: they stay differences,
        without details."""
        for book in (self._visits, self._orders):
            for key in [key for key, account in book.items() if account.touched_ms <= before_ms]:
                may_leave = book is self._visits and book[key].lane is None
                if may_leave and book[key].touched_ms > before_ms - DEPARTURE_MS:
                    continue
                if not any(_findings(book is self._orders, key, book[key], begins_midway=False)):
                    del book[key]
        while len(self._visits) > MOST_OPEN:
            key, account = self._visits.popitem(last=False)
            for finding in _findings(False, key, account, begins_midway=False):
                self.given_up_count += 1
                if len(self.given_up) < 1_000:
                    self.given_up.append(finding)

    def findings(self, *, begins_midway: bool) -> Iterator[Finding]:
        """Everything about parts and commands that does not add up."""
        yield from self.given_up
        for key, account in self._visits.items():
            yield from _findings(False, key, account, begins_midway=begins_midway)
        for key, account in self._orders.items():
            yield from _findings(True, key, account, begins_midway=begins_midway)

    def _account_of(self, message: Command | CommandResult, at_ms: int) -> VisitAccount:
        if message.kind is CommandKind.VERDICT:
            return self._visit(message.station, message.part_id, message.visit, at_ms)
        return _touched(self._orders, message.id, at_ms)

    def _visit(self, station: str, part_id: str, visit: int, at_ms: int) -> VisitAccount:
        return _touched(self._visits, str(PartVisit(station, part_id, visit)), at_ms)

    def checkpoint(self) -> dict[str, Any]:
        """Everything, as plain values."""
        kept: dict[str, Any] = msgspec.to_builtins(
            {
                "visits": list(self._visits.items()),
                "orders": list(self._orders.items()),
                "refused": list(self._refused),
                "given_up": self.given_up,
                "given_up_count": self.given_up_count,
            }
        )
        return kept

    @staticmethod
    def from_checkpoint(kept: dict[str, Any]) -> PartBook:
        """What `checkpoint` gave."""
        book = PartBook()
        accounts = list[tuple[str, VisitAccount]]
        book._visits = OrderedDict(msgspec.convert(kept["visits"], accounts))
        book._orders = OrderedDict(msgspec.convert(kept["orders"], accounts))
        book._refused = OrderedDict.fromkeys(kept["refused"])
        book.given_up = msgspec.convert(kept["given_up"], list[Finding])
        book.given_up_count = kept["given_up_count"]
        return book


def _touched(book: OrderedDict[str, VisitAccount], key: str, at_ms: int) -> VisitAccount:
    account = book.setdefault(key, VisitAccount())
    account.touched_ms = max(account.touched_ms, at_ms)
    book.move_to_end(key)
    return account


def _findings(is_order: bool, key: str, account: VisitAccount, *, begins_midway: bool) -> Iterator[Finding]:
    if is_order:
        # an order is about no part: only its answer is missing, or its question
        account = msgspec.structs.replace(account, place="", action=FailSafe.STOP_LINE)
    for difference in account.findings(key, begins_midway=begins_midway):
        yield Finding(difference=difference, since_ms=account.touched_ms)
