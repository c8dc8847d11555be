"""A quixstreams pipeline, as its documentation teaches: `app.dataframe(topic).apply(...).to_topic(...)`, then `app.run`.

It has no concurrency within a process; its documentation scales by processes in one consumer group, as the inspect stage can be
too. So one process of it stands beside one of the stage. Runs in an environment of its own (`environment.py`). Arguments as of
`naive_loop`.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import cv2
import msgpack  # type: ignore[import-untyped]
import numpy as np
from quixstreams import Application
from tritonclient.grpc import InferenceServerClient

from benchmarks.peers.comparing import Assignment, boxes_of, compare_inputs, read_references


def main(task: Assignment) -> None:
    """Inspects `count` frames and prints when each was done (s)."""
    golden = read_references(task)
    client = InferenceServerClient(task.triton_url)
    done: list[float] = []

    app = Application(
        broker_address=task.bootstrap,
        consumer_group=f"quix-{task.frames}-{os.getpid()}",
        auto_offset_reset="earliest",
        auto_create_topics=False,
        loglevel="ERROR",
    )
    frames = app.topic(task.frames, value_deserializer="bytes")
    results = app.topic(task.results, value_serializer="bytes", key_serializer="bytes")

    def inspect(value: bytes) -> dict[str, Any]:
        frame = msgpack.unpackb(value)
        image = cv2.imdecode(np.frombuffer(frame["image"], np.uint8), cv2.IMREAD_GRAYSCALE)
        inputs = compare_inputs(np.asarray(image, np.uint8), golden[frame["view"]])
        answer = client.infer(task.model, inputs, model_version=task.version)
        done.append(time.time())
        return {"id": frame["id"], "boxes": boxes_of(answer.as_numpy("difference"))}

    sdf = app.dataframe(frames)
    sdf = sdf.apply(inspect).apply(msgpack.packb).to_topic(results)
    app.run(count=task.count)
    print(json.dumps(done))


if __name__ == "__main__":
    main(Assignment.of_command_line())
