"""No comparison of causes is lost: two lines in one partition, backlogs, pauses, and a crash at any moment."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from statistics_log import Log, LoggedStage

from processors.quality.association import associations_of_counts
from schemas.associations import Associations
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.reasons import FailSafe, VerdictValue
from schemas.topics import ASSOCIATIONS, PANES, VERDICTS
from schemas.verdicts import Verdict, verdict_id

S = 1_000_000_000
WINDOW_S = 20
LINE_OF = {"a": "line-1", "b": "line-2", "c": "line-2"}
PLANT_FILE = """
plant: kept
lines:
  - {{ name: line-1, stations: [{{ name: a, cameras: [{{ name: ca, views: [top], source: {{ type: external }} }}] }}] }}
  - name: line-2
    stations:
      - {{ name: b, cameras: [{{ name: cb, views: [top], source: {{ type: external }} }}] }}
      - {{ name: c, cameras: [{{ name: cc, views: [top], source: {{ type: external }} }}] }}
plcs: [{{ name: plc-1, endpoint: "opc.tcp://127.0.0.1:4840", security: none, labels: [{{ name: tool, node: s=Tool }}] }}]
recipes: [{{ name: board, views: [{{ name: top }}], inspection: {{ type: golden }}, classes: [{{ name: open }}] }}]
statistics:
  windows_ms: [1000, 20000]
  by: [tool]
  grace_ms: 500
  idle_timeout_ms: 3000
  associations: [{{ window_ms: 20000 }}]
kafka: {{ partitions: {partitions} }}
"""


def plant_with(partitions: int) -> Plant:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "kept.yaml"
        file.write_text(PLANT_FILE.format(partitions=partitions), encoding="utf-8")
        return load_plant(file)


PLANTS = {partitions: plant_with(partitions) for partitions in (1, 2)}


class Part(NamedTuple):
    """A part of a station, when it arrived, and how long after that its verdict is appended (a backlog)."""

    station: str
    arrived_s: int
    later_s: int
    revision: int = 1

    def verdict(self, number: int) -> Verdict:
        bad = (number + self.revision) % 3 == 0
        return Verdict(
            id=verdict_id(station=self.station, part_id=str(number), visit=1, revision=self.revision), station=self.station,
            line=LINE_OF[self.station], part_id=str(number), visit=1, revision=self.revision,
            verdict=VerdictValue.NOT_OK if bad else VerdictValue.OK, action=FailSafe.REJECT, arrived_at_ns=self.arrived_s * S,
            decided_at_ns=self.arrived_s * S, recipe="board@1", labels={"tool": f"t{number % 2}"},
        )  # fmt: skip


LATER_S = [0, 0, 0, 0, 40, 500]
PARTS = st.builds(
    Part, st.sampled_from("abc"), st.integers(100, 700), st.sampled_from(LATER_S), st.sampled_from([1, 1, 1, 2])
)
_Row = tuple[str, str, int, int]


def expected(parts: list[Part]) -> dict[tuple[str, int], list[_Row]]:
    """The levels of every window with parts: label, level, bad ones, all."""
    counts: dict[tuple[str, int], dict[str, tuple[int, int]]] = {}
    for number, part in enumerate(parts):
        found = part.verdict(number)
        levels = counts.setdefault((found.line, part.arrived_s // WINDOW_S * WINDOW_S), {})
        bad, decided = levels.get(found.labels["tool"], (0, 0))
        levels[found.labels["tool"]] = bad + (found.verdict is VerdictValue.NOT_OK), decided + 1
    return {
        place: [(r.label, r.level, r.bad, r.parts) for r in associations_of_counts({"tool": levels})]
        for place, levels in counts.items()
    }


def told(log: Log) -> dict[tuple[str, int], list[_Row]]:
    """The last revision of each window; of one id there is one content."""
    by_id: dict[str, Associations] = {}
    last: dict[tuple[str, int], Associations] = {}
    for each in log.of(ASSOCIATIONS):
        assert by_id.setdefault(each.id, each) == each, "one id, two contents"
        place = each.line, each.start_at_ns // S
        if place not in last or each.revision > last[place].revision:
            last[place] = each
    return {place: [(r.label, r.level, r.bad, r.parts) for r in each.levels] for place, each in last.items()}


async def through(log: Log, plant: Plant, parts: list[Part], steps: list[int], patched: pytest.MonkeyPatch) -> None:
    """The parts' verdicts in the order in which they are appended; each step says what is done between two of them."""
    stage = LoggedStage(plant, log, patched)
    log.now_ms = 100_000
    await stage.start()
    order = sorted(enumerate(parts), key=lambda each: (each[1].arrived_s + each[1].later_s, each[1].revision))
    for position, (number, part) in enumerate(order):
        log.now_ms = max(log.now_ms, (part.arrived_s + part.later_s) * 1000)
        log.append(VERDICTS, part.station, part.verdict(number))
        step = steps[position % len(steps)]
        for partition in range(log.partitions):
            if step & 1:
                await stage.deliver(VERDICTS, partition, most=3)
            if step & 2:
                await stage.deliver(PANES, partition, most=5)
        if step & 4:
            await stage.tick()
        if step & 8:
            await stage.crash()
    log.now_ms += 100_000
    await stage.to_the_end()
    await stage.handler.drain(frozenset(range(log.partitions)))


FAR_AHEAD = [
    Part("a", 100, 0),
    Part("b", 101, 0),
    Part("c", 102, 0),
    Part("a", 121, 0),
    Part("a", 690, 0),
    Part("b", 125, 570),
]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(PARTS, min_size=1, max_size=25), st.lists(st.integers(0, 15), min_size=1, max_size=25), st.sampled_from([1, 2])
)  # fmt: skip
@example(parts=FAR_AHEAD, steps=[7], partitions=1)
def test_every_window_is_compared_whatever_lines_share_a_partition_and_whenever_the_stage_crashes(
    parts: list[Part], steps: list[int], partitions: int
) -> None:
    log = Log(partitions)
    with pytest.MonkeyPatch.context() as patched:
        asyncio.run(through(log, PLANTS[partitions], parts, steps, patched))
    assert told(log) == expected(parts)
