"""The handshake of a station, on our side: when the PLC may trigger, and what went wrong with its triggers.

    TriggerReady   false -> true   broker, cameras, inspect and judge are there, the PLC's recipe is known and loaded
                   true -> false   one of them is gone; ErrorCode 1 to 9 says which, and ends with its cause
    ErrorCode      20 and above    a trigger that was early, lost or double, a result that the PLC did not take:
                                   stays until the PLC counts Reset up, through restarts of either side

A part's own way (trigger, pictures, result, acknowledgement) is told by the arrivals' ring and the mailbox; parts overlap, so it
is no state of the station. docs/connect-a-station.md draws both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from schemas.plant import PlcNodes
from schemas.reasons import HandshakeCode

TEXT_LENGTH = 80
"""Characters of ErrorText at most: what a PLC's String of the usual size holds."""
COUNTS = 2**32
FIRST_FAULT = HandshakeCode.EARLY_TRIGGER
EARLY_GRACE_S = 1.0
"""A trigger so soon after TriggerReady fell is not early: the PLC could not know."""

_AWAY = {
    "station_gateway": HandshakeCode.CAMERAS_AWAY,
    "inspect": HandshakeCode.INSPECT_AWAY,
    "judge": HandshakeCode.JUDGE_AWAY,
}


class Shown(NamedTuple):
    """What the PLC is shown."""

    trigger_ready: bool
    ready_recipe: str
    trigger_seen: int
    error_code: HandshakeCode
    error_text: str


class StationHandshake:
    """One station. `changed` is set when what the PLC is shown changes, but for the trigger count. Times are monotonic s."""

    def __init__(self, *, station: str, recipes: Collection[str]) -> None:
        self.changed = asyncio.Event()
        self._station = station
        self._recipes = frozenset(recipes)
        self._not_ready, self._not_ready_text = HandshakeCode.STARTING, "the gateway has just started"
        self._not_ready_since_s = 0.0
        self._recipe = ""
        self._fault, self._fault_text = HandshakeCode.NONE, ""
        self._reset: int | None = None
        self._trigger_seen = 0
        self._recalled = False

    @property
    def shown(self) -> Shown:
        """A fault is shown before the reason why TriggerReady is false: it waits for a person."""
        ready = self._not_ready is HandshakeCode.NONE
        code, text = (self._fault, self._fault_text) if self._fault else (self._not_ready, self._not_ready_text)
        return Shown(ready, self._recipe if ready else "", self._trigger_seen, code, _fitting(text))

    def look(
        self, *, broker_away: bool, stages_away: Sequence[str], recipe: str, recipe_lacks: str, now_s: float
    ) -> None:
        """Takes in how things stand. `recipe` is what the PLC has selected, "" where it selects none; `recipe_lacks` says what of it is
        not there or not loaded yet."""
        code, text = HandshakeCode.NONE, ""
        if broker_away:
            code, text = HandshakeCode.BROKER_AWAY, "Kafka does not answer, or no stage runs"
        elif stages_away:
            code, text = _AWAY[stages_away[0]], f"not ready: {', '.join(stages_away)}"
        elif recipe and recipe not in self._recipes:
            code, text = HandshakeCode.UNKNOWN_RECIPE, f"{recipe} is none of {', '.join(sorted(self._recipes))}"
        elif recipe and recipe_lacks:
            code, text = HandshakeCode.RECIPE_LACKING, f"{recipe}: {recipe_lacks}"
        self._stand_at(code, text, now_s, recipe=recipe)

    def leave(self, *, now_s: float, why: str = "the gateway stops") -> None:
        """The gateway is about to stop, or to stop serving this station."""
        self._stand_at(HandshakeCode.STARTING, why, now_s)

    def triggered(self, count: int, *, live: bool, now_s: float) -> bool:
        """A trigger was seen; True where it came although TriggerReady had been false for a while.

        `live`: it came while the session lasted, so that the PLC could know.
        """
        self._trigger_seen = count
        early = live and self._not_ready is not HandshakeCode.NONE and now_s - self._not_ready_since_s > EARLY_GRACE_S
        if early:
            self.fail(HandshakeCode.EARLY_TRIGGER, f"trigger {count} came while TriggerReady was false")
        return early

    def fail(self, code: HandshakeCode, text: str) -> None:
        """Keeps the first fault until it is reset."""
        if not self._fault:
            self._fault, self._fault_text = code, text
            self.changed.set()

    def reset(self, count: object) -> None:
        """Takes the PLC's reset counter; counting up forgets the fault. One that falls back to 0 is a PLC that started anew, which resets
        nothing, as does what is no whole number."""
        if isinstance(count, bool) or not isinstance(count, int):
            return
        if self._reset is not None and self._fault and 0 < (count - self._reset) % COUNTS < COUNTS // 2:
            self._fault, self._fault_text = HandshakeCode.NONE, ""
            self.changed.set()
        self._reset = count

    def recall(self, code: object, text: object) -> None:
        """Takes over a fault that a former life of this gateway showed the PLC: `code` and `text` as they stand there at the first session.

        Later ones say nothing: what stands there then is ours, and may be reset already.
        """
        if self._recalled:
            return
        self._recalled = True
        if isinstance(code, int) and code >= FIRST_FAULT and code in set(HandshakeCode):
            self.fail(HandshakeCode(code), str(text or ""))

    def values(self, nodes: PlcNodes) -> dict[str, Any]:
        """What is to be written, by node; without the nodes that the PLC does not have."""
        shown = self.shown
        told = {
            nodes.trigger_ready: shown.trigger_ready,
            nodes.ready_recipe: shown.ready_recipe,
            nodes.trigger_seen: shown.trigger_seen,
            nodes.error_code: int(shown.error_code),
            nodes.error_text: shown.error_text,
        }
        return {node: value for node, value in told.items() if node is not None}

    def _stand_at(self, code: HandshakeCode, text: str, now_s: float, *, recipe: str = "") -> None:
        if (code, text, recipe) == (self._not_ready, self._not_ready_text, self._recipe):
            return
        if code and not self._not_ready:
            self._not_ready_since_s = now_s
        self._not_ready, self._not_ready_text, self._recipe = code, text, recipe
        self.changed.set()


def _fitting(text: str) -> str:
    return text if len(text) <= TEXT_LENGTH else f"{text[: TEXT_LENGTH - 3]}..."
