"""The plant that is disturbed: the demo's, without the rules that stop the line, so that a gap has no other cause than the fault."""

from __future__ import annotations

from pathlib import Path

from ops.local.places import CHECKOUT

DEMO = CHECKOUT / "plants" / "demo.yaml"
STOPS_THE_LINE = "    action: stop_line"


def write_plant(folder: Path) -> Path:
    """Writes the plant file with its reference pictures beside it; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = DEMO.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(STOPS_THE_LINE)]
    if len(kept) == len(lines):
        raise RuntimeError(f"{DEMO} has changed: expected rules with{STOPS_THE_LINE}")
    (folder / "references").symlink_to(DEMO.parent / "references")
    file = folder / "chaos.yaml"
    file.write_text("".join(kept))
    return file
