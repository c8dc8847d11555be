"""Laws of the judge: whatever the order, duplicates, crashes and restarts, one verdict per part visit, and nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from judged_parts import MS, T0, VIEWS, S, arrival, backfilled, defect, deferral, inspection, plant, recipe

from processors.judgements import Decision, Done, Judgement, Refusal
from processors.judging import Judge, JudgeLimits
from processors.verdict_consequences import defect_events
from schemas.commands import Command
from schemas.inspections import Inspection
from schemas.plant import Plant
from schemas.plc_events import PartArrived
from schemas.reasons import VerdictReason, VerdictValue
from schemas.verdicts import DefectEvent, Verdict

PLANT = plant(recipe(), recipe("board-b", deadline_ms=None))
LIMITS = JudgeLimits(early_grace_ms=3_600_000)  # longer than any plan: only strangers are refused
Source = tuple[str, int]
"""Topic and offset."""


@dataclass
class Topics:
    """What outlives a crash: records in, records out, commits."""

    records: dict[str, list[Any]]
    committed: dict[str, int] = field(default_factory=lambda: {"plc-events": 0, "inspections": 0})
    verdicts: list[Verdict] = field(default_factory=list)
    defects: list[DefectEvent] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    dead_letters: list[Source] = field(default_factory=list)


class Process:
    """A judge stage from its start to its crash: sends one thing after the other, commits the finished prefix."""

    def __init__(self, topics: Topics, description: Plant) -> None:
        self.topics = topics
        self.judge: Judge[Source] = Judge(plant=description, limits=LIMITS)
        for verdict in topics.verdicts:
            self.judge.recall(verdict)
        self.position = dict(topics.committed)
        self.finished: set[Source] = set()
        self.unsent: list[Judgement[Source]] = []

    def read(self, topic: str, now: int) -> None:
        at = self.position[topic]
        if at == len(self.topics.records[topic]):
            return
        self.position[topic] += 1
        message = self.topics.records[topic][at]
        # the broker's time of a record does not change, however often it is read
        at_ns = T0 + at * 10 * MS
        self.do(self.judge.take(message, source=(topic, at), size_bytes=100, at_ns=at_ns, now_ns=now))

    def do(self, judgements: Sequence[Judgement[Source]]) -> None:
        for judgement in judgements:
            if isinstance(judgement, Done):
                self.finish(judgement.source)
            elif isinstance(judgement, Decision | Refusal):
                self.unsent.append(judgement)

    def finish(self, source: Source) -> None:
        assert source not in self.finished, "finished twice"
        self.finished.add(source)

    def send(self, *, cut_after: int | None = None) -> None:
        """Sends the next thing; a crash cuts it off after that many records, before it is finished."""
        if not self.unsent:
            return
        judgement = self.unsent.pop(0)
        if isinstance(judgement, Refusal):
            self.topics.dead_letters.append(judgement.source)
            sources: tuple[Source, ...] = (judgement.source,)
        else:
            assert isinstance(judgement, Decision)
            if not judgement.is_on_topic:
                self.topics.verdicts.append(judgement.verdict)
            if cut_after == 0:
                return
            follow = [*judgement.defects, *([judgement.command] if judgement.command else [])]
            for message in follow[: cut_after if cut_after is None else cut_after - 1]:
                (self.topics.commands if isinstance(message, Command) else self.topics.defects).append(message)  # type: ignore[arg-type]
            sources = judgement.sources
        if cut_after is None:
            for source in sources:
                self.finish(source)

    def commit(self) -> None:
        for topic in self.topics.committed:
            while (topic, self.topics.committed[topic]) in self.finished:
                self.topics.committed[topic] += 1


parts = st.lists(
    st.tuples(
        st.sampled_from(["SN-1", "SN-2", "SN-3"]),
        st.integers(1, 2),
        st.sampled_from(["board-a@1", "board-a@1", "board-b@1", "unknown@1"]),
    ),
    unique_by=lambda part: part[:2],
    min_size=1,
    max_size=4,
)


@st.composite
def histories(draw: st.DrawFn) -> dict[str, list[Any]]:
    """Arrivals and inspections with duplicates, second frames, strangers and deferred ones, each topic in any order."""
    visits = draw(parts)
    arrivals: list[PartArrived] = [arrival(part_id, visit=visit, recipe=name) for part_id, visit, name in visits]
    inspections: list[Inspection] = []
    for number, (part_id, visit, _) in enumerate(visits):
        for view in VIEWS:
            kind = draw(st.sampled_from(["clean", "clean", "defect", "dropped", "absent"]))
            if kind != "absent":
                inspections.append(
                    inspection(
                        view,
                        *([defect()] if kind == "defect" else []),
                        part_id=part_id,
                        visit=visit,
                        sequence=number,
                        dropped="model_failed" if kind == "dropped" else None,
                    )
                )
    late = draw(st.lists(st.sampled_from(inspections), max_size=3)) if inspections else []
    inspections = [deferral(item) if item in late else item for item in inspections] + [*map(backfilled, late)]
    extra = [*draw(st.lists(st.sampled_from(inspections), max_size=3))] if inspections else []
    stranger = [inspection("left", part_id="stranger", sequence=99)] if draw(st.booleans()) else []
    second = (
        [inspection("left", defect(), part_id=visits[0][0], visit=visits[0][1], sequence=50)]
        if draw(st.booleans())
        else []
    )
    repeated = draw(st.lists(st.sampled_from(arrivals), max_size=2))
    return {
        "plc-events": [*draw(st.permutations(arrivals)), *repeated],
        "inspections": draw(st.permutations([*inspections, *extra, *stranger, *second])),
    }


steps = st.lists(
    st.one_of(
        st.sampled_from(["read plc-events", "read inspections", "send", "commit"]),
        st.integers(0, 3).map(lambda cut: f"crash {cut}"),
        st.sampled_from([5, 400, 1_200]).map(lambda ms: f"wait {ms}"),
    ),
    max_size=60,
)


def run(history: dict[str, list[Any]], plan: Sequence[str]) -> Topics:
    """Follows the plan, then lets a last process work everything off."""
    topics = Topics(history)
    process = Process(topics, PLANT)
    now = T0 + 20 * MS
    for step in plan:
        word, _, value = step.partition(" ")
        now += MS
        if word == "read":
            process.read(value, now)
        elif word == "send":
            process.send()
        elif word == "commit":
            process.commit()
        elif word == "wait":
            now += int(value) * MS
            process.do(process.judge.tick(now))
        else:
            process.send(cut_after=int(value))
            process = Process(topics, PLANT)
    for topic, records in history.items():
        for _ in records:
            process.read(topic, now)
    process.do(process.judge.tick(now + 7_200 * S))
    while process.unsent:
        process.send()
    process.commit()
    return topics


@settings(max_examples=400, deadline=None)
@given(histories(), steps)
def test_one_verdict_per_visit_and_nothing_lost_whatever_happens(
    history: dict[str, list[Any]], plan: list[str]
) -> None:
    topics = run(history, plan)
    ids = [verdict.id for verdict in topics.verdicts]
    waiting = {
        f"{item.station}/{item.part_id}/{item.visit}/1"
        for item in history["plc-events"]
        if item.recipe == "board-b@1"  # no deadline: waits for views that never come
    } - set(ids)
    expected = {f"{item.station}/{item.part_id}/{item.visit}/1" for item in history["plc-events"]}
    assert sorted(ids) == sorted(expected - waiting)

    said: dict[str, Any] = {}
    for message in [*topics.defects, *topics.commands]:
        assert said.setdefault(message.id, message) == message, "one id, two contents"
    for verdict in topics.verdicts:
        for event in defect_events(verdict):
            assert said[event.id] == event
        command = said.get(f"verdict/{verdict.id}")
        assert command is None or (command.verdict, command.action) == (verdict.verdict, verdict.action)
    assert len(said) <= len(ids) + sum(len(defect_events(verdict)) for verdict in topics.verdicts), (
        "what nobody decided"
    )

    refused = {item for item in topics.dead_letters if item[0] == "inspections"}
    strangers = {n for n, item in enumerate(history["inspections"]) if item.part_id == "stranger"}
    assert {number for _, number in refused} == strangers
    if not waiting:
        assert topics.committed == {topic: len(records) for topic, records in history.items()}


@settings(max_examples=200, deadline=None)
@given(histories(), st.data())
def test_in_time_the_verdict_does_not_depend_on_the_order(history: dict[str, list[Any]], data: st.DataObject) -> None:
    first = {item.id: item for item in history["inspections"] if item.sequence < 50}
    messages: list[Any] = [*{item.id: item for item in history["plc-events"]}.values(), *first.values()]

    def verdicts(order: Sequence[Any]) -> dict[str, Verdict]:
        judge: Judge[int] = Judge(plant=PLANT)
        found: dict[str, Verdict] = {}
        for number, message in enumerate([*order, *order]):  # everything comes twice
            for item in judge.take(message, source=number, size_bytes=1, at_ns=T0, now_ns=T0 + MS):
                if isinstance(item, Decision):
                    assert item.verdict.id not in found
                    found[item.verdict.id] = item.verdict
        for item in judge.tick(T0 + 10 * S):
            if isinstance(item, Decision):
                found[item.verdict.id] = item.verdict
        return found

    assert _as_judged(verdicts(messages)) == _as_judged(verdicts(data.draw(st.permutations(messages))))


def _as_judged(verdicts: dict[str, Verdict]) -> dict[str, Verdict]:
    """Of a part that is decided on arrival the views depend on what had come; its verdict does not."""
    return {
        key: msgspec.structs.replace(verdict, views=(), models=(), detail="")
        if VerdictReason.UNKNOWN_RECIPE in verdict.reasons
        else verdict
        for key, verdict in verdicts.items()
    }


@settings(max_examples=100, deadline=None)
@given(histories())
def test_ok_needs_every_required_view_inspected_and_clean(history: dict[str, list[Any]]) -> None:
    for verdict in run(history, []).verdicts:
        if verdict.verdict is VerdictValue.OK:
            assert [view.outcome for view in verdict.views] == ["inspected"] * len(VIEWS)
            assert not any(view.defects for view in verdict.views)
