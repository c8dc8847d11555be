"""Faust's windowed table as its user guide teaches it: `Table(...).tumbling(...).relative_to(...)`, counted up by an agent."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterable

import faust

from benchmarks.peers.counting import DECODER, WINDOW_MS, Clock, Counting

task = Counting.of_command_line()
clock = Clock(task.count)

app = faust.App(
    f"faust-{task.results}",
    broker=f"kafka://{task.bootstrap}",
    value_serializer="raw",
    consumer_auto_offset_reset="earliest",
    topic_disable_leader=True,
    topic_partitions=4,
    web_enabled=False,
)
verdicts = app.topic(task.verdicts, value_type=bytes)
newest_s = [0.0]
counts = app.Table("counts", default=int).tumbling(WINDOW_MS / 1000, expires=7_200).relative_to(lambda _: newest_s[0])


@app.agent(verdicts)  # type: ignore[untyped-decorator]
async def count(stream: AsyncIterable[bytes]) -> None:
    """Counts each verdict in the window of its arrival. The table's changelog is what Faust sends of it."""
    async for value in stream:
        verdict = DECODER.decode(value)
        newest_s[0] = verdict.arrived_at_ns / 1e9
        counts[verdict.station] += 1
        if clock.seen():
            os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    faust.Worker(app, loglevel="ERROR", redirect_stdouts=False).execute_from_commandline()
