"""Whatever a plant file, a label file or a PLC's ring holds, it is understood or refused by its own error, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cli.labels import read_labels
from gateways import arrivals
from gateways.arrivals import RingFollower, RingNodes, RingTorn, arrival_ring, departure_ring
from gateways.station_nodes import station_nodes
from ops.local.places import CHECKOUT
from schemas.errors import ConfigurationError
from schemas.plant import PlcNodes
from schemas.plant_file import load_plant

PLANT_LINES = (CHECKOUT / "plants" / "demo.yaml").read_text(encoding="utf-8").splitlines()
NODES = station_nodes(PlcNodes(), "s")
NUMBERS = st.integers(-(2**70), 2**70) | st.floats() | st.just(float("inf"))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
TMP = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "file"


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {"image": st.just("a.png") | VALUES},
            optional={
                "boxes": st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.just("open") | VALUES)) | VALUES,
                "polygons": st.lists(st.lists(st.tuples(NUMBERS, NUMBERS))) | VALUES,
                "template": VALUES,
                "group": VALUES,
                "label": VALUES,
            },
        ),
        max_size=3,
    ),
    before=st.binary(max_size=6),
)
@example(rows=[{"image": "a", "boxes": [[0, 0, float("inf"), 1, "open"]]}], before=b"")
@example(rows=[{"image": "a", "polygons": [[]]}], before=b"")
@example(rows=[], before=b"\xff")
def test_a_label_file_is_read_or_complained_about(file: Path, rows: list[dict[str, Any]], before: bytes) -> None:
    file.write_bytes(before + "\n".join(json.dumps(row) for row in rows).encode())
    try:
        found = list(read_labels(file))
    except ConfigurationError:
        return
    assert all(label.box[0] < label.box[2] for row in found for label in row.labels or ())


@settings(max_examples=60, deadline=None, suppress_health_check=TMP)
@given(
    edits=st.lists(
        st.tuples(
            st.integers(0, len(PLANT_LINES) - 1),
            st.sampled_from(["value", "remove", "repeat", "indent", "insert"]),
            VALUES,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_plant_file_is_read_or_complained_about(file: Path, edits: list[tuple[int, str, Any]]) -> None:
    lines = list(PLANT_LINES)
    for number, how, value in edits:
        at = min(number, len(lines) - 1)
        match how:
            case "value":
                lines[at] = f"{lines[at].partition(':')[0]}: {json.dumps(value)}"
            case "remove":
                del lines[at]
            case "repeat":
                lines.insert(at, lines[at])
            case "indent":
                lines[at] = "  " + lines[at]
            case "insert":
                lines.insert(at, str(value))
    file.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    try:
        plant = load_plant(file)
    except ConfigurationError:
        return
    assert plant.plant


@settings(max_examples=150, deadline=None, suppress_health_check=TMP)
@given(content=st.binary(max_size=40) | st.text("[]{}:&*!-?|>,#%@ \n\t\"'<=\\0~a1", max_size=40).map(str.encode))
@example(content=b"plant: !!python/object/apply:os.system ['true']")
@example(content=b"a: 2001-99-99\nb: 1e999\nc: 0x" + b"f" * 5_000)
@example(content=b"? [a]\n: 1\n? {b: 1}\n: 2")
@example(content=b'plant: "\\ud800"')
@example(content=b'"\\ud800": 1')
@example(content=b'plant: "\\ud800\\udc00"')
@example(content=b'lines: "\\ud800\\udc00"')
def test_any_bytes_are_no_plant_file_or_complained_about(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigurationError):
        load_plant(file)


@pytest.mark.parametrize("bracket", [b"[", b'{"a": '], ids=["lists", "mappings"])
def test_nesting_without_end_is_complained_about(file: Path, bracket: bytes) -> None:
    file.write_bytes(bracket * 20_000)
    for read in (load_plant, lambda path: list(read_labels(path))):
        with pytest.raises(ConfigurationError):
            read(file)


class Plc:
    """In place of the session: answers with whatever it was given, the same each time."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = list(values)

    async def read(self, identifiers: Sequence[str]) -> list[Any]:
        return self._values[: len(identifiers)]


CELLS = st.integers(-3, 2**32) | st.text(max_size=3) | st.none() | st.booleans() | st.binary(max_size=2) | st.floats()
COLUMN = st.lists(CELLS, max_size=3) | st.none() | CELLS


@settings(max_examples=150, deadline=None)
@given(
    ring=st.sampled_from([arrival_ring(NODES), departure_ring(NODES)]),
    count=CELLS,
    columns=st.lists(COLUMN, min_size=7, max_size=7),
    good_counts=st.booleans(),
)
def test_a_ring_is_read_or_torn(ring: RingNodes[Any], count: Any, columns: list[Any], good_counts: bool) -> None:
    reader = RingFollower(ring=ring, session_node=NODES.session)
    used = columns[: len(ring.columns)]
    if good_counts and isinstance(used[-1], list) and used[-1]:
        count = used[-1][-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrivals, "READ_AGAIN_AFTER_S", 0.0)
        try:
            news = asyncio.run(reader.read(Plc([count, *used, count, "session"])))  # type: ignore[arg-type]
        except RingTorn:
            return
    counts = [entry.count for entry in news.entries]
    assert counts == sorted(set(counts))
