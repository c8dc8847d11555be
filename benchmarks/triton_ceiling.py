"""The most that Triton gives to one client: decoded tensors over gRPC, nothing else to do, the best of several concurrencies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import cycle, islice

import uvloop
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from benchmarks.frames import Picture
from benchmarks.model_input import model_input
from schemas.recipes import ModelPin

CONCURRENCIES = (2, 4, 8, 16)
WARM_UP = 32


def ceiling(url: str, pin: ModelPin, pictures: Sequence[Picture], *, count: int) -> dict[int, float]:
    """Frames per s of a compare model by the number of requests in flight, `count` frames each, one frame a request."""
    requests = [_inputs(picture) for picture in pictures]
    return uvloop.run(_measure(url, pin, requests, count))


async def _measure(url: str, pin: ModelPin, requests: list[list[InferInput]], count: int) -> dict[int, float]:
    async with InferenceServerClient(url) as client:
        await _infer_all(client, pin, requests, WARM_UP, in_flight=4)
        rates = {}
        for in_flight in CONCURRENCIES:
            started = time.perf_counter()
            await _infer_all(client, pin, requests, count, in_flight=in_flight)
            rates[in_flight] = round(count / (time.perf_counter() - started), 1)
        return rates


def _inputs(picture: Picture) -> list[InferInput]:
    inputs = []
    for name, pixels in (("image", picture.decoded()), ("reference", picture.reference)):
        array = model_input(pixels)
        tensor = InferInput(name, array.shape, "UINT8")
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    return inputs


async def _infer_all(
    client: InferenceServerClient, pin: ModelPin, requests: list[list[InferInput]], count: int, *, in_flight: int
) -> None:
    todo = islice(cycle(requests), count)

    async def worker() -> None:
        for inputs in todo:
            result = await client.infer(pin.name, inputs, model_version=str(pin.version))
            result.as_numpy("difference")

    await asyncio.gather(*(worker() for _ in range(in_flight)))
