"""`make chaos-floor`: its plan, its certificates, and what it calls wrong, stale, lost and normal."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.chaos_floor.accounts import (
    OnTopics,
    held_by_a_cable,
    parts_never_told,
    parts_without_one_verdict,
    refused_as_late,
    refused_in_detail,
    stale_commands,
    stale_commands_sent,
    wrong_commands,
)
from benchmarks.chaos_floor.papers import ENDED, GOOD, Papers
from benchmarks.chaos_floor.pulls import KINDS, pulls_of
from benchmarks.chaos_floor.recovery import Normality, Pulled, Recovery, recoveries
from benchmarks.chaos_floor.report import pulls_without_trace
from cli.truth import TruthFile
from gateways.certificates import belong_together, read_facts
from schemas.commands import Command, CommandResult
from schemas.plc_events import PartArrived
from schemas.reasons import CommandKind, CommandOutcome, FailSafe, VerdictValue
from schemas.verdicts import Verdict

SECOND_NS = 1_000_000_000
GATE_MS = 2000
BEGIN_NS = 1_000 * SECOND_NS


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_each_kind_comes_as_often_as_every_other_and_all_follow_from_the_seed(count: int, seed: int) -> None:
    pulls = pulls_of(count, seed=seed)
    often = Counter(pull.kind for pull in pulls)
    assert len(pulls) == count
    assert all(count // len(KINDS) <= often[kind] <= count // len(KINDS) + 1 for kind in KINDS)
    assert pulls == pulls_of(count, seed=seed)


def test_the_variants_of_a_kind_come_in_turn_and_the_order_is_another_with_another_seed() -> None:
    pulls = pulls_of(200, seed=7)
    for kind, variants in KINDS.items():
        often = Counter(pull.how for pull in pulls if pull.kind == kind)
        assert max(often.values()) - min(often.values()) <= 1
        assert len(often) == len(variants)
    assert pulls != pulls_of(200, seed=8)


def test_our_certificate_is_the_good_one_or_one_that_has_ended_with_its_own_key(tmp_path: Path) -> None:
    papers = Papers(folder=tmp_path)
    papers.issue()
    place = papers.line / "linesight.der"
    assert read_facts(papers.line / "plc-1.der") == read_facts(papers.plc(GOOD))
    for which, has_ended in ((GOOD, False), (ENDED, True), (GOOD, False)):
        papers.show(which)
        facts = read_facts(place)
        assert (facts.valid_until <= dt.datetime.now(dt.UTC)) is has_ended
        assert belong_together(place, papers.line / "linesight.key")
        # the PLC knows it, so it is refused for its date alone
        assert facts in [read_facts(trusted) for trusted in papers.trusted.glob("*.der")]


class Line:
    """Parts of a second's distance that all went well; a test spoils one thing. `truth` is the PLC's log."""

    def __init__(self, tmp_path: Path, *, parts: int) -> None:
        self.truth = TruthFile(path=tmp_path / "truth.jsonl")
        self.topics = OnTopics()
        self.misjudged: frozenset[tuple[str, int]] = frozenset()
        for number in range(parts):
            self.comes(number)

    def comes(self, number: int) -> None:
        """A bad part where the number is odd."""
        part_id, at_ns, is_bad = f"p{number}", BEGIN_NS + number * SECOND_NS, number % 2 == 1
        value = VerdictValue.NOT_OK if is_bad else VerdictValue.OK
        place = {"station": "aoi-1", "part_id": part_id, "visit": 1}
        command = Command(
            id=f"verdict/{part_id}", kind=CommandKind.VERDICT, issued_at_ns=at_ns, valid_until_ns=at_ns + 2 * SECOND_NS,
            reason_code="", verdict=value, action=FailSafe.REJECT, **place,
        )  # fmt: skip
        self.truth.parts[part_id, 1] = ("open",) if is_bad else ()
        self.truth.arrived_at_ns[part_id, 1] = at_ns
        self.truth.executed.append(
            {
                "command_id": command.id, "part_id": part_id, "visit": 1, "kind": "verdict", "verdict": value.value,
                "action": "reject", "at_ns": at_ns + SECOND_NS // 10, "valid_until_ns": command.valid_until_ns, "sequence": number + 1,
            }
        )  # fmt: skip
        self.truth.asked.append({**self.truth.executed[-1], "result": 1})
        self.topics.add(
            PartArrived(
                id=f"a/{part_id}",
                recipe="board@1",
                expected_views=(),
                trigger_count=number,
                occurred_at_ns=at_ns,
                **place,
            )
        )
        self.topics.add(command)
        self.topics.add(self.verdict(part_id, value))

    def verdict(self, part_id: str, value: VerdictValue) -> Verdict:
        """The line's own verdict of a part."""
        return Verdict(
            id=f"v/{part_id}", station="aoi-1", line="l", part_id=part_id, visit=1, revision=1, verdict=value,
            action=FailSafe.REJECT, arrived_at_ns=0, decided_at_ns=0, recipe="board@1",
        )  # fmt: skip

    def broken(self, *, killed_at_ns: tuple[int, ...] = ()) -> dict[str, list[str]]:
        """What the rules say, without those that hold."""
        rules = {
            "wrong": wrong_commands(self.truth, self.topics, misjudged=self.misjudged),
            "stale": stale_commands(self.truth, gate_after_ms=GATE_MS),
            "sent stale": stale_commands_sent(self.truth, gate_after_ms=GATE_MS),
            "verdict": parts_without_one_verdict(self.topics),
            "told": parts_never_told(self.truth, self.topics, killed_at_ns=killed_at_ns),
        }
        return {name: lines for name, lines in rules.items() if lines}


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path, parts=6)


