"""The rounds of `make chaos`: every fault alone, then pairs that fit together; its proxy; and what its table calls held."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks.chaos.faults import BY_NAME, FAULTS
from benchmarks.chaos.proxy import Proxy, Way
from benchmarks.chaos.rounds import faults_of
from benchmarks.chaos.scene import Scene
from benchmarks.chaos.table import holds, table
from benchmarks.chaos.verdict_watch import VerdictWatch
from cli.demo_run import DemoRun
from ops.local.places import CHECKOUT
from ops.local.ports import HOST, free_ports
from schemas.plant_file import load_plant

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
def echo_server(port: int) -> Iterator[list[bytes]]:
    """Answers every connection with what it says; gives what it heard."""
    listening = socket.create_server((HOST, port))
    heard: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionResetError):
            while received := connection.recv(4096):
                heard.append(received)
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
        yield heard
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


@pytest.mark.parametrize("ways", [(way,) for way in Way] + [()])
def test_held_one_way_what_is_sent_arrives_or_its_answer_does_not(ways: tuple[Way, ...]) -> None:
    port, target = free_ports(2)
    with echo_server(target) as heard, Proxy(port=port, target_port=target, seed=1) as proxy, connect(proxy) as client:
        client.sendall(b"one")
        assert client.recv(4096) == b"one"
        proxy.hold(*ways)
        client.sendall(b"two")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(4096)
        assert (b"two" in heard) is (ways == (Way.TO_CLIENTS,))
        client.settimeout(TIMEOUT_S)
        proxy.release()
        assert client.recv(4096) == b"two"


def test_a_cut_ends_every_connection_and_lets_none_in_until_it_is_mended(proxy: Proxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"one")
        assert client.recv(4096) == b"one"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(4096)
    with pytest.raises(ConnectionResetError), connect(proxy) as meanwhile:  # `connect` itself may be reset
        meanwhile.recv(4096)
    proxy.release()
    with connect(proxy) as afterwards:
        afterwards.sendall(b"three")
        assert afterwards.recv(4096) == b"three"


def test_resets_end_a_connection_in_disorder(proxy: Proxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"one")
        assert client.recv(4096) == b"one"
        proxy.reset_some(1.0)
        with pytest.raises(ConnectionResetError):
            client.recv(4096)
    assert proxy.resets > 0


def test_a_fault_that_reset_nothing_did_not_take_place(proxy: Proxy, tmp_path: Path) -> None:
    nothing = cast(DemoRun, None)  # the line is not touched, and no connection is open
    scene = Scene(demo=nothing, run_dir=tmp_path, proxy=proxy)
    for _ in BY_NAME["1 % of connections reset"].course(scene):
        pass  # what it waits for has no part in this
    assert scene.missed == ["no connection to the broker was reset"]


def round_of(*faults: str, **figures: Any) -> dict[str, Any]:
    """What a round wrote in which everything held, but for `figures`."""
    held = {"lost": 0, "contradicted": 0, "repeated": 0, "broken": [], "in_flight": 9, "gap_ms": 400}
    return {"faults": list(faults), **held, "first_s": 1.5, "first_decided_s": 1.6, **figures}


@pytest.mark.parametrize(
    "figures",
    [
        {"broken": ["a part left twice"]},
        {"lost": 1},
        {"contradicted": 1},
        {"first_decided_s": 5.01},
        {"first_decided_s": None},
        {"not_over": ["kill judge"]},
        {"failed": "not finished in time"},
    ],
)
def test_a_round_in_which_one_thing_is_not_met_or_was_not_seen_does_not_hold(figures: dict[str, Any]) -> None:
    results = {1: round_of("kill judge"), 2: round_of("kill judge", **figures)}
    assert [holds(number, result) for number, result in results.items()] == [True, False]
    _, _, held, not_held = table(results).splitlines()
    assert held.endswith("| yes |")
    assert not not_held.endswith("| yes |")


def test_no_verdict_need_follow_a_fault_without_a_ceiling_and_a_gap_may_be_missing() -> None:
    assert holds(1, round_of("hang triton", first_s=None, first_decided_s=None, gap_ms=None))


def test_a_fault_with_a_ceiling_beside_one_without_keeps_it() -> None:
    assert not holds(1, round_of("hang triton", "kill judge", first_decided_s=5.01))
    assert holds(1, round_of("kill broker", "kill judge", first_decided_s=9.99))


def test_a_watch_that_could_not_read_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv("KAFKA_SSL_CAFILE", "/nowhere/ca.pem")
    plant = load_plant(CHECKOUT / "plants" / "demo.yaml")
    with pytest.raises(RuntimeError, match=r"/nowhere/ca\.pem"), VerdictWatch(plant):
        pass
