"""Ports of the local services: free ones, and who holds a taken one."""

from __future__ import annotations

import random
import socket
from pathlib import Path

HOST = "127.0.0.1"
LOWEST_PORT = 20000
DEFAULT_EPHEMERAL_PORT = 32768
TRIES = 200


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


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now, all different.

    Taken below the kernel's ephemeral range: a client that retries a service which is away would otherwise one day be given the
    service's own port as its source port, connect to itself, and keep the service from coming back.
    """
    highest = _lowest_ephemeral_port()
    candidates = range(LOWEST_PORT, highest) if highest - LOWEST_PORT >= TRIES else range(LOWEST_PORT, 65536)
    found: list[int] = []
    for port in random.sample(candidates, TRIES):
        if is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(
        f"no {count} free ports between {candidates.start} and {candidates.stop} on {HOST}: stop what listens there"
    )
