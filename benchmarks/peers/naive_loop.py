"""The loop that one would write first: kafka-python, cv2 and tritonclient, one frame at a time.

It does less than the inspect stage: no alignment, no classification, no checks, no order to keep, and what it does with a
broken image is to die. Run by `benchmarks.inspect_throughput` as a process of its own:

    python -m benchmarks.peers.naive_loop BOOTSTRAP_SERVERS TRITON_URL FRAMES_TOPIC RESULTS_TOPIC COUNT REFERENCES_FOLDER
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import cv2
import msgpack  # type: ignore[import-untyped]
import numpy as np
from kafka import KafkaConsumer, KafkaProducer
from tritonclient.grpc import InferenceServerClient, InferInput

THRESHOLD = 90


def main(*, bootstrap: str, triton_url: str, topic: str, results: str, count: int, references: Path) -> None:
    """Inspects `count` frames and prints when each was done (s)."""
    golden = {path.stem: cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(references.glob("*.png"))}
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id="naive",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    client = InferenceServerClient(triton_url)
    done = []
    for record in consumer:
        frame = msgpack.unpackb(record.value)
        image = cv2.imdecode(np.frombuffer(frame["image"], np.uint8), cv2.IMREAD_GRAYSCALE)
        reference = golden[f"{frame['recipe'].partition('@')[0]}-{frame['view']}"]
        inputs = []
        for name, pixels in (("image", np.asarray(image)), ("reference", np.asarray(reference))):
            tensor = InferInput(name, [1, 1, *pixels.shape], "UINT8")
            tensor.set_data_from_numpy(pixels[None, None])
            inputs.append(tensor)
        difference = client.infer("golden_compare", inputs).as_numpy("difference")[0, 0]
        mask = (difference >= THRESHOLD).astype(np.uint8)
        _, _, boxes, _ = cv2.connectedComponentsWithStats(mask)
        result = {"id": frame["id"], "boxes": boxes[1:, :4].tolist()}
        producer.send(results, key=frame["station"].encode(), value=msgpack.packb(result)).get(timeout=10)
        consumer.commit()
        done.append(time.perf_counter())
        if len(done) == count:
            break
    consumer.close()
    print(json.dumps(done))


if __name__ == "__main__":
    bootstrap, triton_url, topic, results, count, references = sys.argv[1:]
    main(
        bootstrap=bootstrap,
        triton_url=triton_url,
        topic=topic,
        results=results,
        count=int(count),
        references=Path(references),
    )
