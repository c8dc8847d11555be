"""A Faust agent that awaits Triton for each frame, as Faust's user guide teaches agents: `async for` over the stream, `send` to a topic.

With the option that the guide gives for slow work, `concurrency`: so many coroutines share the stream (what that does to offsets
when one fails is not this benchmark's subject). Arguments as of `naive_loop`; the concurrency is in `FAUST_CONCURRENCY`.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import AsyncIterable

import cv2
import faust
import msgpack  # type: ignore[import-untyped]
import numpy as np
from tritonclient.grpc.aio import InferenceServerClient

from benchmarks.peers.comparing import Assignment, boxes_of, compare_inputs, read_references

task = Assignment.of_command_line()
golden = read_references(task)
done: list[float] = []

app = faust.App(
    f"faust-{task.frames}-{os.getpid()}",
    broker=f"kafka://{task.bootstrap}",
    value_serializer="raw",
    consumer_auto_offset_reset="earliest",
    topic_disable_leader=True,
    web_enabled=False,
)
frames = app.topic(task.frames, value_type=bytes)
results = app.topic(task.results, value_type=bytes)
clients: list[InferenceServerClient] = []


@app.agent(frames, concurrency=int(os.environ["FAUST_CONCURRENCY"]))  # type: ignore[untyped-decorator]
async def inspect(stream: AsyncIterable[bytes]) -> None:
    """Compares each frame and sends what it found."""
    if not clients:
        clients.append(InferenceServerClient(task.triton_url))
    async for value in stream:
        frame = msgpack.unpackb(value)
        image = cv2.imdecode(np.frombuffer(frame["image"], np.uint8), cv2.IMREAD_GRAYSCALE)
        inputs = compare_inputs(np.asarray(image, np.uint8), golden[frame["view"]])
        answer = await clients[0].infer(task.model, inputs, model_version=task.version)
        result = {"id": frame["id"], "boxes": boxes_of(answer.as_numpy("difference"))}
        await results.send(key=frame["station"].encode(), value=msgpack.packb(result))
        done.append(time.time())
        if len(done) == task.count:
            print(json.dumps(done), flush=True)
            os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    faust.Worker(app, loglevel="ERROR", redirect_stdouts=False).execute_from_commandline()
