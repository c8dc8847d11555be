"""Ports of the local services: free ones, and who holds a taken one."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import TextIO

HOST = "127.0.0.1"
LOWEST_PORT = 20000
DEFAULT_EPHEMERAL_PORT = 32768
TRIES = 200

_claims: list[TextIO] = []


def _lowest_ephemeral_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return DEFAULT_EPHEMERAL_PORT


def is_free(port: int) -> bool:
    """Whether nothing listens on the loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def answers(host: str, port: int, *, timeout_s: float = 1.0) -> bool:
    """Whether something accepts a connection there."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def _reserve(port: int) -> bool:
    """Claims a port among all lines of this user on this machine for as long as this process lives.

    Seconds pass between choosing a port and listening on it; without this, two lines that start together now and then choose
    the same.
    """
    folder = Path(tempfile.gettempdir()) / f"linesight-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    claim = (folder / str(port)).open("w")
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        claim.close()
        return False
    _claims.append(claim)
    return True


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now, all different.

    Taken below the kernel's ephemeral range: a client that retries a service which is away would otherwise one day be given the
    service's own port as its source port, connect to itself, and keep the service from coming back.
    """
    highest = _lowest_ephemeral_port()
    candidates = range(LOWEST_PORT, highest) if highest - LOWEST_PORT >= TRIES else range(LOWEST_PORT, 65536)
    found: list[int] = []
    for port in random.sample(candidates, TRIES):
        if _reserve(port) and is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(
        f"no {count} free ports between {candidates.start} and {candidates.stop} on {HOST}: stop what listens there"
    )
