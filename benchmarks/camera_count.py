"""What a frame costs with many cameras: the same number of frames of the same scene, from one camera and from 64.

All cameras share the partitions evenly. The cost is the worker's processor time per frame, everything included, and the
throughput beside it.
"""

from __future__ import annotations

from benchmarks.frames import board_pictures, of_cameras
from benchmarks.inspect_worker import Backlog, work_off
from benchmarks.options import Options
from benchmarks.results_file import Row, Section, ratio
from benchmarks.services import Services

FEW, MANY = 1, 64


def camera_count(services: Services, options: Options) -> Section:
    """One camera and many, in turn."""
    scene = services.plants.cameras(FEW)
    pictures = [
        picture
        for picture in board_pictures(services.plants.golden().plant, scene.file.parent)
        if picture.view == scene.plant.recipes[0].views[0].name
    ]
    backlogs: dict[int, list[Backlog]] = {FEW: [], MANY: []}
    for _ in range(options.rounds):
        for count, found in backlogs.items():
            plant = services.plants.cameras(count)
            shown = of_cameras((pictures * (1 + MANY // len(pictures)))[: max(MANY, len(pictures))], plant.plant)
            found.append(work_off(services, plant, shown, count=options.frames, deal_out=True))
            options.say(f"{count} cameras: {found[-1].cpu_ms_per_frame:.2f} ms per frame")
    cost = {count: [backlog.cpu_ms_per_frame for backlog in found] for count, found in backlogs.items()}
    rate = {count: [backlog.frames_per_s for backlog in found] for count, found in backlogs.items()}
    rows: list[Row] = [
        ratio(f"CPU time per frame, {MANY} cameras / {FEW}", cost[MANY], cost[FEW], at_most=1.15),
        ratio(f"throughput, {FEW} camera / {MANY} cameras", rate[FEW], rate[MANY], at_most=1.15),
    ]
    raw = {str(count): [backlog.as_json() for backlog in found] for count, found in backlogs.items()}
    return Section(rows=rows, raw={"by_cameras": raw})
