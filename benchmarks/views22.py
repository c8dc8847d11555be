"""A part of 22 views, and a model per product variant: the part's time beside the sum of its models' own times.

Two variants, each with a segmenter of its own (random weights, the size of a trained one), come in random order, one part at a
time, all 22 views at once from one camera, published as a station gateway publishes. A part's time is from before its first view is
published until its last inspection is read from the topic, so with both hops of Kafka, decoding and everything else. Its models' own
time is that of the same 22 pictures asked for at Triton directly, decoded, one request after the other, in turns with the parts of the
same run.

`python -m benchmarks.views22 [--parts 12]` writes run/views22.json.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from random import Random

import cv2
import numpy as np
import numpy.typing as npt
import yaml
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from tritonclient.grpc import InferenceServerClient, InferInput

from benchmarks.bench_plants import BenchPlant
from benchmarks.inspect_worker import READY_S, NotInspected, worker_process
from benchmarks.random_segmenter import write_segmenter
from benchmarks.results_file import Row, Section, load, machine, write
from benchmarks.services import Services, services
from cli.readiness import is_ready
from gateways.sender import BATCH_BYTES, MAX_REQUEST_BYTES
from ops.local.ports import free_ports
from schemas.codec import decode, encode
from schemas.frames import Frame, ImageEncoding, frame_id
from schemas.image_header import read_header
from schemas.inspections import Inspection
from schemas.object_store import sha256_hex
from schemas.plant_file import load_plant
from schemas.reasons import FrameOutcome
from schemas.recipes import Recipe
from schemas.topics import FRAMES, INSPECTIONS
from simulation.pictures import take_pictures

VIEWS = tuple(f"view-{number:02}" for number in range(1, 23))
VARIANTS = ("variant-a", "variant-b")
SIDES_PX = (640, 320)
PARTS = 20
WARM_PARTS = 15
"""Parts before what is measured: models, buffers and shared memory grow with the first ones, and the broker's virtual machine is still
compiling: of processor time it took 12 ms a view in the fourth part, 5 to 7 from the fourteenth on. Their times are kept apart."""
AT_MOST = 1.2
PART_WITHIN_S = 60.0

Picture = npt.NDArray[np.uint8]
Say = Callable[[str], None]


def views22(*, parts: int = PARTS, say: Say = lambda _line: None) -> Section:
    """One run for each size of pictures."""
    rows: list[Row] = []
    raw: dict[str, object] = {}
    for side_px in SIDES_PX:
        times = _measured(side_px, parts)
        warming, found = times[:WARM_PARTS], times[WARM_PARTS:]
        ratios = [part_ms / own_ms for part_ms, own_ms in found]
        what = f"22 views of {side_px}x{side_px} px, a model per variant"
        part_ms, own_ms = (statistics.median(each) for each in zip(*found, strict=True))
        rows += [
            Row(name=f"{what}: part / its models' own times", value=round(statistics.median(ratios), 3), unit="ratio", at_most=AT_MOST),
            Row(name=f"{what}: part, first view published to last inspection", value=round(part_ms, 1), unit="ms"),
            Row(name=f"{what}: the 22 requests alone, added up", value=round(own_ms, 1), unit="ms"),
        ]  # fmt: skip
        raw[f"{side_px} px"] = {
            "part_ms": [round(part, 1) for part, _ in found],
            "own_ms": [round(own, 1) for _, own in found],
            "warming_part_ms": [round(part, 1) for part, _ in warming],
            "warming_own_ms": [round(own, 1) for _, own in warming],
            **load(),
        }
        say(f"{what}: {statistics.median(ratios):.3f}")
    return Section(rows=rows, raw=raw)


def _measured(side_px: int, parts: int) -> list[tuple[float, float]]:
    """(part, own) in ms of each part, first of those that warm up."""
    with services() as found, tempfile.TemporaryDirectory(prefix="linesight-bench-") as folder:
        for seed, variant in enumerate(VARIANTS):
            write_segmenter(found.repository / variant, seed=seed)
        bench_plant = _plant(Path(folder), f"bench-views22-{side_px}")
        found.make_topics(bench_plant.plant)
        pictures = _pictures(found.plants.golden().plant.recipes[0], side_px)
        order = Random(22)
        with _worker(found, bench_plant), _Parts(found, bench_plant) as line:
            times = []
            for number in range(WARM_PARTS + parts):
                variant = order.choice(VARIANTS)
                shown = [order.choice(pictures) for _ in VIEWS]
                part_ms = line.judge(number, variant, [jpeg for jpeg, _ in shown])
                own_ms = _own_ms(found.triton_url, variant, [picture for _, picture in shown])
                times.append((part_ms, own_ms))
        return times


def _plant(folder: Path, name: str) -> BenchPlant:
    """One camera that takes 22 views of parts of two variants."""
    description = {
        "plant": name,
        "lines": [
            {
                "name": "line-1",
                "stations": [
                    {
                        "name": "aoi-1",
                        "cameras": [
                            {"name": "camera", "views": list(VIEWS), "source": {"type": "external"}, "repeats": "allow"}
                        ],
                    }
                ],
            }
        ],
        "recipes": [
            {
                "name": variant,
                "views": [{"name": view} for view in VIEWS],
                "inspection": {"type": "segmenter", "model": {"name": variant, "version": 1}},
                "classes": [{"name": "defect"}],
            }
            for variant in VARIANTS
        ],
        "alerts": [],
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(description, sort_keys=False))
    return BenchPlant(file=file, plant=load_plant(file))


def _pictures(board: Recipe, side_px: int) -> list[tuple[bytes, Picture]]:
    """Simulated boards, as JPEG and decoded."""
    found = []
    for seed in range(8):
        part = take_pictures(board, defects=(), lighting_drift_ratio=0.0, seed=(seed,))
        for jpeg in part.jpegs.values():
            grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
            small = cv2.resize(np.asarray(grey), (side_px, side_px), interpolation=cv2.INTER_AREA)
            encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
            decoded = np.asarray(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)
            found.append((encoded, decoded))
    return found


@contextmanager
def _worker(found: Services, bench_plant: BenchPlant) -> Iterator[None]:
    """`linesight run inspect`, ready."""
    (port,) = free_ports(1)
    child = worker_process(found, bench_plant, more={"LINESIGHT_METRICS_PORT": str(port)})
    with ExitStack() as stack:
        child.start()
        stack.callback(child.stop)
        child.wait_ready(partial(is_ready, port), deadline_s=READY_S, advice=f"See {child.log_path}.")
        yield


class _Parts:
    """Parts into the line, inspections out of it."""

    def __init__(self, found: Services, bench_plant: BenchPlant) -> None:
        self._plant = bench_plant.plant
        self._producer = KafkaProducer(
            **found.kafka.client(),
            acks="all",
            enable_idempotence=True,
            batch_size=BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
        )
        self._consumer = KafkaConsumer(**found.kafka.client(), fetch_max_wait_ms=500)
        name = INSPECTIONS.on(self._plant.plant)
        places = [TopicPartition(name, number) for number in range(self._plant.kafka.partitions)]
        self._consumer.assign(places)
        for place, end in self._consumer.end_offsets(places).items():
            self._consumer.seek(place, end)

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.close()
        self._consumer.close()

    def judge(self, number: int, variant: str, jpegs: Sequence[bytes]) -> float:
        """Publishes the views of a part; returns when all are inspected, by its variant's model: the time in ms. Raises NotInspected."""
        frames = [encode(FRAMES, self._frame(number, index, variant, jpeg)) for index, jpeg in enumerate(jpegs)]
        began_s = time.perf_counter()
        for frame in frames:
            self._producer.send(FRAMES.on(self._plant.plant), key=b"camera", value=frame.value, headers=frame.headers)
        missing = len(frames)
        while missing:
            for records in self._consumer.poll(timeout_ms=100).values():
                for record in records:
                    _check(decode(INSPECTIONS, record.value, record.headers), variant)
                    missing -= 1
            if time.perf_counter() - began_s > PART_WITHIN_S:
                raise NotInspected(f"{missing} of {len(frames)} views were not inspected within {PART_WITHIN_S:g} s")
        return 1000 * (time.perf_counter() - began_s)

    def _frame(self, number: int, index: int, variant: str, jpeg: bytes) -> Frame:
        header = read_header(jpeg)
        sequence = number * len(VIEWS) + index
        return Frame(
            id=frame_id(camera="camera", session="s1", sequence=sequence),
            station="aoi-1",
            camera="camera",
            view=VIEWS[index],
            session="s1",
            sequence=sequence,
            part_id=f"part-{number}",
            visit=1,
            recipe=f"{variant}@1",
            captured_at_ns=time.time_ns(),
            encoding=ImageEncoding.JPEG,
            width_px=header.width_px,
            height_px=header.height_px,
            size_bytes=len(jpeg),
            sha256=sha256_hex(jpeg),
            image=jpeg,
        )


