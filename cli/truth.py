"""Reads what the simulated plant knows of its parts. No stage sees this file; summaries compare it with the verdicts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulation.reviewer import TrueMark


@dataclass(kw_only=True)
class TruthFile:
    """The truth as far as it was written.

    `parts` maps (part_id, visit) to true defect classes, `()` for a good part, `arrived_at_ns` to the PLC's time of its trigger, `pictures`
    to the SHA-256 of the picture of each view, `marks` to what is wrong with it and where, `lamp_ratios` to how far the lamp had aged;
    `asked` (every command that stood in the PLC's mailbox), `executed` and `left` are rows as written.
    """

    path: Path
    parts: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    arrived_at_ns: dict[tuple[str, int], int] = field(default_factory=dict)
    pictures: dict[tuple[str, int], dict[str, str]] = field(default_factory=dict)
    marks: dict[tuple[str, int], tuple[TrueMark, ...]] = field(default_factory=dict)
    lamp_ratios: dict[tuple[str, int], float] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    executed: list[dict[str, Any]] = field(default_factory=list)
    left: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False
    _position: int = 0

    def read_on(self) -> None:
        """Reads the whole lines that were added since the last call. A plant that was started again begins its file anew."""
        if not self.path.exists():
            return
        if self.path.stat().st_size < self._position:
            self._position = 0
        with self.path.open("rb") as file:
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._position += len(line)
                self._take(json.loads(line))

    def _take(self, row: dict[str, Any]) -> None:
        match row["event"]:
            case "part" if row["defects"] is not None:
                visit = (row["part_id"], row["visit"])
                self.parts[visit] = tuple(sorted(defect["class"] for defect in row["defects"]))
                self.arrived_at_ns[visit] = row["at_ns"]
                self.pictures[visit] = row["pictures"]
                self.marks[visit] = tuple(_mark(defect) for defect in row["defects"])
                self.lamp_ratios[visit] = row.get("lighting_drift_ratio", 0.0)
            case "asked":
                self.asked.append(row)
            case "executed":
                self.executed.append(row)
            case "left":
                self.left.append(row)
            case "finished":
                self.finished = True


def _mark(defect: dict[str, Any]) -> TrueMark:
    x1, y1, x2, y2 = defect["box"]
    return TrueMark(view=defect["view"], class_name=defect["class"], box=(x1, y1, x2, y2))
