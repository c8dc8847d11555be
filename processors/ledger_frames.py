"""Frames in the ledger: every sequence of a camera's session ends in exactly one inspection, or was dropped for a named reason.

A sequence is published when it was read from `frames`, stands in a manifest, or has an inspection. Where no gateway writes
manifests (a plant publishes its frames itself) and pictures are too many to be read again, the offsets account for them: each
record on `frames` is named by an inspection or a dead letter, and the few that are not are read one by one.

A deferred frame (overload) is open until the backfill inspected it. It is a difference once its record cannot be there any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from processors.ledger_findings import Difference, Finding
from processors.sequence_ranges import Ranges
from schemas.codec import FrameOwner
from schemas.frames import Manifest, frame_id
from schemas.inspections import Inspection
from schemas.reasons import DropReason, FrameOutcome
from schemas.topics import FRAMES

REPLAY_MARK = "+replay-"
"""In the session of frames that a person sent again (`linesight replay`): picked ones, so gaps say nothing."""

DEFERRAL_SPAN_MS = 600_000
"""Deferrals are remembered by the span of time in which they were made, not one by one."""


class Session:
    """One session of one camera. Sequences without gaps, so its sets are a few ranges."""

    def __init__(self, camera: str, session: str) -> None:
        self.camera = camera
        self.session = session
        self.seen = Ranges()
        self.manifested = Ranges()
        self.dropped = Ranges()
        self.inspected = Ranges()
        self.deferred: dict[int, Ranges] = {}  # by the beginning of their span, ms
        self.closed = False
        self.touched_ms = 0

    @property
    def published(self) -> Ranges:
        """What reached the topic, as far as anything says."""
        return self.seen.union(self.manifested.without(self.dropped), self.inspected, *self.deferred.values())

    @property
    def waiting(self) -> Ranges:
        """Deferred and not inspected yet."""
        return Ranges().union(*self.deferred.values()).without(self.inspected)

    def defer(self, sequence: int, *, at_ms: int) -> None:
        """A frame was left to the backfill."""
        if sequence not in self.waiting:
            self.deferred.setdefault(at_ms - at_ms % DEFERRAL_SPAN_MS, Ranges()).add(sequence)

    def inspect(self, sequence: int) -> None:
        """A frame has its outcome. Spans of deferrals that are all inspected are forgotten."""
        self.inspected.add(sequence)
        for span_ms, deferred in list(self.deferred.items()):
            if sequence in deferred and not len(deferred.without(self.inspected)):
                del self.deferred[span_ms]

    @property
    def is_settled(self) -> bool:
        """Closed by its gateway with nothing left to come."""
        return self.closed and not any(self.findings(begins_midway=False))

    def findings(self, *, begins_midway: bool) -> Iterator[Finding]:
        """What does not add up. `begins_midway`: older records may be gone, so the session may seem to begin late."""
        missing = self.published.without(self.inspected).without(self.waiting)
        yield from self._found("frame_not_inspected", "one inspection", "none", missing)
        for span_ms, deferred in self.deferred.items():
            gone_ms = span_ms + DEFERRAL_SPAN_MS + FRAMES.retention_ms
            rest = deferred.without(self.inspected)
            yield from self._found("frame_not_backfilled", "one inspection", "deferred", rest, since_ms=gone_ms)
        twice = self.dropped.without(self.dropped.without(self.seen.union(self.inspected)))
        yield from self._found(
            "frame_dropped_and_published", "one outcome", "dropped by its manifest, and published", twice
        )
        if REPLAY_MARK not in self.session:
            known = self.published.union(self.dropped)
            whole = Ranges([(known.lowest if begins_midway else 0, known.highest)])
            yield from self._found(
                "frame_missing", "published or dropped", "a gap in the sequence", whole.without(known)
            )

    def _found(
        self, kind: str, expected: str, found: str, sequences: Ranges, *, since_ms: int | None = None
    ) -> Iterator[Finding]:
        for first, last in sequences:
            subject = frame_id(camera=self.camera, session=self.session, sequence=first)
            told = found if first == last else f"{found} (sequences {first} to {last})"
            difference = Difference(kind=kind, subject=subject, expected=expected, found=told)
            yield Finding(difference=difference, since_ms=self.touched_ms if since_ms is None else since_ms)


class FrameBook:
    """All sessions, and the offsets of `frames`."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._finished: dict[str, None] = {}
        self._offsets: dict[int, Ranges] = {}
        self._held: dict[int, tuple[int, int]] = {}
        self.settled_published = 0
        self.inspected = 0
        self._dropped: Counter[str] = Counter()
        self.duplicates = 0

    @property
    def published(self) -> int:
        """How many distinct frames reached the topic."""
        return self.settled_published + sum(len(session.published) for session in self._sessions.values())

    @property
    def dropped(self) -> Counter[str]:
        """How many frames ended by which reason; those that wait for the backfill are `deferred`."""
        waiting = sum(len(session.waiting) for session in self._sessions.values())
        return self._dropped + Counter({DropReason.DEFERRED.value: waiting})

    def frame(self, owner: FrameOwner | None, *, partition: int, offset: int, at_ms: int) -> None:
        """A record on `frames`. One without an owner belongs to no session: it cannot be decoded and needs its dead letter."""
        self._account(partition, offset)
        if owner is None:
            return
        session = self._session(owner.camera, owner.session, at_ms)
        if session is None or owner.sequence in session.seen:
            self.duplicates += 1
            return
        session.seen.add(owner.sequence)

    def inspection(self, inspection: Inspection, *, at_ms: int) -> None:
        """A distinct inspection."""
        self._account(inspection.frame_partition, inspection.frame_offset)
        session = self._session(inspection.camera, inspection.session, at_ms)
        if session is None or inspection.sequence in session.inspected:
            self.duplicates += not inspection.is_deferral  # an inspected frame may be deferred when it is read again
            return
        if inspection.is_deferral:
            session.defer(inspection.sequence, at_ms=at_ms)
            return
        session.inspect(inspection.sequence)
        if inspection.outcome is FrameOutcome.INSPECTED:
            self.inspected += 1
        else:
            self._dropped[inspection.reason or "unknown"] += 1

    def manifest(self, manifest: Manifest, *, at_ms: int) -> None:
        """What a gateway says it sent and dropped."""
        session = self._session(manifest.camera, manifest.session, at_ms)
        if session is None:
            return
        session.manifested.add(manifest.first_sequence, manifest.last_sequence)
        for part in manifest.dropped:
            new = Ranges([(part.first_sequence, part.last_sequence)]).without(session.dropped)
            self._dropped[part.reason] += len(new)
            session.dropped.add(part.first_sequence, part.last_sequence)
        session.closed = session.closed or manifest.closing

    def dead_letter(self, partition: int, offset: int) -> None:
        """A record on `frames` was refused."""
        self._account(partition, offset)

    def holds(self, partition: int, first: int, end: int) -> None:
        """The topic holds offsets `first` up to and without `end` now."""
        self._held[partition] = (first, end)
        self._offsets.setdefault(partition, Ranges()).add(0, first - 1)  # expired: nobody can look at them any more

    def unaccounted(self, limit: int) -> list[tuple[int, int]]:
        """At most `limit` records (partition, offset) that no inspection and no dead letter names: to be read one by one."""
        found: list[tuple[int, int]] = []
        for partition, first, last in self._unaccounted_ranges():
            for offset in range(first, last + 1):
                if len(found) == limit:
                    return found
                found.append((partition, offset))
        return found

    def close_settled(self) -> None:
        """Forgets the details of sessions that are closed and add up."""
        for key, session in list(self._sessions.items()):
            if session.is_settled:
                self.settled_published += len(session.published)
                self._finished[key] = None
                del self._sessions[key]

    def findings(self, *, newest_ms: int, begins_midway: bool) -> Iterator[Finding]:
        """Everything about frames that does not add up."""
        for session in self._sessions.values():
            yield from session.findings(begins_midway=begins_midway)
        for partition, first, last in self._unaccounted_ranges():
            difference = Difference(
                kind="frame_record_not_accounted",
                subject=f"frames/{partition}/{first}",
                expected="an inspection or a dead letter",
                found=f"neither (offsets {first} to {last})",
            )
            yield Finding(difference=difference, since_ms=newest_ms)

    def _unaccounted_ranges(self) -> Iterator[tuple[int, int, int]]:
        for partition, (first, end) in self._held.items():
            rest = Ranges([(first, end - 1)]).without(self._offsets.get(partition, Ranges()))
            yield from ((partition, low, high) for low, high in rest)

    def _account(self, partition: int, offset: int) -> None:
        if partition >= 0 and offset >= 0:
            self._offsets.setdefault(partition, Ranges()).add(offset)

    def _session(self, camera: str, name: str, at_ms: int) -> Session | None:
        """The session, made where it is new; None where it is finished and only repeats can come."""
        key = f"{camera}/{name}"
        if key in self._finished:
            return None
        session = self._sessions.setdefault(key, Session(camera, name))
        session.touched_ms = max(session.touched_ms, at_ms)
        return session

    def checkpoint(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {
            "sessions": [
                {
                    "camera": session.camera,
                    "session": session.session,
                    "seen": session.seen.as_list(),
                    "manifested": session.manifested.as_list(),
                    "dropped": session.dropped.as_list(),
                    "inspected": session.inspected.as_list(),
                    "deferred": [[span_ms, ranges.as_list()] for span_ms, ranges in session.deferred.items()],
                    "closed": session.closed,
                    "touched_ms": session.touched_ms,
                }
                for session in self._sessions.values()
            ],
            "finished": list(self._finished),
            "offsets": [[partition, ranges.as_list()] for partition, ranges in self._offsets.items()],
            "published": self.settled_published,
            "inspected": self.inspected,
            "dropped": dict(self._dropped),
            "duplicates": self.duplicates,
        }

    @staticmethod
    def from_checkpoint(kept: dict[str, Any]) -> FrameBook:
        """What `checkpoint` gave."""
        book = FrameBook()
        for item in kept["sessions"]:
            session = Session(item["camera"], item["session"])
            for name in ("seen", "manifested", "dropped", "inspected"):
                setattr(session, name, Ranges.from_list(item[name]))
            # checkpoints from before frames could be deferred do not have it
            session.deferred = {span_ms: Ranges.from_list(ranges) for span_ms, ranges in item.get("deferred", ())}
            session.closed, session.touched_ms = item["closed"], item["touched_ms"]
            book._sessions[f"{session.camera}/{session.session}"] = session
        book._finished = dict.fromkeys(kept["finished"])
        book._offsets = {partition: Ranges.from_list(ranges) for partition, ranges in kept["offsets"]}
        book.settled_published = kept["published"]
        book.inspected = kept["inspected"]
        book._dropped = Counter(kept["dropped"])
        book.duplicates = kept["duplicates"]
        return book
