"""What a PLC reports. One topic, several kinds, told apart by the `kind` field."""

from __future__ import annotations

from enum import StrEnum

from schemas.message import Message


class PartArrived(Message, tag_field="kind", tag="part_arrived", frozen=True, kw_only=True):
    """A part entered a station. Self-contained: nothing else need be known to judge it.

    `id` is `station/part_id/visit/arrived`. `visit` counts from 1 how often the part came to this station (rework).
    `trigger_count` is the PLC's counter within `plc_session`. `occurred_at_ns` is the PLC's clock, for the record;
    deadlines count from the broker's time of this record. `labels` are what else the PLC knows of the part, by the names of the
    plant file: tool, cavity, supplier.
    """

    station: str
    part_id: str
    visit: int
    recipe: str
    expected_views: tuple[str, ...]
    trigger_count: int
    occurred_at_ns: int
    batch: str = ""
    plc_session: str = ""
    labels: dict[str, str] = {}


class PartLeft(Message, tag_field="kind", tag="part_left", frozen=True, kw_only=True):
    """A part passed the gate. `lane` is `good`, `reject` or `unknown`; `by_fail_safe` when the PLC decided alone."""

    station: str
    part_id: str
    visit: int
    lane: str
    by_fail_safe: bool
    occurred_at_ns: int


class RejectConfirmed(Message, tag_field="kind", tag="reject_confirmed", frozen=True, kw_only=True):
    """The reject gate really moved for this part (end position switch and lane sensor)."""

    station: str
    part_id: str
    visit: int
    occurred_at_ns: int


class RecipeChanged(Message, tag_field="kind", tag="recipe_changed", frozen=True, kw_only=True):
    """The PLC selected another recipe for the parts that arrive from now on."""

    station: str
    recipe: str
    occurred_at_ns: int


class LineMode(StrEnum):
    """State of the line as the PLC reports it (PackML states, reduced)."""

    RUNNING = "running"
    STOPPED = "stopped"
    HELD = "held"


class LineStateChanged(Message, tag_field="kind", tag="line_state", frozen=True, kw_only=True):
    """The line changed its state; `cause` is the PLC's text or the command id that asked for it."""

    station: str
    mode: LineMode
    cause: str
    occurred_at_ns: int


class PlcFault(Message, tag_field="kind", tag="fault", frozen=True, kw_only=True):
    """Something the PLC or its gateway noticed: `code` from a short list: `plc_away`, `heartbeat_lost`,
    `node_fault` (a node of the station is missing or cannot be used: the station is not served until it is right again),
    `early_trigger` (a part came while TriggerReady was false), `unknown_next_recipe` (the PLC announces what the plant file does not know),
    `writes_forbidden`, `error_text_refused` (the PLC refuses the text of ErrorText),
    `second_writer` (another gateway's heartbeat stands where ours should: two lines command one PLC),
    and, as moments that are over when they are told (`cleared`), `arrivals_missed` and `departures_missed`: entries that left the
    PLC's ring before they were read, `double_trigger` and `double_departure`: a part and visit that were told already, and
    `departure_without_part`: nobody can say which part left."""

    station: str
    code: str
    detail: str
    occurred_at_ns: int
    cleared: bool = False


PlcEvent = PartArrived | PartLeft | RejectConfirmed | RecipeChanged | LineStateChanged | PlcFault
