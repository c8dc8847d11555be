"""Ports of local services are free, different, and cannot be handed to a client that looks for the service."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from ops.local import ports


def test_free_ports_are_different_and_nothing_listens_there() -> None:
    found = ports.free_ports(20)
    assert len(set(found)) == 20
    assert not any(ports.answers(ports.HOST, port) for port in found)


def test_free_ports_are_below_those_the_kernel_gives_to_clients() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(ports.free_ports(50)) < lowest


def test_a_port_with_a_listener_is_not_free() -> None:
    with socket.create_server((ports.HOST, 0)) as listener:
        port = listener.getsockname()[1]
        assert not ports.is_free(port)
        assert ports.answers(ports.HOST, port)
    assert ports.is_free(port)


def test_two_processes_never_choose_the_same_port() -> None:
    """Each asks for many at once; what one has chosen the other does not get, though nothing listens yet."""
    code = "from ops.local.ports import free_ports; print(*free_ports(60)); input()"
    command = [sys.executable, "-c", f"import random; random.seed(1); {code}"]
    asked = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        chosen = [set(process.stdout.readline().split()) for process in asked if process.stdout]
    finally:
        for process in asked:
            process.communicate("\n", timeout=30)
    assert all(len(ports) == 60 for ports in chosen)
    assert not chosen[0] & chosen[1]
