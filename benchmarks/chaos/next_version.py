"""The next version of the product, for a rolling upgrade: a copy of this checkout whose inspections have one more field."""

from __future__ import annotations

import shutil
from pathlib import Path

from ops.local.places import CHECKOUT

PACKAGES = ("schemas", "processors", "topologies", "gateways", "cli", "ops", "simulation")
NEW_FIELD = "said_by_next_version"
_BEFORE = "    timings: Timings = Timings()\n"


def lay_out(folder: Path) -> Path:
    """Writes the copy; returns where it is. Raises RuntimeError where the inspection does not look as expected any more."""
    for package in PACKAGES:
        shutil.copytree(CHECKOUT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("triton_models", ".local"):
        (folder / name).symlink_to(CHECKOUT / name)
    module = folder / "schemas" / "inspections.py"
    text = module.read_text()
    if text.count(_BEFORE) != 1:
        raise RuntimeError(f"{module} has changed: say here where the next version's field belongs")
    module.write_text(text.replace(_BEFORE, f'{_BEFORE}    {NEW_FIELD}: str = "yes"\n'))
    return folder
