"""Ports of local services are free, different, and cannot be handed to a client that looks for the service."""

from __future__ import annotations

import socket
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
