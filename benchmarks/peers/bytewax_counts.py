"""bytewax's tumbling window as its documentation teaches it: `kop.input`, `win.count_window` with an `EventClock`, results to a topic.

One process with one worker, as the others. Runs in the environment of `environment.py`. The rate is that of the verdicts that pass the
map before the window; its last batch is counted when the window operator has taken it, for the operators of a worker run in one thread.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSource
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.testing import cluster_main

from benchmarks.peers.counting import DECODER, WINDOW_MS, Clock, Counted, Counting


def dataflow(task: Counting) -> Dataflow:
    """From topic to topic; ends at the present end of the topic."""
    clock = Clock(task.count)

    def decoded(message: Any) -> Counted:
        verdict = DECODER.decode(message.value)
        clock.seen()
        return verdict

    flow = Dataflow("counts")
    source = KafkaSource([task.bootstrap], [task.verdicts], tail=False, batch_size=1_000)
    verdicts = op.map("decode", op.input("in", flow, source), decoded)
    event_time = win.EventClock(
        ts_getter=lambda verdict: datetime.fromtimestamp(verdict.arrived_at_ns / 1e9, UTC),
        wait_for_system_duration=timedelta(seconds=5),
    )
    minutes = win.TumblingWindower(length=timedelta(milliseconds=WINDOW_MS), align_to=datetime(2026, 1, 1, tzinfo=UTC))
    counted = win.count_window("count", verdicts, event_time, minutes, lambda verdict: verdict.station)
    out = op.map(
        "encode", counted.down, lambda found: KafkaSinkMessage(found[0].encode(), json.dumps(found[1]).encode())
    )
    kop.output("out", out, brokers=[task.bootstrap], topic=task.results)
    return flow


if __name__ == "__main__":
    cluster_main(dataflow(Counting.of_command_line()), [], 0)
