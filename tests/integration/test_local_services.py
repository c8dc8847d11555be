"""The real inference server: batches, costs of a bad request, back after a crash; and gone with the broker when their owner is."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tritonclient.grpc.aio as triton_client
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from ops.local import triton as local_triton
from ops.local.children import DidNotStart
from ops.local.kafka import LocalKafka
from ops.local.places import CHECKOUT
from ops.local.shared_memory import PREFIX, SHM
from ops.local.triton import GivenTriton, LocalTriton, triton_service
from schemas.errors import ServiceAway

DEADLINE_S = 60.0


def wait_until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up_at, "did not come true in time"
        time.sleep(0.05)


def lives(pid: int) -> bool:
    try:
        return b") Z " not in Path("/proc", str(pid), "stat").read_bytes()
    except OSError:
        return False


def descendants(pid: int) -> set[int]:
    """All processes below `pid`."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found: set[int] = set()
    open_ = [pid]
    while open_:
        below = children.get(open_.pop(), [])
        found.update(below)
        open_.extend(below)
    return found


INVERT = """name: "{name}"
backend: "onnxruntime"
max_batch_size: 8
input [{{ name: "x" data_type: TYPE_UINT8 dims: [ -1 ] }}]
output [{{ name: "y" data_type: TYPE_UINT8 dims: [ -1 ] }}]
dynamic_batching {{ max_queue_delay_microseconds: 200000 }}
instance_group [{{ kind: KIND_CPU count: 1 }}]
"""
PICKY_LIMIT = 10


