"""quixstreams' tumbling window as its documentation teaches it: `tumbling_window(...).count().current()`, with event time from the
value. Runs in an environment of its own (`environment.py`)."""

from __future__ import annotations

import os
from typing import Any

from quixstreams import Application

from benchmarks.peers.counting import DECODER, NS_PER_MS, WINDOW_MS, Clock, Counted, Counting


def main(task: Counting) -> None:
    """Counts `count` verdicts and prints how many it did a second."""
    clock = Clock(task.count)
    app = Application(
        broker_address=task.bootstrap,
        consumer_group=f"quix-{task.results}-{os.getpid()}",
        auto_offset_reset="earliest",
        auto_create_topics=True,
        loglevel="ERROR",
    )

    def moment_ms(value: Any, headers: Any, at_ms: int, kind: Any) -> int:
        return DECODER.decode(value).arrived_at_ns // NS_PER_MS

    verdicts = app.topic(task.verdicts, value_deserializer="bytes", timestamp_extractor=moment_ms)
    results = app.topic(task.results, value_serializer="json", key_serializer="bytes")

    def one_more(value: Counted) -> bytes:
        if clock.seen():
            app.stop()  # its `count` of records does not end the run on this version
        return b""

    sdf = app.dataframe(verdicts)
    sdf = sdf.apply(one_more).tumbling_window(WINDOW_MS, grace_ms=5_000).count().final()
    sdf.to_topic(results)
    app.run()


if __name__ == "__main__":
    main(Counting.of_command_line())
