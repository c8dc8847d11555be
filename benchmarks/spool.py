"""The disk spool: its rates beside a plain file on the same disk, and an hour's outage with a real broker.

    .venv/bin/python -m benchmarks.spool [--rounds 5] [--folder run/bench-spool] [--no-outage] [--out run/spool.json]

Each round writes the same values one after the other: to a plain file, through the spool, and to SQLite (as a queue table, WAL), all
synced every 200 ms and at the end; then opens what is there, and reads it back; both from a cold page cache. The candidates take turns, in
another order in each round. A value is written whole, as it comes, by all of them; the spool's rate includes its checksums, its bounds
and its position file, its drain includes the checksums, the acknowledgements and the deletion. Opening is what a restart costs: a drain
while the gateway lives has none.

The outage is `benchmarks.spool_hour`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import spool_hour
from benchmarks.results_file import Row, Section, machine, ratio, write
from gateways.segment import Envelope
from gateways.spool import Spool
from schemas.settings import SpoolSettings

SYNC_S = 0.2
SIZES = {"2 MB": (2_000_000, 300), "28 kB": (28_000, 8_000)}
AT_LEAST = 0.5


class PlainFile:
    """One file, written in order."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "plain"

    def write(self, values: Sequence[bytes]) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        sync_s = time.monotonic() + SYNC_S
        for value in values:
            os.write(file, value)
            if time.monotonic() >= sync_s:
                os.fdatasync(file)
                sync_s = time.monotonic() + SYNC_S
        os.fdatasync(file)
        os.close(file)

    def open(self) -> None:
        self._file = self._path.open("rb", buffering=0)

    def read(self, count: int, size_bytes: int) -> int:
        with self._file as file:
            return sum(len(file.read(size_bytes)) for _ in range(count))


class Spooled:
    """The spool of a gateway."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "spool"

    def _spool(self) -> Spool:
        return Spool(self._folder, settings=SpoolSettings(max_mib=1 << 20, sync_ms=int(SYNC_S * 1000)))

    def write(self, values: Sequence[bytes]) -> None:
        spool = self._spool()
        sync_s = time.monotonic() + SYNC_S
        for value in values:
            spool.append(Envelope("frames", b"camera", [], time.time_ns()), value, droppable=True)
            if time.monotonic() >= sync_s:
                spool.sync()
                sync_s = time.monotonic() + SYNC_S
        spool.sync()
        spool.close()

    def open(self) -> None:
        self._opened = self._spool()

    def read(self, count: int, size_bytes: int) -> int:
        spool, found = self._opened, 0
        for _ in range(count):
            taken = spool.take(spool.droppable)
            assert taken is not None
            found += len(taken.record.value)
            spool.droppable.acknowledge(taken.number)
        spool.reclaim()
        spool.close()
        return found


class Sqlite:
    """A table as a queue: what a spool would be without code of its own. Committed, and so synced, as often as the others."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "queue.db"

    def _connect(self) -> sqlite3.Connection:
        queue = sqlite3.connect(self._path, isolation_level=None)
        queue.execute("PRAGMA journal_mode=WAL")
        queue.execute("PRAGMA synchronous=FULL")
        return queue

    def write(self, values: Sequence[bytes]) -> None:
        queue = self._connect()
        queue.execute(
            "CREATE TABLE queue (number INTEGER PRIMARY KEY, topic TEXT, key BLOB, at_ns INTEGER, value BLOB)"
        )
        queue.execute("BEGIN")
        sync_s = time.monotonic() + SYNC_S
        for value in values:
            queue.execute("INSERT INTO queue VALUES (NULL, 'frames', 'camera', ?, ?)", (time.time_ns(), value))
            if time.monotonic() >= sync_s:
                queue.execute("COMMIT")
                queue.execute("BEGIN")
                sync_s = time.monotonic() + SYNC_S
        queue.execute("COMMIT")
        queue.close()

    def open(self) -> None:
        self._queue = self._connect()

    def read(self, count: int, size_bytes: int) -> int:
        queue = self._queue
        found = sum(len(value) for (value,) in queue.execute("SELECT value FROM queue ORDER BY number"))
        queue.close()
        return found


