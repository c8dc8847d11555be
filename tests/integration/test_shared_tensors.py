"""A Triton on the same machine answers through shared memory as it does over gRPC, and nothing of it stays behind."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc.aio import InferenceServerClient

from ops.local.places import CHECKOUT
from ops.local.triton import LocalTriton
from processors.model_registry import Registry
from schemas.recipes import ModelPin
from schemas.settings import TritonSettings
from schemas.telemetry import Stage
from topologies.shared_tensors import FOLDER
from topologies.triton import Model, Triton

PIN = ModelPin(name="golden_compare", version=2)
OWNER = f"test-{os.getpid()}"
GREY = np.zeros((1, 1, 32, 32), np.uint8)


async def client(url: str, *, stage: Stage | None = None, **settings: Any) -> Triton:
    model = Model(pin=PIN, outputs=("difference",), known={"image": GREY, "reference": GREY})
    triton = Triton(
        settings=TritonSettings(url=url, model_repository=CHECKOUT / "triton_models", **settings),
        stage=stage or Stage("inspect"),
        owner=OWNER,
        told=Registry().told,
    )
    await triton.hold(model)
    return triton


def ours(folder: Path = FOLDER) -> list[str]:
    """Names of this process's slots."""
    return [path.name for path in folder.glob(f"linesight-{OWNER}-*")]


async def known_to(url: str) -> list[str]:
    """Names of our slots that the server has mapped."""
    async with InferenceServerClient(url) as server:
        status = await server.get_system_shared_memory_status()
    return [name for name in status.regions if name.startswith(f"linesight-{OWNER}-")]


def restarted(server: LocalTriton) -> None:
    server.stop()
    server.start()


async def ask(triton: Triton, pictures: np.ndarray) -> list[np.ndarray]:
    answers = await asyncio.gather(
        *(triton.infer(PIN, {"image": picture[None], "reference": pictures[0][None]}) for picture in pictures)
    )
    return [answer["difference"] for answer in answers]


async def test_shared_memory_gives_the_answers_that_grpc_gives(triton: str) -> None:
    pictures = np.random.default_rng(1).integers(0, 255, (20, 1, 96, 128), np.uint8)
    over_grpc, shared = await client(triton, shared_memory="off"), await client(triton)
    try:
        expected = await ask(over_grpc, pictures)
        assert ours() == []
        for _ in range(3):  # the first of a kind goes over gRPC: it shows how large the answers are
            found = await ask(shared, pictures)
            for one, other in zip(found, expected, strict=True):
                assert np.array_equal(one, other)
        assert set(await known_to(triton)) == set(ours()) != set()
    finally:
        await shared.close()
        await over_grpc.close()
    assert ours() == []
    assert await known_to(triton) == []


async def test_what_a_killed_worker_left_is_let_go_of_by_the_next_one(triton: str) -> None:
    pictures = np.random.default_rng(4).integers(0, 255, (4, 1, 64, 64), np.uint8)
    killed = await client(triton)  # never closed
    for _ in range(2):
        await ask(killed, pictures)
    left = set(await known_to(triton))
    assert left
    following = await client(triton)
    try:
        for _ in range(2):
            await ask(following, pictures)
        assert not left & set(await known_to(triton))
        assert not left & set(ours())
    finally:
        await following.close()


@pytest.mark.usefixtures("triton_installed")
async def test_a_server_that_came_back_has_forgotten_the_memory_and_gets_new(tmp_path: Path) -> None:
    pictures = np.random.default_rng(2).integers(0, 255, (4, 1, 64, 64), np.uint8)
    server = LocalTriton(tmp_path, CHECKOUT / "triton_models", models=())
    server.start()
    triton = await client(server.url)
    try:
        expected = await ask(triton, pictures)
        await ask(triton, pictures)
        before = set(ours())
        assert before
        os.kill(server.child.pid, signal.SIGKILL)
        await asyncio.to_thread(restarted, server)
        for one, other in zip(await ask(triton, pictures), expected, strict=True):
            assert np.array_equal(one, other)
        assert not before & set(ours())
    finally:
        await triton.close()
        server.stop()


async def test_a_server_that_cannot_open_the_memory_is_asked_over_grpc(
    triton: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("topologies.shared_tensors.FOLDER", tmp_path)  # the server looks in /dev/shm
    pictures = np.random.default_rng(3).integers(0, 255, (4, 1, 64, 64), np.uint8)
    stage = Stage("inspect")
    asked = await client(triton, stage=stage)
    try:
        for _ in range(2):
            assert len(await ask(asked, pictures)) == 4
        assert ours(tmp_path) == []
        told = stage.registry.get_sample_value("linesight_inspect_noticed_total", {"what": "no_shared_memory"})
        assert told == 1
    finally:
        await asked.close()
