"""What must hold of a disturbed floor, by records that are not Linesight's claims: the PLC's log, the truth, and the topics as they lie.

Each rule returns what breaks it, a line each.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.chaos_floor.recovery import Part, Pulled, is_decided
from cli.truth import TruthFile
from gateways.interlocks import OF_A_PART
from schemas.commands import Command, CommandResult
from schemas.plant import Plant
from schemas.plc_events import PartArrived
from schemas.reasons import CommandKind, CommandOutcome, VerdictValue
from schemas.topics import COMMAND_RESULTS, COMMANDS, PLC_EVENTS, VERDICTS
from schemas.verdicts import Verdict
from topologies.topic_reader import read_topics

ON_THE_WAY_S = 0.1
"""From the gateway's last look at the validity until the PLC's cycle reads the mailbox."""
KNOWN_WITHIN_S = 0.5
"""From a part's departure until the gateway, which shares two cores with the whole line here, knows of it and has looked."""
HOLDING = ("nothing passes", "nothing passes to the PLC")
"""Ways to cut a cable that keep what is on it, as a network does that finds another way after a while."""
LATE = (CommandOutcome.REFUSED_EXPIRED, CommandOutcome.REFUSED_UNKNOWN_PART)
UNTOLD_WITHIN_S = 2.0
"""A part may be known to nobody else only where its PLC was killed so soon after its arrival."""


