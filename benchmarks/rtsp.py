"""RTSP: four streams of 25 frames per s at 1920x1080 px, read by our camera processes and by ffmpeg alone, in turn.

Both decode every frame, over TCP, one thread a stream. Dropped: frames that the time stamps have room for and that were not decoded.
`python -m benchmarks.rtsp [--seconds 30]` writes run/rtsp.json. Needs ffmpeg and GStreamer's RTSP server (Debian packages).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.peers import rtsp_server
from benchmarks.results_file import Row, Section, machine, write
from gateways.camera_process import CameraProcess
from ops.local.ports import free_ports
from schemas.plant import Camera, RtspSource

STREAMS, FPS, WIDTH_PX, HEIGHT_PX = 4, 25, 1920, 1080
SYSTEM_PYTHON = "/usr/bin/python3"
ROUNDS = 3
START_S = 20.0
MARGIN_S = 15
"""Beside the measured time, for connecting: the served video is that much longer."""


class PeerMissing(Exception):
    """A program that this comparison needs is not installed; the message names its packages."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """All streams together: frames decoded, frames that were missing, and processor time in share of one core."""

    decoded_per_s: float
    dropped: int
    cores: float


def rtsp(*, seconds: float, rounds: int = ROUNDS) -> Section:
    """Ours and ffmpeg, in turn. Raises `PeerMissing`."""
    require_peers()
    with tempfile.TemporaryDirectory() as folder, _served(Path(folder), seconds=seconds + MARGIN_S) as url:
        ours, theirs = [], []
        for _ in range(rounds):
            theirs.append(asyncio.run(_ffmpeg(url, seconds, Path(folder))))
            ours.append(asyncio.run(_ours(url, seconds)))
    what = f"RTSP {STREAMS} streams x {FPS} fps {HEIGHT_PX}p"
    ratio = statistics.median(one.cores for one in ours) / statistics.median(one.cores for one in theirs)
    rows = [
        *(
            row
            for name, found in (("", ours), (", ffmpeg alone", theirs))
            for row in (
                Row(name=f"{what}, decoded{name}", value=_middle(found, "decoded_per_s"), unit="frames/s"),
                Row(name=f"{what}, dropped{name}", value=sum(one.dropped for one in found), unit="frames"),
                Row(name=f"{what}, CPU{name}", value=_middle(found, "cores"), unit="cores"),
            )
        ),
        Row(name=f"{what}, CPU / ffmpeg alone", value=round(ratio, 3), unit="ratio"),
    ]
    return Section(rows=rows, raw={"ours": [asdict(one) for one in ours], "ffmpeg": [asdict(one) for one in theirs]})


def require_peers() -> None:
    """Raises `PeerMissing` where a program is not installed."""
    if shutil.which("ffmpeg") is None:
        raise PeerMissing("ffmpeg is not installed (Debian package ffmpeg)")
    asked = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if subprocess.run([SYSTEM_PYTHON, "-c", asked], capture_output=True, check=False).returncode != 0:
        raise PeerMissing(f"GStreamer's RTSP server is not installed (Debian packages {rtsp_server.PACKAGES})")


@contextlib.contextmanager
def _served(folder: Path, *, seconds: float) -> Iterator[str]:
    """A moving test picture with noise, encoded once, served in real time to each client."""
    video = folder / "scene.mp4"
    subprocess.run(
        [
            "ffmpeg", "-v", "error", "-f", "lavfi",
            "-i", f"testsrc2=size={WIDTH_PX}x{HEIGHT_PX}:rate={FPS},noise=alls=4:allf=t", "-t", str(seconds),
            "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", str(FPS), "-b:v", "6M", "-pix_fmt", "yuv420p", video,
        ],
        check=True,
    )  # fmt: skip
    (port,) = free_ports(1)
    launch = f"( filesrc location={video} ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1 )"
    server = subprocess.Popen(
        [SYSTEM_PYTHON, rtsp_server.__file__, "--port", str(port), "--launch", launch],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        if server.stdout.readline() != "listening\n":
            raise PeerMissing("GStreamer's RTSP server did not start")
        yield f"rtsp://127.0.0.1:{port}/main"
    finally:
        server.kill()
        server.wait()


class _Counted(NamedTuple):
    """Frames decoded so far and how far the stream's time stamps are, summed over the streams."""

    frames: int
    stamped_s: float


