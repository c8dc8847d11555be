"""Processor time of processes, and of the parts of the work that every candidate has to do."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import psutil

from benchmarks.bench_plants import BenchPlant
from benchmarks.frames import Picture, as_frames
from processors.decoding import decode_frame
from processors.golden.comparison import GoldenComparison

ROUNDS = 3


def used_s(pids: Iterable[int]) -> float:
    """Processor time, user and system, that these processes and their threads have used since they started."""
    return float(sum(times.user + times.system for times in (psutil.Process(pid).cpu_times() for pid in pids)))


@dataclass(frozen=True, kw_only=True)
class PreparationCost:
    """Processor time per frame, in ms, of the two functions as the inspect stage calls them, alone in one thread."""

    decode_ms: float
    align_ms: float

    @property
    def total_ms(self) -> float:
        """Both together."""
        return self.decode_ms + self.align_ms


def preparation_cost(bench_plant: BenchPlant, pictures: Sequence[Picture], store: Path) -> PreparationCost:
    """Decodes and aligns every picture; the middle of `ROUNDS` rounds."""
    cv2.setNumThreads(1)
    plant, settings = bench_plant.plant, bench_plant.golden
    comparisons = {
        picture.camera: GoldenComparison(reference=picture.reference, settings=settings) for picture in pictures
    }
    frames = list(as_frames(pictures, count=len(pictures), session="cost", inline_limit_bytes=1 << 30, store=store))
    decoding: list[float] = []
    aligning: list[float] = []
    for _ in range(ROUNDS):
        decode_s = align_s = 0.0
        for frame in frames:
            began_s = time.thread_time()
            image = decode_frame(frame, frame.image or b"", camera=plant.cameras[frame.camera])
            decoded_s = time.thread_time()
            comparisons[frame.camera].lay_over(image)
            decode_s += decoded_s - began_s
            align_s += time.thread_time() - decoded_s
        decoding.append(1000 * decode_s / len(frames))
        aligning.append(1000 * align_s / len(frames))
    return PreparationCost(decode_ms=statistics.median(decoding), align_ms=statistics.median(aligning))
