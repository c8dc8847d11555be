"""The program of the simulated PLC for one station: parts held, mailbox, gate, line state. No OPC UA and no clock in here.

The contract (docs/connect-a-station.md): a command is executed only for a part that is held, only before its validity ends,
and only once per command id. A part that reaches the gate without an accepted verdict is rejected by the PLC alone.
"""

import math
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from schemas.plc_events import LineMode
from schemas.reasons import PLC_CODES, CommandKind, FailSafe, PlcAnswer, VerdictValue

RING_LENGTH = 512
"""Arrivals and departures that a reader may fall behind before it misses one: 30 s at 17 parts/s."""
HOLDS_AT_MOST = 64
"""Parts between trigger and gate."""
REJECT_TAKES_NS = 50_000_000
"""From the gate's signal until its end position switch and the lane sensor confirm the reject."""
OPERATOR_RESTARTS_AFTER_NS = 3_000_000_000
"""How long the simulated operator takes to restart a stopped line."""

_REMEMBERED_COMMANDS = 4096
_REMEMBERED_PARTS = 200_000
_CODES = {answer: code for code, answer in PLC_CODES.items()}


class StationRefuses(Exception):
    """No part can come now: the line is stopped, or the station holds as many parts as it has room for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A part that entered the station. `trigger_count` counts from 1 per session, `visit` from 1 per part."""

    trigger_count: int
    part_id: str
    visit: int
    recipe: str
    batch: str
    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """A part that passed the gate into lane `good` or `reject`. `count` counts from 1 per session."""

    count: int
    part_id: str
    visit: int
    lane: str
    by_fail_safe: bool
    reject_confirmed: bool
    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What stands in the mailbox, as it was written: nothing in it is checked yet."""

    sequence: int
    command_id: str
    kind: str
    part_id: str
    visit: int
    verdict: str
    action: str
    reason: str
    valid_until_ns: int
    parameter: str = ""
    value: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The PLC's acknowledgement: `result` is a code of `schemas.reasons.PLC_CODES`."""

    sequence: int
    command_id: str
    result: int
    at_ns: int


@dataclass(slots=True, kw_only=True)
class Scan:
    """What one cycle of the PLC did. `executed` is the request that was carried out, None where none was."""

    answer: Answer | None = None
    executed: Request | None = None
    left: list[Departure] = field(default_factory=list)
    line_changed: bool = False


@dataclass(slots=True, kw_only=True)
class _HeldPart:
    part_id: str
    visit: int
    gate_at_ns: int
    lane: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reject:
    """A part that the gate is pushing out."""

    part: _HeldPart
    confirmed_at_ns: int
    by_fail_safe: bool


