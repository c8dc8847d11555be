"""Who is told of an alert, and who is not and why: one decision for each step of an alert and each receiver that it concerns.

Decisions are messages (`Notification`). They are the memory, too: after a restart the notifications on the topic are recalled first, then
responses and alerts are taken again from the beginning; what was decided is not decided again. An alert that a receiver was not told
of when it was raised (silenced, explained by a root, waiting for its escalation) is looked at with every tick, as long as it is open.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from processors.alert_responses import Responses
from processors.alert_roots import AlertRoots
from processors.distinct import Distinct, Sighting
from processors.notification_bound import HOUR_NS, HourlyBound
from processors.notification_digest import PendingDigest
from schemas.alerts import Alert, AlertState
from schemas.message import NS_PER_MS
from schemas.notifications import AlertResponse, Notification, NotificationKind, WithheldReason
from schemas.plant import Plant
from schemas.receivers import SEVERITIES, AnyReceiver, severity_level

DIGEST_AFTER_NS = 60_000_000_000
FLAPS_PER_HOUR = 3
"""Of one rule and subject: what is raised more often is told in digests."""
LATE_NS = HOUR_NS
KEPT_EPISODES = 20_000
"""Rules and subjects of which the newest episode is known; the plant has fewer, and closed ones go first."""
RECENT_NOTIFICATIONS = 20_000
LONGEST_SUMMARY = 500
MOST_EVIDENCE = 10

_RANK = {AlertState.RAISED: 0, AlertState.REPEATED: 1, AlertState.CLEARED: 2}
_DIGESTED = (WithheldReason.FLAPPING, WithheldReason.BOUNDED)
_Place = tuple[str, str]  # rule and subject
_Order = tuple[int, int, int]  # beginning of the episode, rank of the state, number of the repetition


@dataclass(slots=True)
class _Episode:
    """The newest episode of a rule and subject."""

    raised: Alert
    order: _Order
    is_open: bool = True


@dataclass(slots=True)
class _Progress:
    """What a receiver was told of the newest episode of a rule and subject that concerned it."""

    since_ns: int
    order: _Order = (0, 0, 0)
    told: bool = False  # or in the digest that is to come
    heard: bool = False
    """Whether the receiver was told that it is open, alone or in a digest, and not yet that it is over."""
    flapping: bool = False
    withheld: set[WithheldReason] = field(default_factory=set)
    raised_at_ns: deque[int] = field(default_factory=lambda: deque(maxlen=FLAPS_PER_HOUR))


@dataclass(slots=True)
class _Receiver:
    settings: AnyReceiver
    bound: HourlyBound
    is_new: bool = True
    begins_at_ns: int = 0
    pending: PendingDigest | None = None
    progress: dict[_Place, _Progress] = field(default_factory=dict)


class Notifying:
    """All receivers of a plant. First `recall` what is on `notifications`, then `begin`, then `respond`, `take` and `tick`."""

    def __init__(self, *, plant: Plant) -> None:
        self._receivers = {
            receiver.name: _Receiver(settings=receiver, bound=HourlyBound(most=receiver.max_per_hour))
            for receiver in plant.receivers
        }
        self._roots = AlertRoots(plant=plant)
        self._responses = Responses()
        self._episodes: OrderedDict[_Place, _Episode] = OrderedDict()
        self._open_roots: dict[_Place, Alert] = {}
        self._seen = Distinct(limit=RECENT_NOTIFICATIONS)

    def recall(self, notification: Notification) -> None:
        """A notification that is on the topic, in its order."""
        receiver = self._receivers.get(notification.receiver)
        if receiver is None or self._seen.see(notification.id, None) is not Sighting.NEW:
            return
        receiver.is_new = False
        self._note(receiver, notification)

    def begin(self, now_ns: int) -> None:
        """From now on. What is over and was not decided for so long (a new receiver, a pause of the stage, a rule that concerns a receiver
        since the plant file changed) is history, and nobody is told, but for the end of what was told; what is still open is told with the
        next tick."""
        for receiver in self._receivers.values():
            receiver.begins_at_ns = now_ns if receiver.is_new else now_ns - LATE_NS

    def respond(self, response: AlertResponse) -> None:
        """What a person did."""
        self._responses.take(response)

    def take(self, alert: Alert, *, now_ns: int) -> list[Notification]:
        """A step of an alert; those of a rule and subject in their order. Twice the same says nothing twice."""
        place, order = (alert.rule, alert.subject), _order(alert)
        known = self._episodes.get(place)
        if known is not None and order <= known.order:
            return []
        is_open = alert.state is not AlertState.CLEARED
        if known is None or known.raised.since_at_ns < alert.since_at_ns:
            known = self._episodes[place] = _Episode(raised=_trimmed(alert), order=order, is_open=is_open)
            self._forget_closed()
        else:
            known.order, known.is_open = order, is_open
        self._open_roots.pop(place, None)
        if is_open and self._roots.can_be_root(alert):
            self._open_roots[place] = known.raised
        return list(self._told(known, _trimmed(alert), now_ns))

    def tick(self, now_ns: int) -> list[Notification]:
        """Time has passed: escalations, ends of silences and of roots, digests."""
        self._responses.forget_expired(now_ns=now_ns)
        found = [
            notification
            for episode in self._episodes.values()
            if episode.is_open
            for notification in self._told_late(episode, now_ns)
        ]
        return found + [digest for receiver in self._receivers.values() for digest in self._digest(receiver, now_ns)]

    # --- one decision ------------------------------------------------------------------------------------------------

    def _told(self, episode: _Episode, alert: Alert, now_ns: int) -> Iterator[Notification]:
        for receiver in self._receivers.values():
            if not _concerns(receiver.settings, alert):
                continue
            progress = _progress(receiver, episode.raised)
            if _order(alert) <= progress.order:
                continue  # decided before the restart
            is_owed = alert.state is AlertState.CLEARED and progress.told
            if alert.at_ns < receiver.begins_at_ns and not is_owed:
                progress.order = _order(alert)
                continue
            yield self._decided(receiver, alert, progress, now_ns)

    def _told_late(self, episode: _Episode, now_ns: int) -> Iterator[Notification]:
        for receiver in self._receivers.values():
            if not _concerns(receiver.settings, episode.raised):
                continue
            progress = _progress(receiver, episode.raised)
            if progress.told:
                continue
            reason, because = self._against(receiver, episode.raised, progress, now_ns)
            if reason not in progress.withheld:
                yield self._emit(receiver, episode.raised, reason, because, now_ns)

    def _decided(self, receiver: _Receiver, alert: Alert, progress: _Progress, now_ns: int) -> Notification:
        if alert.state is AlertState.CLEARED and not progress.told:
            return self._emit(receiver, alert, WithheldReason.NOT_TOLD, "", now_ns)
        if alert.state is AlertState.CLEARED:  # who was told that it began is told that it ended
            return self._emit(receiver, alert, self._against_another(receiver, alert, progress, now_ns), "", now_ns)
        reason, because = self._against(receiver, alert, progress, now_ns)
        return self._emit(receiver, alert, reason, because, now_ns)

    def _against(
        self, receiver: _Receiver, alert: Alert, progress: _Progress, now_ns: int
    ) -> tuple[WithheldReason | None, str]:
        """Why the receiver is not told now of an alert that is open, and because of whom."""
        silence = self._responses.silence_of(alert, now_ns=now_ns)
        if silence is not None:
            return WithheldReason.SILENCED, silence.id
        root = self._roots.root_of(alert, self._open_roots.values())
        if root is not None:
            return WithheldReason.SUPPRESSED, root.episode
        acknowledged = self._responses.acknowledged(alert.episode)
        if acknowledged is not None:
            return WithheldReason.ACKNOWLEDGED, acknowledged.id
        waits_ms = receiver.settings.escalate_after_ms or 0
        if now_ns - self._episodes[alert.rule, alert.subject].raised.at_ns < waits_ms * NS_PER_MS:
            return WithheldReason.WAITING, ""
        return self._against_another(receiver, alert, progress, now_ns), ""

    def _against_another(
        self, receiver: _Receiver, alert: Alert, progress: _Progress, now_ns: int
    ) -> WithheldReason | None:
        """Whether one message more would be too many."""
        often = sum(at_ns > now_ns - HOUR_NS for at_ns in progress.raised_at_ns) >= FLAPS_PER_HOUR
        if progress.flapping or (often and not progress.told):
            return WithheldReason.FLAPPING
        critical, pending = alert.severity == SEVERITIES[-1], receiver.pending
        if pending is not None and (pending.holds(alert) or (pending.has_new_steps and not critical)):
            return WithheldReason.BOUNDED  # behind what waits already: steps of an alert are not told out of order
        return None if receiver.bound.may_tell(critical=critical, now_ns=now_ns) else WithheldReason.BOUNDED

    # --- what follows from it ----------------------------------------------------------------------------------------

    def _emit(
        self, receiver: _Receiver, alert: Alert, reason: WithheldReason | None, because: str, now_ns: int
    ) -> Notification:
        notification = Notification(
            id=_id(receiver, alert, reason),
            receiver=receiver.settings.name,
            kind=NotificationKind.ALERT if reason is None else NotificationKind.WITHHELD,
            at_ns=now_ns,
            alerts=(alert,),
            reason=reason,
            because=because,
        )
        self._seen.see(notification.id, None)
        self._note(receiver, notification)
        if reason is not None:
            return notification
        return msgspec.structs.replace(notification, open_severity=self._open_severity(receiver))

    def _digest(self, receiver: _Receiver, now_ns: int) -> Iterator[Notification]:
        pending = receiver.pending
        if pending is None or now_ns - pending.first_at_ns < DIGEST_AFTER_NS or not receiver.bound.may_digest(now_ns):
            return
        shown = pending.shown()
        digest = Notification(
            id=f"{receiver.settings.name}/digest/{pending.id}",
            receiver=receiver.settings.name,
            kind=NotificationKind.DIGEST,
            at_ns=now_ns,
            alerts=shown,
            open_severity=self._open_severity(receiver),
            counts=dict(pending.counts),
            left_out=pending.episodes - len(shown),
        )
        self._seen.see(digest.id, None)
        self._note(receiver, digest)
        yield digest

    def _note(self, receiver: _Receiver, notification: Notification) -> None:
        """What a decision changes: the same when it is made and when it is recalled."""
        if notification.kind is NotificationKind.DIGEST:
            self._note_digest(receiver, notification)
            return
        (alert,) = notification.alerts
        progress = _progress(receiver, alert)
        progress.order = max(progress.order, _order(alert))
        if notification.kind is NotificationKind.ALERT:
            receiver.bound.told(notification.at_ns)
            progress.heard = alert.state is not AlertState.CLEARED
        elif notification.reason in _DIGESTED:
            if receiver.pending is None:
                receiver.pending = PendingDigest(first_at_ns=notification.at_ns, first_id=alert.id)
            receiver.pending.add(alert, heard=progress.heard)
        else:
            assert notification.reason is not None, "what is withheld has a reason"
            progress.withheld.add(notification.reason)
            return
        progress.flapping = notification.reason is WithheldReason.FLAPPING
        if not progress.told and alert.state is not AlertState.CLEARED:
            progress.raised_at_ns.append(notification.at_ns)
        progress.told = alert.state is not AlertState.CLEARED

    def _note_digest(self, receiver: _Receiver, digest: Notification) -> None:
        receiver.bound.digested(digest.at_ns)
        if receiver.pending is not None:
            receiver.pending = receiver.pending.after(digest.alerts, at_ns=digest.at_ns)
        for alert in digest.alerts:
            progress = _progress(receiver, alert)
            if progress.since_ns == alert.since_at_ns:
                progress.heard = alert.state is not AlertState.CLEARED

    def _open_severity(self, receiver: _Receiver) -> str:
        told = (
            episode.raised.severity
            for place, episode in self._episodes.items()
            if episode.is_open and (progress := receiver.progress.get(place)) is not None and progress.told
        )
        return max(told, key=severity_level, default="")

    def _forget_closed(self) -> None:
        if len(self._episodes) <= KEPT_EPISODES:
            return
        closed = next((place for place, episode in self._episodes.items() if not episode.is_open), None)
        if closed is not None:
            del self._episodes[closed]
            for receiver in self._receivers.values():
                receiver.progress.pop(closed, None)


def _progress(receiver: _Receiver, alert: Alert) -> _Progress:
    """What the receiver knows of the alert's episode; nothing of one that is newer than what it knows of."""
    place = (alert.rule, alert.subject)
    known = receiver.progress.get(place)
    if known is None:
        known = receiver.progress[place] = _Progress(since_ns=alert.since_at_ns)
    elif known.since_ns < alert.since_at_ns:
        known.since_ns = alert.since_at_ns
        known.told = known.heard = known.flapping = False
        known.withheld.clear()
    return known


def _order(alert: Alert) -> _Order:
    return alert.since_at_ns, _RANK[alert.state], alert.repeat


def _id(receiver: _Receiver, alert: Alert, reason: WithheldReason | None) -> str:
    told = f"{receiver.settings.name}/{alert.id}"
    return told if reason is None else f"{told}/{reason.value}"


def _concerns(receiver: AnyReceiver, alert: Alert) -> bool:
    if receiver.rules and alert.rule not in receiver.rules:
        return False
    return severity_level(alert.severity) >= severity_level(receiver.minimum_severity)


def _trimmed(alert: Alert) -> Alert:
    """An alert short enough that fifty of them fit into a record; the whole one is on `alerts`."""
    return msgspec.structs.replace(
        alert, summary=alert.summary[:LONGEST_SUMMARY], evidence=alert.evidence[:MOST_EVIDENCE]
    )