def test_a_line_on_which_all_went_well_breaks_no_rule(line: Line) -> None:
    assert line.broken() == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"command_id": "verdict/p9"},  # nobody gave it
        {"command_id": "verdict/p1"},  # payload and id of two commands
        {"part_id": "p3"},
        {"visit": 2},
        {"verdict": "OK", "action": "pass"},
        {"verdict": "NOT_DECIDABLE"},
        {"valid_until_ns": BEGIN_NS + 9 * SECOND_NS},
    ],
)
def test_a_command_that_was_not_given_so_is_wrong(line: Line, changes: dict[str, Any]) -> None:
    line.truth.executed[5] |= changes
    assert "wrong" in line.broken()


def test_a_command_that_contradicts_the_truth_is_wrong_either_way(line: Line) -> None:
    for part, classes in ((("p1", 1), ()), (("p2", 1), ("short",))):
        kept, line.truth.parts[part] = line.truth.parts[part], classes
        assert len(line.broken()["wrong"]) == 1
        line.misjudged = frozenset([part])  # the model says so of this very picture, whatever is pulled out
        assert line.broken() == {}
        line.misjudged = frozenset([("p3", 1)])
        assert len(line.broken()["wrong"]) == 1
        line.misjudged, line.truth.parts[part] = frozenset(), kept


def test_a_command_is_wrong_the_second_time(line: Line) -> None:
    line.truth.executed.append(line.truth.executed[2])
    assert line.broken() == {"wrong": ["verdict/p2: executed 2 times"]}


@pytest.mark.parametrize("late_ns", [-1, 0, SECOND_NS])
def test_a_command_after_its_validity_is_stale(line: Line, late_ns: int) -> None:
    row = line.truth.executed[0]
    valid_until_ns = BEGIN_NS + SECOND_NS
    line.topics.commands[row["command_id"]] = _valid_until(line.topics.commands[row["command_id"]], valid_until_ns)
    row |= {"valid_until_ns": valid_until_ns, "at_ns": valid_until_ns + late_ns}
    assert list(line.broken()) == (["stale"] if late_ns >= 0 else [])


def _valid_until(command: Command, at_ns: int) -> Command:
    fields = {name: getattr(command, name) for name in command.__struct_fields__}
    return Command(**{**fields, "valid_until_ns": at_ns})


def test_a_command_for_a_part_past_the_gate_is_stale_however_long_it_is_valid(line: Line) -> None:
    row = line.truth.executed[0]
    far_ns = BEGIN_NS + 60 * SECOND_NS
    line.topics.commands[row["command_id"]] = _valid_until(line.topics.commands[row["command_id"]], far_ns)
    row |= {"valid_until_ns": far_ns, "at_ns": BEGIN_NS + GATE_MS * 1_000_000}
    assert list(line.broken()) == ["stale"]


