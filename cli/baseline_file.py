"""A file of frozen baselines: records are added, never changed, so that its history in version control is that of the limits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml

from processors.chart_baselines import digest
from schemas.chart_settings import AnyBaseline
from schemas.errors import ConfigurationError
from schemas.message import NS_PER_S

HEAD = "# Frozen baselines, written by `linesight baselines freeze`. Records are added, never changed.\nbaselines:\n"


def add_baselines(file: Path, baselines: Sequence[AnyBaseline]) -> None:
    """Adds records at the end of `file`, or makes it. Raises ConfigurationError where it is another kind of file."""
    before = file.read_text(encoding="utf-8") if file.is_file() else HEAD
    _require_records(file, before)
    text = before.rstrip("\n") + "\n" + "".join(_record(each) for each in baselines)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(file)


def _require_records(file: Path, text: str) -> None:
    try:
        data: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{file}: expected a file of baselines, this is no YAML: {error}") from error
    if not isinstance(data, dict) or set(data) != {"baselines"} or not isinstance(data["baselines"] or [], list):
        raise ConfigurationError(f"{file}: expected a file with the one key `baselines`, and a list under it")


def _record(baseline: AnyBaseline) -> str:
    """A comment for people, then the record as one item of the list."""
    at = datetime.fromtimestamp(baseline.frozen_at_ns / NS_PER_S, UTC).isoformat(timespec="seconds")
    comment = f"  # {digest(baseline)}: {baseline.subject}, frozen by {baseline.frozen_by} at {at}\n"
    lines = yaml.safe_dump(msgspec.to_builtins(baseline), sort_keys=False, allow_unicode=True).splitlines()
    return comment + "".join(f"  {'- ' if at_line == 0 else '  '}{line}\n" for at_line, line in enumerate(lines))
