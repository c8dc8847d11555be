"""Alerts and requests for retraining."""

from __future__ import annotations

from enum import StrEnum

from schemas.message import Message, Value


class AlertState(StrEnum):
    """Where an alert is in its life."""

    RAISED = "raised"
    REPEATED = "repeated"
    CLEARED = "cleared"


class Alert(Message, frozen=True, kw_only=True):
    """One step in the life of an alert.

    `id` is `<episode>/<state>/<n>`; `episode` is `rule/subject/since_ns`, the same from raised to cleared and after a restart.
    `value` and `threshold` are in the rule's own unit; `evidence` holds ids of messages that show the cause. `action` is what was asked
    of the PLC of `station`; with `approval` `required` it waits for `linesight alerts approve`.
    """

    line: str
    rule: str
    subject: str
    severity: str
    state: AlertState
    episode: str
    since_at_ns: int
    at_ns: int
    summary: str
    value: float | None = None
    threshold: float | None = None
    repeat: int = 0
    evidence: tuple[str, ...] = ()
    action: str | None = None
    station: str = ""
    approval: str = ""


class DriftEvidence(Value, frozen=True, kw_only=True):
    """Why a model should learn again: `statistic` moved from `baseline` to `observed` over `sample_size` inspections."""

    statistic: str
    baseline: float
    observed: float
    threshold: float
    sample_size: int
    p_value: float | None = None
    examples: tuple[str, ...] = ()


class RetrainingTrigger(Message, frozen=True, kw_only=True):
    """A request to retrain a model, with its evidence. `id` is `model/cause/fired_at_ns`; `cause` is `score_shift`, `image_shift`,
    `verdict_mix` or `reviews`."""

    model: str
    cause: str
    station: str
    fired_at_ns: int
    evidence: tuple[DriftEvidence, ...]
    recipe: str = ""
