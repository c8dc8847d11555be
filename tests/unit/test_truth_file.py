"""What the simulated plant knows is read while it is written, also by a plant that was started again."""

from __future__ import annotations

import json
from pathlib import Path

from cli.truth import TruthFile
from simulation.reviewer import TrueMark


def part(part_id: str, *, at_ns: int = 1) -> str:
    return (
        json.dumps({"event": "part", "part_id": part_id, "visit": 1, "at_ns": at_ns, "defects": [], "pictures": {}})
        + "\n"
    )


def test_a_line_is_taken_once_it_is_whole(tmp_path: Path) -> None:
    truth = TruthFile(path=tmp_path / "truth.jsonl")
    truth.read_on()  # the plant has not begun
    with truth.path.open("w") as file:
        file.write(part("SN-1") + part("SN-2")[:10])
        file.flush()
        truth.read_on()
        assert set(truth.parts) == {("SN-1", 1)}
        file.write(part("SN-2")[10:])
    truth.read_on()
    assert set(truth.parts) == {("SN-1", 1), ("SN-2", 1)}


def test_a_plant_that_begins_its_file_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    truth = TruthFile(path=tmp_path / "truth.jsonl")
    truth.path.write_text(part("SN-1") + part("SN-2"))
    truth.read_on()
    truth.path.write_text(part("again-1", at_ns=7))
    truth.read_on()
    assert truth.arrived_at_ns == {("SN-1", 1): 1, ("SN-2", 1): 1, ("again-1", 1): 7}
    assert set(truth.parts) == {("SN-1", 1), ("SN-2", 1), ("again-1", 1)}


def test_what_is_wrong_with_a_part_is_known_with_its_place_and_its_light(tmp_path: Path) -> None:
    truth = TruthFile(path=tmp_path / "truth.jsonl")
    row = json.loads(part("SN-1")) | {
        "defects": [{"view": "left", "class": "open", "box": [1, 2, 3, 4]}],
        "lighting_drift_ratio": 1.5,
    }
    truth.path.write_text(json.dumps(row) + "\n")
    truth.read_on()
    assert truth.parts == {("SN-1", 1): ("open",)}
    assert truth.marks == {("SN-1", 1): (TrueMark(view="left", class_name="open", box=(1, 2, 3, 4)),)}
    assert truth.lamp_ratios == {("SN-1", 1): 1.5}