class Station:
    """One station's program. Every time is an argument in ns UTC; the caller's clock must not run backwards.

    With `gate_waits` the part stays until its verdict is accepted, at most `gate_after_ms` (a bench where parts are laid
    in by hand); without it every part passes the gate exactly `gate_after_ms` after its arrival (a belt).
    """

    def __init__(self, *, name: str, session: str, gate_after_ms: int, gate_waits: bool = False) -> None:
        self.name = name
        self.session = session
        self.arrivals: deque[Arrival] = deque(maxlen=RING_LENGTH)
        self.departures: deque[Departure] = deque(maxlen=RING_LENGTH)
        self.trigger_count = 0
        self.departure_count = 0
        self.mode = LineMode.RUNNING
        self.cause = ""
        self.acknowledged_sequence = 0
        self._gate_after_ns = gate_after_ms * 1_000_000
        self._gate_waits = gate_waits
        self._held: dict[tuple[str, int], _HeldPart] = {}
        self._rejects: list[_Reject] = []
        self._visits: OrderedDict[str, int] = OrderedDict()
        self._executed: OrderedDict[str, int] = OrderedDict()
        self._restart_at_ns = 0
        self._misroutes = 0
        self.setpoints: dict[str, float] = {}
        """Values that were commanded, by parameter; the speed under the empty name."""

    @property
    def is_empty(self) -> bool:
        """Whether every part that came has left."""
        return not self._held and not self._rejects

    def arrive(self, *, part_id: str, recipe: str, batch: str, now_ns: int) -> Arrival:
        """Takes a part in and triggers the cameras. Raises `StationRefuses`."""
        if self.mode is not LineMode.RUNNING:
            raise StationRefuses(f"{self.name} is {self.mode.value}; parts come again when the operator restarts it")
        if len(self._held) >= HOLDS_AT_MOST:
            raise StationRefuses(f"{self.name} holds {HOLDS_AT_MOST} parts; feed the next one when one has left")
        visit = self._visits.pop(part_id, 0) + 1
        self._visits[part_id] = visit
        if len(self._visits) > _REMEMBERED_PARTS:
            self._visits.popitem(last=False)
        self.trigger_count += 1
        arrival = Arrival(
            trigger_count=self.trigger_count, part_id=part_id, visit=visit, recipe=recipe, batch=batch, at_ns=now_ns
        )
        self.arrivals.append(arrival)
        self._held[part_id, visit] = _HeldPart(part_id=part_id, visit=visit, gate_at_ns=now_ns + self._gate_after_ns)
        return arrival

    def misroute(self) -> None:
        """The gate fails once: the next part that it should push out goes on into the good lane."""
        self._misroutes += 1

    def scan(self, request: Request | None, *, now_ns: int) -> Scan:
        """One cycle: the operator, the gate, then the mailbox.

        The gate comes first: a verdict that is read in the cycle in which its part reaches the gate is too late.
        `request` is the mailbox when its sequence differs from the one acknowledged last, else None.
        """
        done = Scan()
        if self.mode is LineMode.STOPPED and now_ns >= self._restart_at_ns:
            self._set_line(LineMode.RUNNING, "operator", done)
        self._open_gate(now_ns, done)
        if request is not None and request.sequence != self.acknowledged_sequence:
            result = self._decide(request, now_ns, done)
            self.acknowledged_sequence = request.sequence
            done.answer = Answer(
                sequence=request.sequence, command_id=request.command_id, result=_CODES[result], at_ns=now_ns
            )
        return done

    def _decide(self, request: Request, now_ns: int, done: Scan) -> PlcAnswer:
        if request.command_id in self._executed:
            return PlcAnswer.ACCEPTED
        part = self._held.get((request.part_id, request.visit))
        refusal = _refusal(request, part, now_ns)
        if refusal is None and not self._remember(request, now_ns):
            refusal = PlcAnswer.WRONG_STATE
        if refusal is not None:
            return refusal
        match request.kind:
            case CommandKind.STOP_LINE:
                self._stop_line(request.reason, now_ns, done)
            case CommandKind.SPEED | CommandKind.PARAMETER:
                self.setpoints[request.parameter] = request.value
            case CommandKind.REJECT if part is not None:
                part.lane = "reject"
            case _ if part is not None:
                self._take_verdict(part, request, now_ns, done)
        done.executed = request
        return PlcAnswer.ACCEPTED

    def _remember(self, request: Request, now_ns: int) -> bool:
        """Keeps the command's id; forgets the oldest only when it has expired, so that no id is executed twice."""
        if len(self._executed) >= _REMEMBERED_COMMANDS:
            oldest = next(iter(self._executed))
            if self._executed[oldest] > now_ns:
                return False
            del self._executed[oldest]
        self._executed[request.command_id] = request.valid_until_ns
        return True

    def _take_verdict(self, part: _HeldPart, request: Request, now_ns: int, done: Scan) -> None:
        passes = request.verdict == VerdictValue.OK or request.action == FailSafe.PASS
        part.lane = "good" if passes else "reject"
        if self._gate_waits:
            part.gate_at_ns = now_ns
        if not passes and request.action == FailSafe.STOP_LINE:
            self._stop_line(request.reason, now_ns, done)

    def _stop_line(self, reason: str, now_ns: int, done: Scan) -> None:
        """No part arrives any more; those behind the cameras still reach the gate, which has a belt of its own."""
        self._restart_at_ns = now_ns + OPERATOR_RESTARTS_AFTER_NS
        self._set_line(LineMode.STOPPED, reason, done)

    def _set_line(self, mode: LineMode, cause: str, done: Scan) -> None:
        self.mode, self.cause = mode, cause
        done.line_changed = True

    def _open_gate(self, now_ns: int, done: Scan) -> None:
        for part in [part for part in self._held.values() if part.gate_at_ns <= now_ns]:
            del self._held[part.part_id, part.visit]
            if part.lane == "good" or self._gate_fails():
                self._depart(part, lane="good", by_fail_safe=False, now_ns=now_ns, done=done)
            else:
                due_ns = now_ns + REJECT_TAKES_NS
                self._rejects.append(_Reject(part=part, confirmed_at_ns=due_ns, by_fail_safe=part.lane is None))
        while self._rejects and self._rejects[0].confirmed_at_ns <= now_ns:
            reject = self._rejects.pop(0)
            self._depart(reject.part, lane="reject", by_fail_safe=reject.by_fail_safe, now_ns=now_ns, done=done)

    def _gate_fails(self) -> bool:
        failing = self._misroutes > 0
        self._misroutes -= failing
        return failing

    def _depart(self, part: _HeldPart, *, lane: str, by_fail_safe: bool, now_ns: int, done: Scan) -> None:
        self.departure_count += 1
        departure = Departure(
            count=self.departure_count,
            part_id=part.part_id,
            visit=part.visit,
            lane=lane,
            by_fail_safe=by_fail_safe,
            reject_confirmed=lane == "reject",
            at_ns=now_ns,
        )
        self.departures.append(departure)
        done.left.append(departure)


def _refusal(request: Request, part: _HeldPart | None, now_ns: int) -> PlcAnswer | None:
    """Why the PLC will not do this; None where nothing speaks against it."""
    if not _makes_sense(request):
        return PlcAnswer.INVALID
    if request.valid_until_ns <= now_ns:
        return PlcAnswer.EXPIRED
    if request.kind not in (CommandKind.VERDICT, CommandKind.REJECT):
        return None
    if part is None:
        return PlcAnswer.UNKNOWN_PART
    taken = part.lane is not None and request.kind == CommandKind.VERDICT
    return PlcAnswer.WRONG_STATE if taken else None


def _makes_sense(request: Request) -> bool:
    names_part = bool(request.part_id) and request.visit >= 1
    sensible: dict[str, bool] = {
        CommandKind.VERDICT: names_part and request.verdict in set(VerdictValue) and request.action in set(FailSafe),
        CommandKind.REJECT: names_part,
        CommandKind.STOP_LINE: True,
        CommandKind.SPEED: math.isfinite(request.value),
        CommandKind.PARAMETER: bool(request.parameter) and math.isfinite(request.value),
    }
    return bool(request.command_id) and sensible.get(request.kind, False)