def _check(inspection: Inspection, variant: str) -> None:
    if inspection.outcome is not FrameOutcome.INSPECTED or [use.model for use in inspection.models] != [variant]:
        raise NotInspected(f"{inspection.id}: {inspection.reason} {inspection.detail}, models {inspection.models}")


def _own_ms(url: str, model: str, pictures: Sequence[Picture]) -> float:
    """The requests of a part's views, each alone, one after the other: their times added up, ms."""
    client = InferenceServerClient(url)
    taken_s = 0.0
    for picture in pictures:
        array = picture[None, None]
        began_s = time.perf_counter()
        tensor = InferInput("image", array.shape, "UINT8")
        tensor.set_data_from_numpy(array)
        answer = client.infer(model, [tensor])
        for name in ("score", "defect", "class"):
            answer.as_numpy(name)
        taken_s += time.perf_counter() - began_s
    client.close()
    return 1000 * taken_s


def main() -> None:
    """Measures and writes the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parts", type=int, default=PARTS)
    asked = parser.parse_args()
    then = machine()
    section = views22(parts=asked.parts, say=print)
    write(Path("run/views22.json"), rows=section.rows, machine_then=then, details=section.raw)
    for row in section.rows:
        print(f"{row.name}: {row.value} {row.unit}")


if __name__ == "__main__":
    main()
