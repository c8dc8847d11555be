"""Who edits the plant file of a running line is told, once, that it has to be started again."""

from __future__ import annotations

from pathlib import Path

from cli.plant_change import LOOK_EVERY_S, PlantChange


def test_each_change_is_told_once(tmp_path: Path) -> None:
    file, told = tmp_path / "plant.yaml", list[str]()
    file.write_text("observe: true")
    change = PlantChange(file, say=told.append)
    looks = (number * LOOK_EVERY_S for number in range(100))
    change.look(next(looks))
    assert told == []
    file.write_text("observe: false")
    for _ in range(3):
        change.look(next(looks))
    assert len(told) == 1
    assert "has changed; the line goes on as before" in told[0]
    file.unlink()  # an editor that writes a new file in its place
    change.look(next(looks))
    file.write_text("observe: false")
    change.look(next(looks))
    assert len(told) == 1
    file.write_text("observe: true")
    change.look(next(looks))
    assert told[1:] == [f"{file} is again as it was when the line was started"]
