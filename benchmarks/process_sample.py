"""What a process and its children hold at a moment: memory, open files, threads, sockets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil

KIB_PER_MIB = 1024
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """`memory_mib` is the proportional set size: what is shared with others counts by its share."""

    memory_mib: float
    files: int
    threads: int
    sockets: int


def sample(pid: int) -> Sample | None:
    """Of the process and all its descendants; None where it is gone."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return None
    held = [found for process in family if (found := _or_none(partial(_one, process.pid))) is not None]
    if not held:
        return None
    return Sample(
        memory_mib=sum(each.memory_mib for each in held),
        files=sum(each.files for each in held),
        threads=sum(each.threads for each in held),
        sockets=sum(each.sockets for each in held),
    )


def connections_to(pid: int, port: int) -> int:
    """Established TCP connections that the process accepted on a port."""
    found = _or_none(lambda: psutil.Process(pid).net_connections(kind="tcp")) or []
    return sum(each.status == psutil.CONN_ESTABLISHED and each.laddr.port == port for each in found)


def _one(pid: int) -> Sample:
    folder = Path("/proc") / str(pid)
    links = [_or_none(link.readlink) for link in (folder / "fd").iterdir()]
    return Sample(
        memory_mib=_number_after("Pss:", (folder / "smaps_rollup").read_text()) / KIB_PER_MIB,
        files=len(links),
        threads=_number_after("Threads:", (folder / "status").read_text()),
        sockets=sum(link is not None and link.name.startswith("socket:") for link in links),
    )


def _number_after(word: str, text: str) -> int:
    return int(text.partition(f"\n{word}")[2].split()[0])


def _or_none(ask: Callable[[], Answer]) -> Answer | None:
    """None where the process or its file went away meanwhile."""
    try:
        return ask()
    except (OSError, psutil.Error):
        return None
