"""Challenge parts: recognised, judged by what they are known to have, and in no figure of the line."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.alert_challenge import ChallengeWatch, challenge_memory_ms
from processors.alert_subjects import every_key
from processors.alerting import Alerting
from processors.challenges import audited, marked, proof
from processors.drift import DriftWatch, LastTriggers
from processors.statistics_panes import Fed, Panes
from schemas.alert_rules import ChallengeRule, DefectRateRule
from schemas.alerts import Alert, AlertState
from schemas.challenges import ChallengePart, Challenges
from schemas.codec import decode_counted, encode
from schemas.inspections import Defect
from schemas.plant import Camera, ExternalSource, Line, Plant, Plc, RetrainingSettings, Station
from schemas.plc_events import RejectConfirmed
from schemas.reasons import FailSafe, VerdictValue
from schemas.statistics_settings import Shift, StatisticsSettings
from schemas.topics import VERDICTS
from schemas.verdicts import Verdict, ViewResult, verdict_id

S = 1_000_000_000
HOUR = 3600 * S
OK, NOT_OK, OPEN = VerdictValue
RAISED, CLEARED = AlertState.RAISED, AlertState.CLEARED
PART = ChallengePart(name="open", part_id="CHALLENGE-*", expects=("open", "mousebite"), view="left")


def plant(
    challenges: Challenges | None = None,
    *,
    rule: ChallengeRule | None = None,
    plc: str | None = None,
    **statistics: object,
) -> Plant:
    station = Station(
        name="aoi",
        plc=plc,
        cameras=(Camera(name="left", views=("left",), source=ExternalSource()),),
        challenges=Challenges(parts=(PART,)) if challenges is None else challenges,
    )
    return Plant(
        plant="test",
        lines=(Line(name="line-1", stations=(station,)),),
        recipes=(),
        plcs=(Plc(name="plc-1", endpoint="opc.tcp://127.0.0.1:4840/", security="none"),),
        alerts=(rule or ChallengeRule(name="proof"),),
        statistics=StatisticsSettings(**statistics),  # type: ignore[arg-type]
    )


def defect(name: str) -> Defect:
    return Defect(class_name=name, score=0.9, box=(0, 0, 8, 8), area_px=64.0)


def verdict(
    part_id: str,
    value: VerdictValue = OK,
    *,
    at_s: float = 0.0,
    found: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
) -> Verdict:
    """A verdict of the line; `found`: view -> class."""
    return Verdict(
        id=verdict_id(station="aoi", part_id=part_id, visit=1, revision=1),
        station="aoi",
        line="line-1",
        part_id=part_id,
        visit=1,
        revision=1,
        verdict=value,
        action=FailSafe.PASS if value is OK else FailSafe.REJECT,
        arrived_at_ns=int(at_s * S),
        decided_at_ns=int(at_s * S) + S // 10,
        recipe="board@1",
        views=tuple(ViewResult(view=view, defects=(defect(name),)) for view, name in (found or {}).items()),
        labels=labels or {},
    )


def challenge(part_id: str = "CHALLENGE-1", *, at_s: float = 0.0, good: bool = False) -> Verdict:
    """A marked one; `good`: the station finds it."""
    made = verdict(part_id, NOT_OK, at_s=at_s, found={"left": "open"}) if good else verdict(part_id, at_s=at_s)
    return marked(made, Challenges(parts=(PART,)))


@given(
    value=st.sampled_from(VerdictValue),
    found=st.dictionaries(
        st.sampled_from(["left", "right"]), st.sampled_from(["open", "mousebite", "short"]), max_size=2
    ),
)
def test_it_passes_exactly_when_it_is_not_ok_for_a_reason_that_it_has(
    value: VerdictValue, found: dict[str, str]
) -> None:
    judged = proof(verdict("CHALLENGE-1", value, found=found), PART)
    assert judged.passed == (value is NOT_OK and found.get("left") in ("open", "mousebite"))
    assert ("expected" in judged.told) != judged.passed, "a failure says what was expected"
    anything = proof(verdict("CHALLENGE-1", value, found=found), ChallengePart(name="any"))
    assert anything.passed == (value is NOT_OK and bool(found))


@pytest.mark.parametrize(
    ("part", "part_id", "labels", "is_one"),
    [
        (PART, "CHALLENGE-7", {}, True),
        (PART, "CHALLENGE-", {}, True),
        (PART, "challenge-7", {}, False),
        (PART, "0-CHALLENGE-7", {}, False),
        (ChallengePart(name="c", part_id="M[1]?"), "M[1]?", {}, True),
        (ChallengePart(name="c", part_id="M[1]?"), "M1x", {}, False),
        (ChallengePart(name="c", labels={"kind": "challenge"}), "4711", {"kind": "challenge", "tool": "3"}, True),
        (ChallengePart(name="c", labels={"kind": "challenge"}), "4711", {"tool": "3"}, False),
        (ChallengePart(name="c", part_id="4*", labels={"kind": "x"}), "4711", {"kind": "y"}, False),
    ],
)
def test_it_is_known_by_its_id_or_its_labels_and_no_other_part_is_one(
    part: ChallengePart, part_id: str, labels: dict[str, str], is_one: bool
) -> None:
    found = marked(verdict(part_id, labels=labels), Challenges(parts=(part,)))
    assert found.challenge == (part.name if is_one else "")
    assert (found.challenge_passed is None) != is_one


def test_the_audit_says_how_it_came_out_and_nothing_of_ordinary_parts_and_reviews() -> None:
    station = plant().stations[0]
    passed, failed = audited(challenge(good=True), station), audited(challenge(), station)
    assert passed is not None
    assert failed is not None
    assert (passed.action, passed.subject) == ("challenge", "aoi")
    assert passed.detail == "open, part CHALLENGE-1 (visit 1): passed: NOT_OK, open in left"
    assert (
        failed.detail == "open, part CHALLENGE-1 (visit 1): failed: OK, expected NOT_OK with open or mousebite in left"
    )
    assert audited(verdict("4711"), station) is None
    assert audited(msgspec.structs.replace(challenge(), revision=2), station) is None


def test_it_is_in_no_figure_of_the_line() -> None:
    panes = Panes(settings=StatisticsSettings(), opportunities=lambda _recipe: 1)
    encoded = encode(VERDICTS, challenge(at_s=1, good=True))
    as_counted = decode_counted(encoded.value, encoded.headers, with_views=False)
    for told in (challenge(at_s=1, good=True), as_counted):
        assert panes.feed(told, offset=0, record_at_ms=1000) is Fed.CHALLENGE
    assert panes.feed(verdict("4711", at_s=2), offset=1, record_at_ms=2000) is Fed.COUNTED
    assert {pane.counts.parts for pane in panes.held()} == {1}
    rate = DefectRateRule(name="rate", raise_ratio=0.1, clear_ratio=0.05, minimum_parts=1)
    bad_batch = Alerting(plant=msgspec.structs.replace(plant(), alerts=(rate,)), owns=every_key)
    assert bad_batch.take(challenge(good=True), at_ns=S, now_ns=S) == []
    drift = DriftWatch(plant=plant(), last=LastTriggers(settings=RetrainingSettings()))
    assert drift.recall(challenge(), at_ns=S) is False


# --- the alert ---------------------------------------------------------------------------------------------------------


class Watched:
    """The alerts of a plant, fed with messages at times in s."""

    def __init__(self, of: Plant) -> None:
        self.alerting = Alerting(plant=of, owns=every_key)
        self.alerts: list[Alert] = []

    def take(self, message: Verdict | RejectConfirmed, at_s: float | None = None) -> list[Alert]:
        at_ns = message.arrived_at_ns if isinstance(message, Verdict) else int((at_s or 0) * S)
        found = [step.alert for step in self.alerting.take(message, at_ns=at_ns, now_ns=at_ns)]
        self.alerts += found
        return found

    def tick(self, at_s: float) -> list[Alert]:
        found = [
            step.alert for step in self.alerting.tick(int(at_s * S)) if step.alert.state is not AlertState.REPEATED
        ]
        self.alerts += found
        return found


def confirmed(part_id: str = "CHALLENGE-1", *, at_s: float) -> RejectConfirmed:
    return RejectConfirmed(
        id=f"aoi/{part_id}/1/rejected", station="aoi", part_id=part_id, visit=1, occurred_at_ns=int(at_s * S)
    )


def test_one_that_is_passed_as_ok_alarms_and_one_that_is_found_clears_it() -> None:
    line = Watched(plant())
    (raised,) = line.take(challenge(at_s=1))
    assert (raised.state, raised.subject, raised.severity) == (RAISED, "aoi/open", "warning")
    assert raised.evidence == ("aoi/CHALLENGE-1/1/1",)
    assert "expected NOT_OK with open or mousebite in left" in raised.summary
    assert line.take(challenge("CHALLENGE-2", at_s=2)) == [], "one episode"
    (cleared,) = line.take(challenge("CHALLENGE-3", at_s=3, good=True))
    assert (cleared.state, cleared.episode) == (CLEARED, raised.episode)


def test_the_machine_has_to_confirm_the_reject_in_whichever_order_it_is_read() -> None:
    line = Watched(plant(plc="plc-1"))
    line.take(challenge(at_s=1, good=True))
    assert line.tick(10) == []
    (raised,) = line.tick(11)
    assert "did not confirm it within 10 s" in raised.summary
    line.take(challenge("CHALLENGE-2", at_s=20, good=True))
    assert line.alerts == [raised], "not cleared before the machine says so"
    (cleared,) = line.take(confirmed("CHALLENGE-2", at_s=22), 22)
    assert cleared.state is CLEARED
    assert line.take(challenge("CHALLENGE-3", at_s=30)) != []
    line.take(confirmed("CHALLENGE-4", at_s=31), 31)
    (cleared,) = line.take(challenge("CHALLENGE-4", at_s=32, good=True))
    assert cleared.state is CLEARED, "confirmed first"
    assert line.tick(100) == []


def test_a_verdict_that_is_read_twice_is_one() -> None:
    line = Watched(plant(plc="plc-1"))
    found = challenge(at_s=1, good=True)
    line.take(found)
    line.take(confirmed(at_s=2), 2)
    line.take(found)
    assert line.tick(100) == [], "the repetition does not wait for another confirmation"
    line.take(challenge("CHALLENGE-2", at_s=20))
    line.take(challenge("CHALLENGE-2", at_s=20))
    assert [alert.state for alert in line.alerts] == [RAISED]


def test_a_line_that_runs_without_one_for_too_long_alarms_and_one_that_stands_does_not() -> None:
    line = Watched(plant(Challenges(parts=(PART,), every_ms=3_600_000)))
    for minute in range(0, 60, 10):
        assert line.take(verdict(f"a{minute}", at_s=minute * 60)) == []
    (raised,) = line.take(verdict("a60", at_s=3600))
    assert (raised.since_at_ns, raised.subject) == (HOUR, "aoi/open")
    assert "overdue" in raised.summary
    assert line.take(challenge(at_s=3700, good=True))[0].state is CLEARED
    assert line.take(verdict("b1", at_s=3710)) == []
    assert line.take(verdict("c1", at_s=3700 + 60 * 3600)) == [], "it stood for days: an hour to bring one"
    assert line.take(verdict("c2", at_s=3700 + 60.9 * 3600)) == []
    assert [alert.state for alert in line.take(verdict("c3", at_s=3700 + 61 * 3600))] == [RAISED]


def test_each_span_of_a_shift_needs_its_own_and_a_break_needs_none() -> None:
    shifts = (Shift(name="early", begins="06:00", ends="14:00"),)
    line = Watched(plant(Challenges(parts=(PART,), per_shift=2), shifts=shifts))
    assert line.take(challenge(at_s=6.5 * 3600, good=True)) == []
    for hour in (6.0, 7.0, 9.9, 10.0, 13.9):
        assert line.take(verdict(f"at {hour}", at_s=hour * 3600)) == []
    (raised,) = line.take(verdict("at 15", at_s=15 * 3600))
    assert raised.since_at_ns == 14 * HOUR, "none passed from 10:00 to 14:00"
    assert line.take(verdict("at 20", at_s=20 * 3600)) == []
    day = 24 * 3600
    assert line.take(challenge("CHALLENGE-2", at_s=day + 7 * 3600, good=True))[0].state is CLEARED
    assert line.take(verdict("next day", at_s=day + 8 * 3600)) == []
    assert line.take(challenge("CHALLENGE-3", at_s=day + 11 * 3600, good=True)) == []
    assert line.take(verdict("its evening", at_s=day + 13 * 3600)) == []
    assert line.take(verdict("the day after", at_s=2 * day + 6 * 3600)) == []


@given(passes=st.lists(st.booleans(), max_size=30), step_s=st.integers(60, 1500))
def test_it_is_overdue_exactly_while_no_pass_is_younger_than_asked(passes: list[bool], step_s: int) -> None:
    line = Watched(plant(Challenges(parts=(PART,), every_ms=3_600_000)))
    newest_s, is_open = 0, False
    for place, is_pass in enumerate(passes):
        at_s = place * step_s
        if is_pass:
            line.take(challenge(f"CHALLENGE-{place}", at_s=at_s, good=True))
            newest_s, is_open = at_s, False
        else:
            line.take(verdict(f"p{place}", at_s=at_s))
            is_open = is_open or at_s - newest_s >= 3600
        assert bool(line.alerting.open_alerts["proof"]) == is_open
    states = [alert.state for alert in line.alerts]
    assert states == [RAISED, CLEARED] * (len(states) // 2) + [RAISED] * (len(states) % 2)


def test_after_a_restart_it_is_known_when_the_last_one_passed_and_nothing_is_told_twice() -> None:
    of = plant(Challenges(parts=(PART,), every_ms=3_600_000), plc="plc-1")
    assert challenge_memory_ms(of) == 3_600_000
    watch = ChallengeWatch(ChallengeRule(name="proof"), plant=of, stations=frozenset({"aoi"}))
    now_ns = 3000 * S
    watch.remember(verdict("a", at_s=0), at_ns=0, now_ns=now_ns)
    watch.remember(
        challenge(at_s=1200, good=True), at_ns=0, now_ns=now_ns
    )  # whose confirmation is not read back any more
    assert watch.tick(now_ns + 20 * S) == []
    for at_s in range(1200, 4800, 600):
        assert watch.see(verdict(f"b{at_s}", at_s=at_s), at_ns=0, now_ns=at_s * S) == []
    assert watch.see(verdict("c", at_s=4800), at_ns=0, now_ns=4800 * S) != []


def test_stations_without_challenges_are_left_alone() -> None:
    of = plant(Challenges())
    assert challenge_memory_ms(of) == 0
    line = Watched(of)
    assert line.take(verdict("4711", NOT_OK, at_s=1)) == []
