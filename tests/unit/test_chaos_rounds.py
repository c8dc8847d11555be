"""The rounds of `make chaos`: every fault alone, then pairs that fit together, the same ones for the same seed; and its proxy."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ops.local.places import CHECKOUT
from ops.local.ports import HOST, free_ports

sys.path.insert(0, str(CHECKOUT))  # `benchmarks` is not installed

from benchmarks.chaos.faults import FAULTS
from benchmarks.chaos.proxy import Proxy
from benchmarks.chaos.rounds import faults_of

TIMEOUT_S = 20.0


def test_every_fault_comes_alone_before_pairs_come() -> None:
    alone = [faults_of(number, seed=1) for number in range(1, len(FAULTS) + 1)]
    assert [fault for faults in alone for fault in faults] == list(FAULTS)


def test_pairs_do_not_touch_the_same_thing_and_follow_from_the_seed() -> None:
    numbers = range(len(FAULTS) + 1, len(FAULTS) + 40)
    pairs = [faults_of(number, seed=5) for number in numbers]
    assert all(first.target != second.target for first, second in pairs)
    assert pairs == [faults_of(number, seed=5) for number in numbers]
    assert pairs != [faults_of(number, seed=6) for number in numbers]


@contextmanager
def echo_server(port: int) -> Iterator[None]:
    """Answers every connection with what it says."""
    listening = socket.create_server((HOST, port))

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionResetError):
            while received := connection.recv(4096):
                connection.sendall(received)

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return  # closed: the test is over
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    port, target = free_ports(2)
    with echo_server(target), Proxy(port=port, target_port=target, seed=1) as made:
        yield made


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection((HOST, proxy.port), timeout=TIMEOUT_S)


def test_what_passes_the_proxy_is_what_was_sent_later_or_not(proxy: Proxy) -> None:
    with connect(proxy) as client:
        for delay_ms in (0.0, 20.0):
            proxy.delay(delay_ms)
            client.sendall(b"frame")
            assert client.recv(4096) == b"frame"


def test_a_held_connection_goes_on_where_it_was(proxy: Proxy) -> None:
    with connect(proxy) as before:
        before.sendall(b"one")
        assert before.recv(4096) == b"one"
        proxy.hold()
        before.sendall(b"two")
        with connect(proxy) as meanwhile:  # accepted, not refused
            meanwhile.sendall(b"three")
            proxy.release()
            assert before.recv(4096) == b"two"
            assert meanwhile.recv(4096) == b"three"


def test_resets_end_a_connection_in_disorder(proxy: Proxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"one")
        assert client.recv(4096) == b"one"
        proxy.reset_some(1.0)
        with pytest.raises(ConnectionResetError):
            client.recv(4096)
    assert proxy.resets > 0
