"""The whole line: from the trigger to the PLC's acknowledgement, and the processor time of all our processes.

Everything runs: simulated plant (PLC and HTTP cameras), both gateways, inspect, judge, statistics, alerts, record, retraining,
sensors, Kafka, Triton; on this one machine.

    capacity     parts of one view at rising rates; the highest at which every part is acknowledged with a p99 of at most 500 ms
    latency      parts of one view at half of that: from the PLC's trigger to its acknowledgement, as the topics have it, and
                 step by step (`benchmarks/line_steps.py`)
    directly     the same frame decoded, compared and written to the same PLC in one process, one at a time, with nothing between
    all CPU      parts of three views, as many parts per s as for the latency: processor time of all stages and gateways from the
                 first part to the last, over the frames (Kafka, Triton and the simulated plant are not ours), less decoding and
                 alignment, measured alone
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from tritonclient.grpc import InferenceServerClient, InferInput

from benchmarks.bench_plants import BenchPlant
from benchmarks.cpu_time import preparation_cost, used_s
from benchmarks.frames import board_pictures
from benchmarks.line_steps import LineSteps
from benchmarks.model_input import model_input
from benchmarks.options import Options
from benchmarks.results_file import Row, Section, load, steady_rate
from benchmarks.services import Services
from cli.local_line import LocalLine
from cli.readiness import is_ready
from cli.simulated_plant import PlantControl, simulated_plant
from cli.truth import TruthFile
from gateways.opcua_session import OpcUaSession
from gateways.station_nodes import station_nodes, writable_nodes
from processors.summary import SUMMARY_TOPICS, Summary
from topologies.topic_reader import Place, Span, TopicReader

RATES_PER_S = (15, 20, 25, 30, 35, 40, 45, 50, 55)
STEP_S = 6.0
KEEPS_UP_P99_MS = 500.0
LATENCY_PARTS, LATENCY_S = 300, 20.0
COST_S = 15.0
SETTLE_S = 2.0
GATEWAYS = ("plc-gateway", "station-gateway")
READY_S = 30.0
DIRECT_FRAMES = 100

_runs = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Run:
    """Parts at one rate, and what became of them. Times are from trigger to acknowledgement."""

    asked_per_s: float
    arrived_per_s: float
    parts: int
    acknowledged: int
    p50_ms: float
    p99_ms: float
    cpu_s: float
    frames: int
    load_1_min: float
    steps_ms: dict[str, float]

    @property
    def keeps_up(self) -> bool:
        """Whether the line can go on like this."""
        return self.acknowledged == self.parts and self.p99_ms <= KEEPS_UP_P99_MS

    def as_json(self) -> dict[str, Any]:
        """One run, as the results file keeps it."""
        return {
            "asked_per_s": self.asked_per_s,
            "arrived_per_s": round(self.arrived_per_s, 2),
            "parts": self.parts,
            "acknowledged": self.acknowledged,
            "p50_ms": round(self.p50_ms, 1),
            "p99_ms": round(self.p99_ms, 1),
            "cpu_s": round(self.cpu_s, 2),
            "frames": self.frames,
            "load_1_min": self.load_1_min,
            "steps_ms": self.steps_ms,
        }


def line_path(services: Services, options: Options) -> Section:
    """Capacity, then latency at half of it beside the direct way, then the processor time of all processes."""
    one_view = services.plants.one_view()
    ladder: list[Run] = []
    with bench_line(services, one_view) as line:
        line.feed(rate_per_s=RATES_PER_S[0], for_s=STEP_S)  # warms everything up
        for rate in RATES_PER_S:
            ladder.append(line.feed(rate_per_s=rate, for_s=STEP_S))
            options.say(f"{rate} parts/s: p50 {ladder[-1].p50_ms:.0f} ms, p99 {ladder[-1].p99_ms:.0f} ms")
            if not ladder[-1].keeps_up:
                break
        kept_up = [run.arrived_per_s for run in ladder if run.keeps_up]
        capacity = max(kept_up, default=float(RATES_PER_S[0]))
        half = line.feed(
            rate_per_s=capacity / 2, for_s=max(LATENCY_S, LATENCY_PARTS / (capacity / 2)), measures_direct=True
        )
        direct_ms = line.direct_ms
    three_views = services.plants.three_views()
    with bench_line(services, three_views) as line:
        line.feed(rate_per_s=capacity / 2, for_s=STEP_S)
        whole = line.feed(rate_per_s=capacity / 2, for_s=COST_S)
    pictures = board_pictures(three_views.plant, three_views.file.parent)
    cost = preparation_cost(three_views, pictures, services.folder / "objects")
    all_ms = 1000 * whole.cpu_s / whole.frames
    direct = statistics.median(direct_ms)
    rows = [
        Row(
            name="trigger to PLC acknowledgement, p50 at half capacity / decode + infer + OPC UA write directly",
            value=round(half.p50_ms / direct, 2), unit="ratio", at_most=4.0,
        ),
        Row(name="trigger to PLC acknowledgement, p99 at half capacity", value=round(half.p99_ms, 1), unit="ms", at_most=120.0),
        Row(
            name="CPU time per frame in all of our processes, without decoding and alignment",
            value=round(all_ms - cost.total_ms, 3), unit="ms", at_most=2.0,
        ),
        Row(name="capacity of the whole line, parts of one view", value=round(capacity, 1), unit="parts/s"),
        Row(name="trigger to PLC acknowledgement, p50 at half capacity", value=round(half.p50_ms, 1), unit="ms"),
        *(Row(name=f"of it, {step}, p50", value=ms, unit="ms") for step, ms in half.steps_ms.items()),
        Row(name="decode + infer + OPC UA write directly, p50", value=round(direct, 2), unit="ms"),
        Row(name="CPU time per frame in all of our processes", value=round(all_ms, 3), unit="ms"),
        *(
            Row(name=f"CPU time per frame, {name}", value=round(1000 * cpu_s / whole.frames, 3), unit="ms")
            for name, cpu_s in line.cpu_s_by_process.items()
        ),
    ]  # fmt: skip
    raw = {
        "ladder": [run.as_json() for run in ladder],
        "half": half.as_json(),
        "direct_ms": [round(value, 2) for value in direct_ms],
        "three_views": whole.as_json(),
        "cpu_s_by_process": line.cpu_s_by_process,
    }
    return Section(rows=rows, raw=raw)


@contextmanager
def bench_line(services: Services, plant: BenchPlant) -> Iterator[BenchLine]:
    """A line of its own on the shared services."""
    before = dict(os.environ)
    os.environ.update(services.environment())
    run_dir = services.folder / plant.plant.plant
    run_dir.mkdir()
    try:
        with LocalLine(plant=plant.plant, plant_file=plant.file, run_dir=run_dir, say=lambda _: None) as local:
            local.start_services()
            yield BenchLine(services, plant, local, run_dir)
    finally:
        os.environ.clear()
        os.environ.update(before)


class BenchLine:
    """A running line that is fed for a while, again and again, each time by a simulated plant of its own."""

    def __init__(self, services: Services, plant: BenchPlant, local: LocalLine, run_dir: Path) -> None:
        self._services = services
        self._plant = plant
        self._local = local
        self._run_dir = run_dir
        self.direct_ms: list[float] = []
        self.cpu_s_by_process: dict[str, float] = {}

    @property
    def pids(self) -> dict[str, int]:
        """The processes of ours that are measured, by name. After the first `feed`, which starts them."""
        return {name: child.pid for name, child in self._local.children.items()}

    def feed(self, *, rate_per_s: float, for_s: float, measures_direct: bool = False) -> Run:
        """Parts at a rate; with `measures_direct` also the direct way, on the same PLC, before the parts come."""
        truth = TruthFile(path=self._run_dir / f"truth-{next(_runs)}.jsonl")
        parts = int(rate_per_s * for_s)
        simulated = simulated_plant(
            plant_file=self._plant.file, run_dir=self._run_dir, truth=truth.path, parts=parts,
            rate_per_s=rate_per_s, seed=1, fed=False,
        )  # fmt: skip
        simulated.start()
        try:
            with PlantControl(self._plant.plant.plcs[0], plant_dir=self._plant.file.parent) as control:
                self._await_gateways()
                if measures_direct:
                    self.direct_ms = uvloop.run(_direct(self._services, self._plant))
                spans = asyncio.run(self._spans())
                then, pids = load()["load_1_min"], self.pids
                before_s = {name: used_s([pid]) for name, pid in pids.items()}
                control.start(station=self._plant.plant.stations[0].name)
                self._until_finished(truth, give_up_at_s=time.monotonic() + 3 * for_s + READY_S)
                after_s = {name: used_s([pid]) for name, pid in pids.items()}
                time.sleep(SETTLE_S)
                truth.read_on()
            self.cpu_s_by_process = {name: round(after_s[name] - before_s[name], 2) for name in pids}
            summary, steps = asyncio.run(self._account(spans))
        finally:
            simulated.stop()
            self._await_no_plant()
        return self._run(summary, steps, truth, rate_per_s=rate_per_s, load_1_min=then)

    def _run(
        self, summary: Summary, steps: LineSteps, truth: TruthFile, *, rate_per_s: float, load_1_min: float
    ) -> Run:
        latencies = summary.acknowledgement_latencies_ms or [float("inf")]
        left_s = [row["at_ns"] / 1e9 for row in truth.left]  # each part is on the belt for the same time
        return Run(
            asked_per_s=round(rate_per_s, 2),
            arrived_per_s=steady_rate(left_s),
            parts=len(left_s),
            acknowledged=len(summary.acknowledgement_latencies_ms),
            p50_ms=float(np.percentile(latencies, 50)),
            p99_ms=float(np.percentile(latencies, 99)),
            cpu_s=sum(self.cpu_s_by_process.values()),
            frames=len(left_s) * len(self._plant.plant.recipes[0].views),
            load_1_min=load_1_min,
            steps_ms=steps.medians_ms(),
        )

    def _await_gateways(self) -> None:
        if not self._local.children:
            self._local.start_stages()
            self._local.await_stages()
        give_up_at_s = time.monotonic() + READY_S
        while not all(is_ready(self._local.health_ports[name]) for name in GATEWAYS):
            if time.monotonic() > give_up_at_s:
                raise TimeoutError(f"the gateways did not find the PLC within {READY_S:g} s; see {self._run_dir}/logs")
            time.sleep(0.1)

    def _await_no_plant(self) -> None:
        give_up_at_s = time.monotonic() + READY_S
        while any(is_ready(self._local.health_ports[name]) for name in GATEWAYS):
            if time.monotonic() > give_up_at_s:
                raise TimeoutError(f"the gateways did not miss the PLC within {READY_S:g} s; see {self._run_dir}/logs")
            time.sleep(0.1)

    def _until_finished(self, truth: TruthFile, *, give_up_at_s: float) -> None:
        while not truth.finished and time.monotonic() < give_up_at_s:
            self._local.tend()
            time.sleep(0.1)
            truth.read_on()

    async def _spans(self) -> dict[Place, Span]:
        async with TopicReader(plant=self._plant.plant, kafka=self._services.kafka) as reader:
            return await reader.spans(SUMMARY_TOPICS)

    async def _account(self, before: dict[Place, Span]) -> tuple[Summary, LineSteps]:
        summary, steps = Summary(plant=self._plant.plant.plant), LineSteps()
        async with TopicReader(plant=self._plant.plant, kafka=self._services.kafka) as reader:
            now = await reader.spans(SUMMARY_TOPICS)
            added = {place: Span(before[place].end, span.end) for place, span in now.items()}
            async for stored in reader.read(SUMMARY_TOPICS, added):
                summary.add(stored.topic, stored.message, at_ms=stored.at_ms)
                steps.add(stored.message)
        return summary, steps


async def _direct(services: Services, bench_plant: BenchPlant) -> list[float]:
    """Per frame, in ms: decode, compare, and one OPC UA write of what a command says; nothing is executed, for its sequence stays."""
    plant, pin = bench_plant.plant, bench_plant.compare
    nodes = station_nodes(plant.plcs[0].nodes, plant.stations[0].name)
    pictures = board_pictures(plant, bench_plant.file.parent)
    reference = model_input(pictures[0].reference)
    client = InferenceServerClient(services.triton_url)
    session = await OpcUaSession.open(
        plant.plcs[0], plant_dir=bench_plant.file.parent, name="bench", writable=writable_nodes(nodes)
    )
    taken_ms = []
    try:
        for number in range(DIRECT_FRAMES):
            picture = pictures[number % len(pictures)]
            began_s = time.perf_counter()
            tensors = []
            for name, array in (
                ("image", model_input(picture.decoded())),
                ("reference", reference),
            ):
                tensor = InferInput(name, array.shape, "UINT8")
                tensor.set_data_from_numpy(array)
                tensors.append(tensor)
            answer = client.infer(pin.name, tensors, model_version=str(pin.version))
            verdict = "NOT_OK" if int(answer.as_numpy("difference").max()) == 255 else "OK"
            command: dict[str | None, Any] = {
                nodes.command_id: f"direct-{number}",
                nodes.command_kind: "verdict",
                nodes.command_part_id: f"part-{number}",
                nodes.command_visit: 1,
                nodes.command_verdict: verdict,
                nodes.command_action: "",
                nodes.command_reason: "",
                nodes.command_defect_class: "",
                nodes.command_defect_view: "",
                nodes.command_defect_x_px: 0.0,
                nodes.command_defect_y_px: 0.0,
                nodes.command_valid_until_ns: 0,
            }
            await session.write({node: value for node, value in command.items() if node is not None})
            taken_ms.append(1000 * (time.perf_counter() - began_s))
    finally:
        await session.close()
    return taken_ms