@pytest.mark.parametrize(("late_s", "stale"), [(0.0, False), (0.09, False), (0.2, True), (20.0, True)])
def test_a_command_that_comes_after_its_validity_was_sent_stale_although_the_plc_refuses_it(
    line: Line, late_s: float, stale: bool
) -> None:
    row = line.truth.asked[0]
    row |= {
        "result": 3,
        "valid_until_ns": BEGIN_NS + SECOND_NS,
        "at_ns": BEGIN_NS + SECOND_NS + round(late_s * SECOND_NS),
    }
    assert list(line.broken()) == (["sent stale"] if stale else [])


def test_what_lay_on_a_cut_cable_was_not_sent_stale_and_it_is_one_command_at_most(line: Line) -> None:
    over_ns = BEGIN_NS + 4 * SECOND_NS
    late = {"result": 3, "valid_until_ns": BEGIN_NS + SECOND_NS, "at_ns": over_ns + SECOND_NS // 100}

    def sent_stale(how: str, *, began_ns: int) -> list[str]:
        cut = Pulled(kind="cable cut", how=how, began_ns=began_ns, over_ns=over_ns)
        return stale_commands_sent(line.truth, gate_after_ms=GATE_MS, held=held_by_a_cable(line.truth, [cut]))

    line.truth.asked[0] |= late
    assert sent_stale("nothing passes to the PLC", began_ns=BEGIN_NS) == []
    assert sent_stale("connections reset", began_ns=BEGIN_NS) != [], "nothing lies on a connection that is gone"
    assert sent_stale("nothing passes", began_ns=BEGIN_NS + 2 * SECOND_NS) != [], "it had expired before the cut"
    line.truth.asked[1] |= late | {"at_ns": late["at_ns"] + 1}
    assert all(told.startswith("verdict/p1") for told in sent_stale("nothing passes", began_ns=BEGIN_NS))
    assert sent_stale("nothing passes", began_ns=BEGIN_NS) != []
    line.truth.asked[0] |= {"at_ns": over_ns + SECOND_NS}
    line.truth.asked[1] |= {"at_ns": over_ns + SECOND_NS}
    assert len(sent_stale("nothing passes", began_ns=BEGIN_NS)) >= 2, "it came long after the cable was whole"


@pytest.mark.parametrize(("after_s", "stale"), [(1.9, False), (2.4, False), (2.6, True)])
def test_a_command_for_a_part_that_is_gone_was_sent_stale_although_the_plc_refuses_it(
    line: Line, after_s: float, stale: bool
) -> None:
    row = line.truth.asked[0]
    row |= {"result": 2, "valid_until_ns": BEGIN_NS + 60 * SECOND_NS, "at_ns": BEGIN_NS + round(after_s * SECOND_NS)}
    assert list(line.broken()) == (["sent stale"] if stale else [])


def test_what_the_plc_had_to_refuse_as_late_is_told_with_its_age(line: Line) -> None:
    for number, outcome in enumerate(
        ("refused_expired", "refused_unknown_part", "refused_state", "acknowledged", "part_left")
    ):
        for _ in range(2):  # a topic may hold a record twice
            line.topics.add(
                CommandResult(
                    id=f"verdict/p{number}", station="aoi-1", kind=CommandKind.VERDICT, outcome=CommandOutcome(outcome),
                    sequence=1, attempts=1, finished_at_ns=BEGIN_NS,
                )
            )  # fmt: skip
    assert refused_as_late(line.topics) == {"verdict/p0", "verdict/p1"}
    first, second = refused_in_detail(line.truth, line.topics)
    assert (first["command_id"], first["age_s"], first["valid_for_s"]) == ("verdict/p0", 0.1, 1.9)
    assert second["command_id"] == "verdict/p1"


def test_a_part_that_was_told_has_one_verdict_and_a_repeated_record_is_the_same_one(line: Line) -> None:
    line.topics.add(line.verdict("p2", VerdictValue.OK))
    assert line.broken() == {}
    line.topics.add(line.verdict("p2", VerdictValue.NOT_DECIDABLE))
    assert list(line.broken()) == ["wrong", "verdict"]
    del line.topics.verdicts["p2", 1]
    assert line.broken()["verdict"] == ["('p2', 1): 0 verdicts"]


def test_only_a_plc_that_was_killed_just_then_may_keep_a_part_to_itself(line: Line) -> None:
    line.topics.told.remove(("p5", 1))
    arrived_ns = line.truth.arrived_at_ns["p5", 1]
    assert list(line.broken()) == ["told"]
    assert list(line.broken(killed_at_ns=(arrived_ns - 1, arrived_ns + 3 * SECOND_NS))) == ["told"]
    assert line.broken(killed_at_ns=(arrived_ns + SECOND_NS,)) == {}


def pull(began_s: float, over_s: float) -> Pulled:
    return Pulled(
        kind="cable cut",
        how="somehow",
        began_ns=BEGIN_NS + round(began_s * SECOND_NS),
        over_ns=BEGIN_NS + round(over_s * SECOND_NS),
    )


@pytest.mark.parametrize(
    ("not_normal", "after_s", "hit"),
    [
        (set(), 0.5, 0),
        ({10, 11, 12}, 0.5, 3),  # only while it lasted
        ({12, 13, 14}, 2.5, 1),
        ({13, 17}, 5.5, 0),  # normal once is not normal again
        ({28}, 0.5, 0),  # arrived just before the next pull, which may have caught it
        (set(range(10, 30)), None, 3),
    ],
)
def test_normal_again_is_the_first_part_from_which_on_all_are(
    tmp_path: Path, not_normal: set[int], after_s: float | None, hit: int
) -> None:
    line = Line(tmp_path, parts=40)
    line.truth.executed = [row for row in line.truth.executed if int(row["part_id"][1:]) not in not_normal]
    first, _ = recoveries([pull(10, 12.5), pull(29, 31)], line.truth, until_ns=BEGIN_NS + 40 * SECOND_NS)
    assert (first.after_s, first.hit) == (after_s, hit)


def test_a_part_that_could_not_be_decided_was_not_normal(tmp_path: Path) -> None:
    line = Line(tmp_path, parts=20)
    line.truth.executed[8]["verdict"] = "NOT_DECIDABLE"
    (found,) = recoveries([pull(2, 5.5)], line.truth, until_ns=BEGIN_NS + 20 * SECOND_NS)
    assert found.after_s == 3.5


def test_the_floor_is_called_normal_when_the_last_parts_were_and_not_before_enough_came(tmp_path: Path) -> None:
    line = Line(tmp_path, parts=10)
    normality = Normality(truth=line.truth)
    now_ns = BEGIN_NS + 11 * SECOND_NS
    assert normality.holds(since_ns=BEGIN_NS, now_ns=now_ns)
    assert not normality.holds(since_ns=BEGIN_NS + 8 * SECOND_NS, now_ns=now_ns)
    spoiled = dataclasses.replace(line.truth, executed=line.truth.executed[:9])
    assert not Normality(truth=spoiled).holds(since_ns=BEGIN_NS, now_ns=now_ns)


def test_a_part_that_may_still_get_its_verdict_does_not_count_yet(tmp_path: Path) -> None:
    line = Line(tmp_path, parts=10)
    del line.truth.executed[9]
    arrived_ns = line.truth.arrived_at_ns["p9", 1]
    normality = Normality(truth=line.truth)
    assert normality.holds(since_ns=BEGIN_NS, now_ns=arrived_ns + SECOND_NS)
    assert not normality.holds(since_ns=BEGIN_NS, now_ns=arrived_ns + 2 * SECOND_NS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pull_that_hit_none_of_the_parts_in_its_reach_took_place_only_where_a_process_was_killed(kind: str) -> None:
    for how in {variant.how for variant in KINDS[kind]}:
        pulled = Pulled(kind=kind, how=how, began_ns=0, over_ns=1)
        is_killed = kind in {"PLC restarted", "wrong namespace", "gateway killed"} or how == "the PLC's"
        for in_reach, hit, without in ((3, 0, not is_killed), (3, 1, False), (0, 0, False)):
            found = Recovery(pulled=pulled, in_reach=in_reach, hit=hit, after_s=1.0)
            assert bool(pulls_without_trace([found])) is without


def test_in_reach_of_a_pull_is_what_passed_the_gate_while_it_lasted(tmp_path: Path) -> None:
    line = Line(tmp_path, parts=20)
    (found,) = recoveries([pull(2, 5.5)], line.truth, until_ns=BEGIN_NS + 20 * SECOND_NS)
    assert found.in_reach == 2  # those of the seconds 2 and 3