async def _ours(url: str, seconds: float) -> Reading:
    cameras = [
        CameraProcess(
            camera=Camera(name=f"c{number}", views=("v",), source=RtspSource(url=url)),
            answers_within_ms=1000,
            tell=lambda what, detail: print(f"{what}: {detail}"),
        )
        for number in range(STREAMS)
    ]

    def counted() -> _Counted | None:
        figures = [camera.figures for camera in cameras if camera.figures is not None and camera.figures.frames]
        if len(figures) < STREAMS:
            return None
        return _Counted(sum(one.frames for one in figures), sum(one.stamped_s for one in figures))

    running = [asyncio.create_task(camera.run()) for camera in cameras]
    try:
        return await _measured(counted, seconds)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _ffmpeg(url: str, seconds: float, folder: Path) -> Reading:
    said = [folder / f"progress-{number}" for number in range(STREAMS)]

    def counted() -> _Counted | None:
        found = [_progress(file) for file in said]
        if not all(found):
            return None
        return _Counted(sum(int(one["frame"]) for one in found), sum(int(one["out_time_us"]) / 1e6 for one in found))

    for file in said:
        file.unlink(missing_ok=True)
    readers = [
        subprocess.Popen([  # noqa: ASYNC220 - before anything runs
            "ffmpeg", "-nostdin", "-v", "error", "-rtsp_transport", "tcp", "-threads", "1", "-i", url,
            "-fps_mode", "passthrough", "-f", "null", "-progress", str(file), "-",
        ])
        for file in said
    ]  # fmt: skip
    try:
        return await _measured(counted, seconds)
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()


def _progress(file: Path) -> dict[str, str]:
    """The newest figures of a reader; empty until it has decoded something."""
    text = file.read_text() if file.exists() else ""
    figures = dict(line.split("=", 1) for line in text.rpartition("progress=")[0].splitlines() if "=" in line)
    return figures if figures.get("out_time_us", "N/A").lstrip("-").isdecimal() else {}


async def _measured(counted: Callable[[], _Counted | None], seconds: float) -> Reading:
    """What the child processes (all but the server) read and use in `seconds`, once every stream plays."""
    async with asyncio.timeout(START_S):
        while True:
            if (first := counted()) is not None:
                break
            await asyncio.sleep(0.05)
    readers = [process for process in psutil.Process().children() if "rtsp_server" not in " ".join(process.cmdline())]
    began_s, used_s = time.perf_counter(), _used_s(readers)
    await asyncio.sleep(seconds)
    last, span_s = counted(), time.perf_counter() - began_s
    assert last is not None
    frames = last.frames - first.frames
    return Reading(
        decoded_per_s=round(frames / span_s, 1),
        dropped=max(0, round((last.stamped_s - first.stamped_s) * FPS) - frames),
        cores=round((_used_s(readers) - used_s) / span_s, 3),
    )


def _used_s(processes: Sequence[psutil.Process]) -> float:
    return float(sum(sum(process.cpu_times()[:2]) for process in processes))


def _middle(found: Sequence[Reading], what: str) -> float:
    return round(float(statistics.median(getattr(one, what) for one in found)), 3)


def main() -> None:
    """Measures and writes run/rtsp.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    machine_then = machine()
    try:
        section = rtsp(seconds=options.seconds)
    except PeerMissing as error:
        print(f"skipped: {error}")
        return
    for row in section.rows:
        print(f"{row.name}: {row.value:g} {row.unit}")
    write(Path("run") / "rtsp.json", rows=section.rows, machine_then=machine_then, details=section.raw)


if __name__ == "__main__":
    main()
