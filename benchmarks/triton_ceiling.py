"""The most that Triton gives to one client: decoded tensors over gRPC, nothing else to do, the best of several concurrencies."""

from __future__ import annotations

import asyncio
import time
from itertools import cycle, islice

import uvloop
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from benchmarks.frames import Picture

CONCURRENCIES = (2, 4, 8, 16)
WARM_UP = 32


def ceiling(url: str, pictures: list[Picture], *, count: int) -> dict[int, float]:
    """Frames per s of golden_compare by the number of requests in flight, `count` frames each."""
    return uvloop.run(_measure(url, pictures, count))


async def _measure(url: str, pictures: list[Picture], count: int) -> dict[int, float]:
    requests = [_inputs(picture) for picture in pictures]
    async with InferenceServerClient(url) as client:
        await _infer_all(client, requests, WARM_UP, in_flight=4)
        rates = {}
        for in_flight in CONCURRENCIES:
            started = time.perf_counter()
            await _infer_all(client, requests, count, in_flight=in_flight)
            rates[in_flight] = count / (time.perf_counter() - started)
        return rates


def _inputs(picture: Picture) -> list[InferInput]:
    inputs = []
    for name, pixels in (("image", picture.decoded()), ("reference", picture.reference)):
        tensor = InferInput(name, [1, 1, *pixels.shape], "UINT8")
        tensor.set_data_from_numpy(pixels[None, None])
        inputs.append(tensor)
    return inputs


async def _infer_all(
    client: InferenceServerClient, requests: list[list[InferInput]], count: int, *, in_flight: int
) -> None:
    todo = islice(cycle(requests), count)

    async def worker() -> None:
        for inputs in todo:
            result = await client.infer("golden_compare", inputs)
            result.as_numpy("difference")

    await asyncio.gather(*(worker() for _ in range(in_flight)))
