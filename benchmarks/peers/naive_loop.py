"""The loop that one would write first: kafka-python, cv2 and tritonclient, one frame at a time.

It does less than the inspect stage: no alignment, no classification, no checks, no order to keep, and what it does with a
broken image is to die. Run by `benchmarks.throughput` as a process of its own, as every peer is:

    python -m benchmarks.peers.naive_loop \
        BOOTSTRAP_SERVERS TRITON_URL FRAMES_TOPIC RESULTS_TOPIC COUNT REFERENCES_FOLDER RECIPE MODEL VERSION
"""

from __future__ import annotations

import json
import time

import cv2
import msgpack  # type: ignore[import-untyped]
import numpy as np
from kafka import KafkaConsumer, KafkaProducer
from tritonclient.grpc import InferenceServerClient

from benchmarks.peers.comparing import Assignment, boxes_of, compare_inputs, read_references


def main(task: Assignment) -> None:
    """Inspects `count` frames and prints when each was done (s)."""
    golden = read_references(task)
    consumer = KafkaConsumer(
        task.frames,
        bootstrap_servers=task.bootstrap,
        group_id="naive",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = KafkaProducer(bootstrap_servers=task.bootstrap, acks="all")
    client = InferenceServerClient(task.triton_url)
    done = []
    for record in consumer:
        frame = msgpack.unpackb(record.value)
        image = cv2.imdecode(np.frombuffer(frame["image"], np.uint8), cv2.IMREAD_GRAYSCALE)
        inputs = compare_inputs(np.asarray(image, np.uint8), golden[frame["view"]])
        answer = client.infer(task.model, inputs, model_version=task.version)
        result = {"id": frame["id"], "boxes": boxes_of(answer.as_numpy("difference"))}
        producer.send(task.results, key=frame["station"].encode(), value=msgpack.packb(result)).get(timeout=10)
        consumer.commit()
        done.append(time.time())
        if len(done) == task.count:
            break
    consumer.close()
    print(json.dumps(done))


if __name__ == "__main__":
    main(Assignment.of_command_line())