CANDIDATES: dict[str, Callable[[Path], PlainFile | Spooled | Sqlite]] = {
    "plain file": PlainFile,
    "spool": Spooled,
    "sqlite": Sqlite,
}


def rates(*, rounds: int, folder: Path, say: Callable[[str], None]) -> Section:
    """Write and read rates of each candidate and size, as ratios to the plain file's."""
    raw: dict[str, Any] = {}
    rows: list[Row] = []
    for size, (size_bytes, count) in SIZES.items():
        values = [os.urandom(size_bytes) for _ in range(min(count, 40))]
        values = [values[number % len(values)] for number in range(count)]
        found: dict[str, dict[str, list[float]]] = {name: {"write": [], "open": [], "read": []} for name in CANDIDATES}
        for turn in range(rounds):
            names = list(CANDIDATES)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                write_s, open_s, read_s = _measure(CANDIDATES[name], values, folder=folder)
                found[name]["open"].append(round(open_s, 3))
                for what, seconds in (("write", write_s), ("read", read_s)):
                    found[name][what].append(round(size_bytes * count / seconds / 1e6, 1))
            say(
                f"{size}, round {turn + 1} of {rounds}: "
                + ", ".join(f"{n} {f['write'][-1]:g}/{f['read'][-1]:g} MB/s" for n, f in found.items())
            )
        raw[size] = found
        floor = AT_LEAST if size == "2 MB" else None
        for name in ("spool", "sqlite"):
            least = floor if name == "spool" else None
            rows += [
                ratio(f"{name}: write at {size} / plain file", found[name]["write"], found["plain file"]["write"], at_least=least),
                ratio(f"{name}: drain at {size} / plain file read", found[name]["read"], found["plain file"]["read"], at_least=least),
            ]  # fmt: skip
        opened_s = statistics.median(found["spool"]["open"]) / (size_bytes * count / 2**30)
        rows.append(Row(name=f"spool: opened after a restart, {size} records", value=round(opened_s, 2), unit="s/GiB"))
    return Section(rows=rows, raw=raw)


def rows(*, rounds: int, folder: Path, say: Callable[[str], None], with_outage: bool = True) -> Section:
    """Everything, for `make bench-floor`."""
    parts = [rates(rounds=rounds, folder=folder, say=say)]
    if with_outage:
        parts.append(spool_hour.outage(folder=folder, say=say))
    return Section(
        rows=[row for part in parts for row in part.rows], raw={k: v for part in parts for k, v in part.raw.items()}
    )


def main() -> None:
    """Measures, prints, writes the file. Exit status 1 where a floor is not reached."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("run/bench-spool"), help="on the disk to measure")
    parser.add_argument("--no-outage", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("run/spool.json"))
    asked = parser.parse_args()
    then = machine()
    console = Console(stderr=True)
    section = rows(rounds=asked.rounds, folder=asked.folder, say=console.log, with_outage=not asked.no_outage)
    write(asked.out, rows=section.rows, machine_then=then, details=section.raw)
    for row in section.rows:
        print(f"{row.name}: {row.value:g} {row.unit}" + {True: "", False: "  NOT MET", None: ""}[row.met])
    raise SystemExit(any(row.met is False for row in section.rows))


def _measure(
    candidate: Callable[[Path], PlainFile | Spooled | Sqlite], values: Sequence[bytes], *, folder: Path
) -> tuple[float, float, float]:
    """Seconds to write, to open again, and to read back."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = candidate(folder)
    began_s = time.monotonic()
    made.write(values)
    write_s = time.monotonic() - began_s
    _forget_cached(folder)
    began_s = time.monotonic()
    made.open()
    open_s = time.monotonic() - began_s
    _forget_cached(folder)
    began_s = time.monotonic()
    found = made.read(len(values), len(values[0]))
    read_s = time.monotonic() - began_s
    assert found == sum(map(len, values)), "everything came back"
    shutil.rmtree(folder)
    return write_s, open_s, read_s


def _forget_cached(folder: Path) -> None:
    """Puts the page cache out of the way of what is to be read."""
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


if __name__ == "__main__":
    main()
