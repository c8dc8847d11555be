"""The most that Triton gives to a client on the same machine: every tensor in system shared memory, references registered once.

Images are written into the slots of a ring, as a stage would have to; the best of several batch sizes and concurrencies.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.utils.shared_memory as shm
import uvloop
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from benchmarks.frames import Picture
from benchmarks.model_input import model_input
from schemas.recipes import ModelPin

SHAPES = ((1, 4), (1, 8), (4, 2), (4, 4), (8, 2), (8, 3))
"""(images in a request, requests in flight)"""
WARM_UP = 4
CLOSE_S = 5.0

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class _Batch:
    images: Image
    reference: str


class _Regions:
    """Regions of system shared memory, registered with the server."""

    def __init__(self, client: InferenceServerClient) -> None:
        self._client = client
        self._handles: dict[str, Any] = {}

    async def make(self, name: str, size_bytes: int) -> None:
        key = f"/linesight-bench-{os.getpid()}-{name}"
        self._handles[name] = shm.create_shared_memory_region(name, key, size_bytes)
        await self._client.register_system_shared_memory(name, key, size_bytes)

    def put(self, name: str, array: Image) -> None:
        shm.set_shared_memory_region(self._handles[name], [array])

    def get(self, name: str, shape: Sequence[int]) -> Image:
        return np.asarray(shm.get_contents_as_numpy(self._handles[name], np.uint8, shape), np.uint8)

    async def close(self) -> None:
        """The server lets go of a region a moment after the answer that is in it."""
        give_up_at_s = time.monotonic() + CLOSE_S
        while True:
            try:
                await self._client.unregister_system_shared_memory()
                break
            except InferenceServerException:
                if time.monotonic() > give_up_at_s:
                    raise
                await asyncio.sleep(0.05)
        for handle in self._handles.values():
            shm.destroy_shared_memory_region(handle)


def shared_memory_ceiling(url: str, pin: ModelPin, pictures: Sequence[Picture], *, count: int) -> dict[str, float]:
    """Frames per s by `<images in a request>x<requests in flight>`, about `count` frames each."""
    return uvloop.run(_measure(url, pin, pictures, count))


async def _measure(url: str, pin: ModelPin, pictures: Sequence[Picture], count: int) -> dict[str, float]:
    rates = {}
    async with InferenceServerClient(url) as client:
        for batch, in_flight in SHAPES:
            rates[f"{batch}x{in_flight}"] = round(
                await _rate(client, pin, pictures, count=count, batch=batch, in_flight=in_flight), 1
            )
    return rates


async def _rate(
    client: InferenceServerClient,
    pin: ModelPin,
    pictures: Sequence[Picture],
    *,
    count: int,
    batch: int,
    in_flight: int,
) -> float:
    regions = _Regions(client)
    batches, references = _batches(pictures, batch)
    difference = batches[0].images.shape
    try:
        for name, array in references.items():
            await regions.make(name, array.nbytes)
            regions.put(name, array)
        for slot in range(in_flight):
            await regions.make(f"image-{slot}", batches[0].images.nbytes)
            await regions.make(f"difference-{slot}", int(np.prod(difference)))

        async def worker(slot: int, todo: Iterator[_Batch]) -> None:
            output = InferRequestedOutput("difference")
            output.set_shared_memory(f"difference-{slot}", int(np.prod(difference)))
            for item in todo:
                regions.put(f"image-{slot}", item.images)
                inputs = [
                    _input("image", f"image-{slot}", item.images),
                    _input("reference", item.reference, references[item.reference]),
                ]
                await client.infer(pin.name, inputs, model_version=str(pin.version), outputs=[output])
                regions.get(f"difference-{slot}", difference)

        async def all_of(number: int) -> None:
            todo = islice(cycle(batches), number)
            await asyncio.gather(*(worker(slot, todo) for slot in range(in_flight)))

        await all_of(WARM_UP * in_flight)
        started = time.perf_counter()
        await all_of(count // batch)
        return (count // batch) * batch / (time.perf_counter() - started)
    finally:
        await regions.close()


def _input(name: str, region: str, array: Image) -> InferInput:
    tensor = InferInput(name, array.shape, "UINT8")
    tensor.set_shared_memory(region, array.nbytes)
    return tensor


def _batches(pictures: Sequence[Picture], batch: int) -> tuple[list[_Batch], dict[str, Image]]:
    """Images of one view each; and by region the reference of a view, as often as a batch has images."""
    of_view: dict[str, list[Image]] = {}
    references: dict[str, Image] = {}
    for picture in pictures:
        of_view.setdefault(picture.view, []).append(model_input(picture.decoded()))
        reference = model_input(picture.reference)
        references[f"reference-{picture.view}"] = np.repeat(reference, batch, axis=0)
    batches = [
        _Batch(images=np.concatenate(images[at : at + batch]), reference=f"reference-{view}")
        for view, images in of_view.items()
        for at in range(0, len(images) - batch + 1, batch)
    ]
    return batches, references