def save_model(repository: Path, name: str, nodes: list[onnx.NodeProto], initializer: list[onnx.TensorProto]) -> None:
    """A model from uint8 (n, k) to uint8 (n, k)."""
    x, y = (helper.make_tensor_value_info(side, TensorProto.UINT8, ["n", "k"]) for side in "xy")
    graph = helper.make_graph(nodes, name, [x], [y], initializer)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    (repository / name / "config.pbtxt").write_text(INVERT.format(name=name))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`invert`: 255 - x. `picky`: x, and fails as a whole if any x is over 9. `census`: how many rows its run had."""
    folder = tmp_path_factory.mktemp("models")
    save_model(folder, "invert", [helper.make_node("BitwiseNot", ["x"], ["y"])], [])
    table = helper.make_tensor("table", TensorProto.UINT8, [PICKY_LIMIT], list(range(PICKY_LIMIT)))
    cast = helper.make_node("Cast", ["x"], ["index"], to=TensorProto.INT64)
    save_model(folder, "picky", [cast, helper.make_node("Gather", ["table", "index"], ["y"])], [table])
    shape = [
        helper.make_node("Shape", ["x"], ["shape"], start=0, end=1),
        helper.make_node("Cast", ["shape"], ["rows"], to=TensorProto.UINT8),
        helper.make_node("Sub", ["x", "x"], ["zero"]),
        helper.make_node("Add", ["zero", "rows"], ["y"]),
    ]
    save_model(folder, "census", shape, [])
    return folder


@pytest.fixture(scope="module")
def server(triton_installed: None, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTriton]:
    """A server that these tests may kill."""
    with LocalTriton(tmp_path_factory.mktemp("triton"), repository) as local:
        yield local


def ask(server: LocalTriton, question: Callable[[Any], Awaitable[Any]]) -> Any:
    """The answer to a question put to an aio client of the server."""

    async def put() -> Any:
        async with triton_client.InferenceServerClient(server.url) as client:
            return await question(client)

    return asyncio.run(put())


async def infer(client: Any, model: str, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    tensor = triton_client.InferInput("x", list(x.shape), "UINT8")
    tensor.set_data_from_numpy(x)
    answer = await client.infer(model, [tensor], client_timeout=DEADLINE_S)
    return np.asarray(answer.as_numpy("y"))


def row(value: int, width: int = 5) -> np.ndarray[Any, Any]:
    return np.full((1, width), value, np.uint8)


def test_every_model_of_the_repository_is_loaded_and_answers(server: LocalTriton) -> None:
    large = np.arange(3 << 20, dtype=np.uint8).reshape(3, 1 << 20)
    np.testing.assert_array_equal(ask(server, lambda client: infer(client, "invert", large)), 255 - large)
    np.testing.assert_array_equal(ask(server, lambda client: infer(client, "picky", row(7))), row(7))


def test_requests_at_the_same_time_run_as_one_batch(server: LocalTriton) -> None:
    async def together(client: Any) -> list[np.ndarray[Any, Any]]:
        return list(await asyncio.gather(*(infer(client, "census", row(0)) for _ in range(8))))

    assert max(answer.max() for answer in ask(server, together)) > 1


def test_each_request_of_a_batch_gets_its_own_answer(server: LocalTriton) -> None:
    async def together(client: Any) -> list[np.ndarray[Any, Any]]:
        rows = [np.repeat(row(value), 1 + value % 3, axis=0) for value in range(12)]
        return list(await asyncio.gather(*(infer(client, "invert", rows_of_one) for rows_of_one in rows)))

    for value, answer in enumerate(ask(server, together)):
        np.testing.assert_array_equal(answer, np.repeat(row(255 - value), 1 + value % 3, axis=0))


def test_one_bad_request_costs_only_itself_and_the_server_goes_on(server: LocalTriton) -> None:
    async def together(client: Any) -> list[Any]:
        values = [1, 2, PICKY_LIMIT + 1, 3]
        return list(
            await asyncio.gather(*(infer(client, "picky", row(value)) for value in values), return_exceptions=True)
        )

    first, second, bad, third = ask(server, together)
    assert isinstance(bad, InferenceServerException)
    assert "out of data bounds" in str(bad)
    for value, answer in ((1, first), (2, second), (3, third)):
        np.testing.assert_array_equal(answer, row(value))
    np.testing.assert_array_equal(ask(server, lambda client: infer(client, "picky", row(4))), row(4))


def test_kill_9_of_the_server_and_it_is_back_with_its_models_at_the_same_address(server: LocalTriton) -> None:
    before = (server.url, server.metrics_url)
    server.child.kill()
    assert server.poll() is not None
    server.start()
    assert (server.url, server.metrics_url) == before
    np.testing.assert_array_equal(ask(server, lambda client: infer(client, "invert", row(1))), row(254))


def test_only_the_named_models_are_loaded(triton_installed: None, repository: Path, tmp_path: Path) -> None:
    with LocalTriton(tmp_path, repository, models=["invert"]) as server:
        assert ask(server, lambda client: client.is_model_ready("invert"))
        assert not ask(server, lambda client: client.is_model_ready("picky"))
        ask(server, lambda client: client.load_model("picky"))
        assert ask(server, lambda client: client.is_model_ready("picky"))


def test_a_trained_model_is_served_from_a_second_repository_and_a_broken_one_keeps_nothing_from_starting(
    triton_installed: None, repository: Path, tmp_path: Path
) -> None:
    trained = tmp_path / "trained"
    save_model(trained, "later", [helper.make_node("BitwiseNot", ["x"], ["y"])], [])
    save_model(trained, "broken", [helper.make_node("BitwiseNot", ["x"], ["y"])], [])
    (trained / "broken" / "1" / "model.onnx").write_bytes(b"not a model")
    with LocalTriton(tmp_path, repository, trained=trained) as server:
        assert ask(server, lambda client: client.is_model_ready("invert"))
        assert not ask(server, lambda client: client.is_model_ready("later"))
        ask(server, lambda client: client.load_model("later"))
        assert ask(server, lambda client: client.is_model_ready("later"))


def test_a_model_that_cannot_be_loaded_is_named_with_the_reason(triton_installed: None, tmp_path: Path) -> None:
    save_model(tmp_path / "models", "broken", [helper.make_node("BitwiseNot", ["x"], ["y"])], [])
    (tmp_path / "models" / "broken" / "1" / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(DidNotStart, match=r"(?s)mend or remove it.*broken.*INVALID_PROTOBUF"):
        LocalTriton(tmp_path, tmp_path / "models").start()


def test_stopping_removes_the_servers_shared_memory(triton_installed: None, repository: Path, tmp_path: Path) -> None:
    def regions() -> set[Path]:  # of servers that this process started: other tests run their own beside it
        return set(SHM.glob(f"{PREFIX}_{os.getpid()}_*"))

    before = regions()
    with LocalTriton(tmp_path, repository):
        assert regions() > before
    assert regions() == before


def test_shared_memory_of_an_owner_that_died_is_swept_at_the_next_start(
    triton_installed: None, repository: Path, tmp_path: Path
) -> None:
    with subprocess.Popen(["true"]) as dead:
        pass
    left_behind = SHM / f"linesight_triton_{dead.pid}_1_0_{uuid.uuid4()}"
    of_others = SHM / f"somebody_else_{uuid.uuid4()}"
    left_behind.touch()
    of_others.touch()
    try:
        with LocalTriton(tmp_path, repository, models=()):
            assert not left_behind.exists()
            assert of_others.exists()
    finally:
        left_behind.unlink(missing_ok=True)
        of_others.unlink()


def test_the_environments_triton_is_used_and_one_that_is_away_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local_triton, "REACHABLE_S", 0.1)
    monkeypatch.delenv("TRITON_URL", raising=False)
    assert isinstance(triton_service(tmp_path, tmp_path), LocalTriton)
    monkeypatch.setenv("TRITON_URL", "127.0.0.1:9")
    service = triton_service(tmp_path, tmp_path)
    assert isinstance(service, GivenTriton)
    with pytest.raises(ServiceAway, match="TRITON_URL"):
        service.start()


OWNER = """
import sys, time
from pathlib import Path
from ops.local.kafka import LocalKafka
from ops.local.triton import LocalTriton
run_dir, repository = map(Path, sys.argv[1:])
with LocalKafka(run_dir) as kafka, LocalTriton(run_dir, repository) as triton:
    print(kafka.child.pid, triton.child.pid, flush=True)
    time.sleep(600)
"""


def test_kill_9_of_the_owner_leaves_no_process_and_no_shared_memory_and_the_next_start_works(
    kafka_installed: None, triton_installed: None, repository: Path, tmp_path: Path
) -> None:
    command: list[str | Path] = [sys.executable, "-c", OWNER, tmp_path, repository]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as owner:
        assert owner.stdout is not None
        started = {int(pid) for pid in owner.stdout.readline().split()}
        below = descendants(owner.pid)
        assert started < below, "guards, broker, server and its Python processes"
        regions = [region for region in SHM.iterdir() if f"_{owner.pid}_" in region.name]
        assert regions
        owner.kill()
        owner.wait()
        with LocalKafka(tmp_path) as kafka:  # waits for the old broker, does not adopt it
            assert kafka.child.pid not in below
    wait_until(lambda: not any(lives(pid) for pid in below))
    assert not any(region.exists() for region in regions)
