"""The ledger: reconciles what should have happened with what did. Messages in, differences out.

- manifests and frames with inspections: every sequence of a camera's session has one inspection, or a named drop (`ledger_frames`)
- arrivals with verdicts, commands with results, verdicts with the lane that the PLC reports (`ledger_parts`)
- records that cannot be decoded with dead letters
- ids: a second record of an id is a duplicate and counted; one that says something else is a contradiction

Topics may be read in any order; what belongs together is best read together, since a ledger forgets what adds up. Memory:
open matters, a few ranges per session, and the ids of the last 200,000 messages of each topic.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from processors.distinct import Distinct, Sighting
from processors.ledger_findings import LISTED, Difference, Finding, FindingList, LedgerReport
from processors.ledger_frames import FrameBook
from processors.ledger_parts import REJECT, PartBook
from schemas.codec import FrameOwner, frame_owner
from schemas.commands import Command, CommandResult
from schemas.frames import Frame, Manifest
from schemas.inspections import Inspection
from schemas.message import Message
from schemas.plc_events import PartArrived, PartLeft, RejectConfirmed
from schemas.reasons import RefusalReason
from schemas.records import DeadLetter
from schemas.topics import (
    COMMAND_RESULTS,
    COMMANDS,
    DEAD_LETTERS,
    FRAMES,
    INSPECTIONS,
    MANIFESTS,
    PLC_EVENTS,
    VERDICTS,
    Topic,
)
from schemas.verdicts import Verdict

SETTLE_MS = 60_000
CLOSE_EVERY_MS = 10_000
REMEMBERED_LETTERS = 100_000
STATE_VERSION = 1

LEDGER_TOPICS: tuple[Topic, ...] = (
    MANIFESTS,
    INSPECTIONS,
    PLC_EVENTS,
    VERDICTS,
    COMMANDS,
    COMMAND_RESULTS,
    DEAD_LETTERS,
)
"""What a ledger is made from. `frames` may be added; without it `Ledger.holds` says what is there."""

_SAID: dict[str, Callable[[Any], Any]] = {
    # a repeated attempt takes another time, and says the same
    INSPECTIONS.name: lambda item: (
        item.part_id,
        item.visit,
        item.view,
        item.outcome,
        [d.class_name for d in item.defects],
    ),
    MANIFESTS.name: lambda item: (item.last_sequence, item.dropped),
    COMMAND_RESULTS.name: lambda item: item.outcome,
    DEAD_LETTERS.name: lambda item: (item.topic, item.partition, item.offset),
}
"""What has to be equal under an equal id, by topic; everything where nothing is said here."""


class Ledger:
    """Call `add` for every record, then `report`.

    `begins_midway`: older records than the first one given are gone (retention), so what follows from them is no difference.
    """

    def __init__(self, *, begins_midway: bool = False) -> None:
        self.begins_midway = begins_midway
        self._frames = FrameBook()
        self._parts = PartBook()
        self._distinct: dict[str, Distinct] = {topic.name: Distinct() for topic in LEDGER_TOPICS}
        self._counts: Counter[str] = Counter()
        self._duplicates: Counter[str] = Counter()
        self._contradictions: list[Difference] = []
        self._undecodable: dict[str, int] = {}  # place -> time
        self._letters: OrderedDict[str, None] = OrderedDict()
        self._newest_ms = 0
        self._closed_ms = 0

    def add(
        self,
        topic: Topic,
        message: Message | None,
        *,
        partition: int,
        offset: int,
        at_ms: int,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """A record. `message` is None where it cannot be decoded; other topics than the ledger's are passed over."""
        self._newest_ms = max(self._newest_ms, at_ms)
        place = f"{topic.name}/{partition}/{offset}"
        if topic.name == FRAMES.name:
            owner = frame_owner(headers) or (_owner(message) if isinstance(message, Frame) else None)
            self._frames.frame(owner, partition=partition, offset=offset, at_ms=at_ms)
        if topic.name != FRAMES.name and topic.name not in self._distinct:
            return
        if message is None:
            self._cannot_be_decoded(topic, place, at_ms)
        elif topic.name != FRAMES.name and self._is_new(topic, message):
            self._enter(message, place=place, at_ms=at_ms)
        if self._newest_ms - self._closed_ms >= CLOSE_EVERY_MS:
            self._closed_ms = self._newest_ms
            self._parts.close_settled(before_ms=self._newest_ms - SETTLE_MS)
            self._frames.close_settled()

    def holds(self, partition: int, first: int, end: int) -> None:
        """`frames` holds offsets `first` up to and without `end` of a partition: each has to be named by something."""
        self._frames.holds(partition, first, end)

    def unaccounted_frames(self, *, limit: int = 10_000) -> list[tuple[int, int]]:
        """Records (partition, offset) on `frames` that nothing names: read these and `add` them. See `holds`."""
        return self._frames.unaccounted(limit)

    def report(self, *, now_ns: int, settle_ms: int = SETTLE_MS) -> LedgerReport:
        """How things stand. What is younger than `settle_ms` is open and no difference; 0 when everything was drained."""
        found = FindingList(settled_before_ms=now_ns // 1_000_000 - settle_ms)
        found.add(Finding(difference=item, since_ms=0) for item in self._contradictions)
        found.add(self._frames.findings(newest_ms=self._newest_ms, begins_midway=self.begins_midway))
        found.add(self._parts.findings(begins_midway=self.begins_midway))
        found.add(self._without_letter())
        unlisted = self._parts.given_up_count - len(self._parts.given_up)
        return LedgerReport(
            balanced=found.difference_count == 0,
            differences=tuple(found.differences),
            difference_count=found.difference_count + unlisted,
            open=tuple(found.open),
            open_count=found.open_count,
            counts={
                "frames_published": self._frames.published,
                "frames_inspected": self._frames.inspected,
                **dict(sorted(self._counts.items())),
            },
            dropped=dict(sorted(self._frames.dropped.items())),
            duplicates=dict(sorted(self._all_duplicates().items())),
        )

    # --- records ----------------------------------------------------------------------------------------------------

    def _is_new(self, topic: Topic, message: Message) -> bool:
        said = _SAID.get(topic.name, lambda item: item)(message)
        sighting = self._distinct[topic.name].see(message.id, said)
        if sighting is Sighting.NEW:
            return True
        self._duplicates[topic.name] += 1
        if sighting is Sighting.CONTRADICTED and len(self._contradictions) < LISTED:
            self._contradictions.append(
                Difference(
                    kind="contradiction",
                    subject=f"{topic.name}:{message.id}",
                    expected="the same content as the first record of this id",
                    found="another content",
                )
            )
        return False

    def _enter(self, message: Message, *, place: str, at_ms: int) -> None:
        match message:
            case Inspection():
                self._frames.inspection(message, at_ms=at_ms)
            case Manifest():
                self._frames.manifest(message, at_ms=at_ms)
            case PartArrived():
                self._counts["parts_arrived"] += 1
                self._parts.arrived(message, place=place, at_ms=at_ms)
            case PartLeft():
                self._counts["parts_left"] += 1
                self._counts["parts_rejected"] += message.lane == REJECT
                self._parts.left(message, at_ms=at_ms)
            case RejectConfirmed():
                self._counts["rejects_confirmed"] += 1
                self._parts.confirmed(message, at_ms=at_ms)
            case Verdict(revision=1):
                self._counts["verdicts"] += 1
                self._parts.judged(message, at_ms=at_ms)
            case Verdict():
                self._counts["revisions"] += 1
            case Command():
                self._counts["commands"] += 1
                self._parts.commanded(message, at_ms=at_ms)
            case CommandResult():
                self._counts[f"results_{message.outcome.value}"] += 1
                self._parts.answered(message, at_ms=at_ms)
            case DeadLetter():
                self._counts["dead_letters"] += 1
                self._dead_letter(message)

    def _dead_letter(self, letter: DeadLetter) -> None:
        place = f"{letter.topic}/{letter.partition}/{letter.offset}"
        if letter.topic == FRAMES.name:
            self._frames.dead_letter(letter.partition, letter.offset)
        if letter.topic == PLC_EVENTS.name and letter.reason == RefusalReason.UNKNOWN_STATION:
            self._parts.refused(place)
        if self._undecodable.pop(place, None) is None:
            self._letters[place] = None
            if len(self._letters) > REMEMBERED_LETTERS:
                self._letters.popitem(last=False)

    def _cannot_be_decoded(self, topic: Topic, place: str, at_ms: int) -> None:
        self._counts["undecodable"] += 1
        if topic.name == DEAD_LETTERS.name:
            return  # nobody writes a letter about a letter; what it was about is missing elsewhere, if it was about something
        if place not in self._letters and len(self._undecodable) < REMEMBERED_LETTERS:
            self._undecodable[place] = at_ms

    def _without_letter(self) -> Iterator[Finding]:
        for place, at_ms in self._undecodable.items():
            difference = Difference(
                kind="record_without_dead_letter",
                subject=place,
                expected="a dead letter",
                found="a record that cannot be decoded",
            )
            yield Finding(difference=difference, since_ms=at_ms)

    def _all_duplicates(self) -> Counter[str]:
        return self._duplicates + Counter({FRAMES.name: self._frames.duplicates})

    # --- checkpoints ------------------------------------------------------------------------------------------------

    def checkpoint(self) -> dict[str, Any]:
        """Everything needed to go on later, as plain values (JSON, MessagePack), so that the ledger outlives retention."""
        return {
            "version": STATE_VERSION,
            "begins_midway": self.begins_midway,
            "frames": self._frames.checkpoint(),
            "parts": self._parts.checkpoint(),
            "distinct": {name: distinct.newest() for name, distinct in self._distinct.items()},
            "counts": dict(self._counts),
            "duplicates": dict(self._duplicates),
            "contradictions": [[item.kind, item.subject, item.expected, item.found] for item in self._contradictions],
            "undecodable": dict(self._undecodable),
            "letters": list(self._letters),
            "newest_ms": self._newest_ms,
        }

    @staticmethod
    def from_checkpoint(kept: dict[str, Any]) -> Ledger:
        """The ledger that `checkpoint` described. Raises ValueError for another version of the state."""
        if kept.get("version") != STATE_VERSION:
            raise ValueError(f"ledger checkpoint of version {kept.get('version')}; expected {STATE_VERSION}")
        ledger = Ledger(begins_midway=kept["begins_midway"])
        ledger._frames = FrameBook.from_checkpoint(kept["frames"])
        ledger._parts = PartBook.from_checkpoint(kept["parts"])
        ledger._distinct |= {name: Distinct.from_newest(pairs) for name, pairs in kept["distinct"].items()}
        ledger._counts = Counter(kept["counts"])
        ledger._duplicates = Counter(kept["duplicates"])
        ledger._contradictions = [
            Difference(kind=kind, subject=subject, expected=expected, found=found)
            for kind, subject, expected, found in kept["contradictions"]
        ]
        ledger._undecodable = dict(kept["undecodable"])
        ledger._letters = OrderedDict.fromkeys(kept["letters"])
        ledger._newest_ms = kept["newest_ms"]
        return ledger


def _owner(frame: Frame) -> FrameOwner:
    """Of a frame whose headers do not say it; its body does."""
    return FrameOwner(
        station=frame.station,
        camera=frame.camera,
        session=frame.session,
        sequence=frame.sequence,
        part_id=frame.part_id,
        view=frame.view,
        visit=frame.visit,
    )
