"""What people did about alerts, and what was told to whom: the life of an alert after it was raised."""

from __future__ import annotations

from enum import StrEnum

from schemas.alerts import Alert
from schemas.message import Message


class ResponseKind(StrEnum):
    """What a person did about alerts."""

    ACKNOWLEDGED = "acknowledged"
    SILENCED = "silenced"
    UNSILENCED = "unsilenced"
    APPROVED = "approved"
    CLOSED = "closed"


class AlertResponse(Message, frozen=True, kw_only=True):
    """What a person did about an alert, or about all of a rule. `id` is `by/kind/target/at_ns`.

    `acknowledged` and `approved` name an `episode`; the `reason` of the latter is the outcome of its command. `silenced` holds until
    `until_at_ns` for `rule` (`*`: every rule) and `subject` (empty: every subject), with a `reason`; `unsilenced` ends the silence of
    the same rule and subject. `closed` names an `episode`, too, with a `reason`: the stage that raised it ends it.
    """

    kind: ResponseKind
    by: str
    at_ns: int
    rule: str
    subject: str = ""
    episode: str = ""
    until_at_ns: int = 0
    reason: str = ""


class NotificationKind(StrEnum):
    """What was decided for a receiver: told alone, told in a digest, or not told."""

    ALERT = "alert"
    DIGEST = "digest"
    WITHHELD = "withheld"


class WithheldReason(StrEnum):
    """Why a receiver is not told of a step of an alert. `flapping` and `bounded` come in the next digest."""

    SUPPRESSED = "suppressed"
    SILENCED = "silenced"
    ACKNOWLEDGED = "acknowledged"
    WAITING = "waiting"
    FLAPPING = "flapping"
    BOUNDED = "bounded"
    NOT_TOLD = "not_told"


class Notification(Message, frozen=True, kw_only=True):
    """What was decided about a step of an alert for one receiver. Every step that concerns a receiver has one; what was over for
    more than an hour before it could be decided has none, but the end of what was told.

    `id` is `<receiver>/<alert id>`, with `/<reason>` where it is withheld, and `<receiver>/digest/<id of the first withheld>` for a
    digest, with `/<n>` for the n-th that follows from it. `alerts` is the one step, or of a digest the newest step of each of at most 50
    episodes: first the ends of what the receiver was told of, then what is open. `counts` holds how many steps the digest is the first to
    stand for, by `<rule> <state>`, and `left_out` how many episodes are not among `alerts`: those of them that are open, and ends of what
    was told, come in the next digests. `because` is the episode of the
    root of a suppressed alert, or the id of the response that silenced or acknowledged it. `open_severity` is the highest severity of
    all that the receiver was told of and that is open; empty where nothing is.
    """

    receiver: str
    kind: NotificationKind
    at_ns: int
    alerts: tuple[Alert, ...]
    reason: WithheldReason | None = None
    because: str = ""
    open_severity: str = ""
    counts: dict[str, int] = {}
    left_out: int = 0