@dataclass(kw_only=True)
class OnTopics:
    """What lies on the topics: each id once, with every content that was found for it."""

    told: set[Part] = field(default_factory=set)
    verdicts: defaultdict[Part, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    commands: dict[str, Command] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    refused_late: set[str] = field(default_factory=set)

    def add(self, message: Any) -> None:
        """Takes in a record; verdicts are those of the line itself (revision 1)."""
        match message:
            case PartArrived():
                self.told.add((message.part_id, message.visit))
            case Verdict(revision=1):
                self.verdicts[message.part_id, message.visit].add((message.verdict.value, message.action.value))
            case Command():
                self.commands.setdefault(message.id, message)
            case CommandResult():
                self.outcomes[message.outcome.value] += 1
                if message.outcome in LATE:
                    self.refused_late.add(message.id)


async def on_topics(plant: Plant) -> OnTopics:
    """Reads the topics from their beginning to their present end."""
    found = OnTopics()
    async for stored in read_topics(plant, [PLC_EVENTS, VERDICTS, COMMANDS, COMMAND_RESULTS]):
        found.add(stored.message)
    return found


def wrong_commands(truth: TruthFile, topics: OnTopics, *, misjudged: Collection[Part]) -> list[str]:
    """Commands that the PLC executed twice, that nobody gave, that were another part's, or that contradict verdict or truth.

    Of the parts in `misjudged` the truth says nothing: `shown_again` found that the model does not know better.
    """
    broken = [
        f"{command_id}: executed {count} times"
        for command_id, count in Counter(row["command_id"] for row in truth.executed).items()
        if count > 1
    ]
    for row in truth.executed:
        broken += [f"{row['command_id']}: {why}" for why in _wrong(row, truth.parts, topics)]
    return broken + [
        f"executed {row['verdict']} for {part}, a part with defects {list(truth.parts[part])}"
        for part, row in contradicting_truth(truth).items()
        if part not in misjudged
    ]


def contradicting_truth(truth: TruthFile) -> dict[Part, Mapping[str, Any]]:
    """Parts for which a verdict was executed that is not what they are, with that command."""
    return {
        part: row
        for row in truth.executed
        if (part := (row["part_id"], row["visit"])) in truth.parts
        and row["kind"] == CommandKind.VERDICT
        and is_decided(row)
        and (row["verdict"] == VerdictValue.OK) == bool(truth.parts[part])
    }


def _wrong(row: Mapping[str, Any], parts: Mapping[Part, Sequence[str]], topics: OnTopics) -> Iterator[str]:
    given = topics.commands.get(row["command_id"])
    if given is None:
        yield "nobody gave it"
        return
    for name in ("part_id", "visit", "kind", "valid_until_ns"):
        if getattr(given, name) != row[name]:
            yield f"given with {name} {getattr(given, name)!r}, executed with {row[name]!r}"
    if row["kind"] != CommandKind.VERDICT:
        return
    part = (row["part_id"], row["visit"])
    if topics.verdicts.get(part) != {(row["verdict"], row["action"])}:
        yield f"executed {row['verdict']}/{row['action']}, the verdict was {sorted(topics.verdicts.get(part, ()))}"
    if part not in parts:
        yield "no such part came"


def stale_commands(truth: TruthFile, *, gate_after_ms: int) -> list[str]:
    """Commands that the PLC executed, by its clock, after their validity or for a part that had passed the gate."""
    broken = []
    for row in truth.executed:
        if row["at_ns"] >= row["valid_until_ns"]:
            broken.append(f"{row['command_id']}: executed {row['at_ns'] - row['valid_until_ns']} ns after its validity")
        arrived_ns = truth.arrived_at_ns.get((row["part_id"], row["visit"]))
        if arrived_ns is not None and row["at_ns"] >= arrived_ns + gate_after_ms * 1_000_000:
            broken.append(f"{row['command_id']}: executed when its part had passed the gate")
    return broken


def stale_commands_sent(truth: TruthFile, *, gate_after_ms: int, held: Collection[str] = ()) -> list[str]:
    """Commands that reached the PLC, by its clock, after their validity, or over `KNOWN_WITHIN_S` after their part had passed the gate;
    but for those that a cut cable `held`.

    Whatever the PLC made of them: a machine that checks nothing would have executed them.
    """
    broken = []
    for row in truth.asked:
        if row["command_id"] in held:
            continue
        late_s = (row["at_ns"] - row["valid_until_ns"]) / 1e9
        if late_s > ON_THE_WAY_S:
            broken.append(f"{row['command_id']}: reached the PLC {late_s:.3f} s after its validity")
        arrived_ns = truth.arrived_at_ns.get((row["part_id"], row["visit"]))
        if row["kind"] not in OF_A_PART or arrived_ns is None:
            continue
        past_s = (row["at_ns"] - arrived_ns) / 1e9 - gate_after_ms / 1000
        if past_s > KNOWN_WITHIN_S:
            broken.append(f"{row['command_id']}: reached the PLC {past_s:.3f} s after its part had passed the gate")
    return broken


def held_by_a_cable(truth: TruthFile, pulled: Sequence[Pulled]) -> set[str]:
    """Ids of the commands that were under way to the PLC when its cable was cut, and came out of it when it was whole again.

    Of each cut at most one, the first that arrives: a gateway writes the next sequence when the last one was answered. It was valid when
    the cable was cut. Nothing on our side can take it back; the validity beside it in the mailbox is for this.
    """
    held = set()
    for cut in pulled:
        if cut.kind != "cable cut" or cut.how not in HOLDING:
            continue
        came = [row for row in truth.asked if abs(row["at_ns"] - cut.over_ns) <= ON_THE_WAY_S * 1e9]
        first = min(came, key=lambda row: int(row["at_ns"]), default=None)
        if first is not None and first["valid_until_ns"] > cut.began_ns:
            held.add(str(first["command_id"]))
    return held


def refused_as_late(topics: OnTopics) -> set[str]:
    """Ids of the commands that the PLC itself had to refuse as expired or of no part that it holds, by the results on the topic.

    That is the PLC's half of the contract at work: a part may pass the gate while its command is on the way. How far on the way
    they were is `stale_commands_sent`.
    """
    return topics.refused_late


def refused_in_detail(truth: TruthFile, topics: OnTopics) -> list[dict[str, Any]]:
    """Of each of those: how long after its part's arrival it stood in the PLC's mailbox (s), and how long its validity still was (s)."""
    late = refused_as_late(topics)
    return [
        {
            "command_id": row["command_id"],
            "at_ns": row["at_ns"],
            "age_s": None if arrived_ns is None else round((row["at_ns"] - arrived_ns) / 1e9, 3),
            "valid_for_s": round((row["valid_until_ns"] - row["at_ns"]) / 1e9, 3),
        }
        for row in truth.asked
        if row["command_id"] in late
        for arrived_ns in (truth.arrived_at_ns.get((row["part_id"], row["visit"])),)
    ]


def parts_without_one_verdict(topics: OnTopics) -> list[str]:
    """Parts that the PLC told, and that have no verdict, or two that differ."""
    return [
        f"{part}: {len(topics.verdicts.get(part, ()))} verdicts"
        for part in sorted(topics.told)
        if len(topics.verdicts.get(part, ())) != 1
    ]


def parts_never_told(truth: TruthFile, topics: OnTopics, *, killed_at_ns: Sequence[int]) -> list[str]:
    """Parts that came and are not on `plc-events`, although their PLC lived on long enough to tell them."""
    return [
        f"{part}: arrived at {at_ns}"
        for part, at_ns in truth.arrived_at_ns.items()
        if part not in topics.told and not any(0 <= killed - at_ns <= UNTOLD_WITHIN_S * 1e9 for killed in killed_at_ns)
    ]
