"""`linesight camera test`: what a camera of the plant file really delivers, before it is trusted with parts."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from schemas.errors import ConfigurationError, Refused
from schemas.plant import Camera, GenicamSource, VideoSource
from schemas.plant_file import load_unfinished_plant

if TYPE_CHECKING:
    from gateways.picture_source import CameraSource
    from processors.image_health import ImageHealth

app = typer.Typer(help="Cameras.", no_args_is_help=True, rich_markup_mode=None)

RETRY_S = 0.1
CONNECT_S = 10.0  # a camera that has to be connected first may take this long until its first picture
MOST_KEPT = 100  # as many as `references capture` reads
LISTED = 5  # reasons: a url with the trigger in it makes each one different


class CameraReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen. Times and sizes are medians unless their names say otherwise; health is that of the last picture.

    `interval_jitter_ms` is the standard deviation of the time between pictures, `stream_rate_per_s` the rate of a stream by its own time
    stamps: not all of its frames are asked for. `failures` counts by what was wrong, `noticed` what the source said on its own,
    `repeated` pictures that equal the one before byte for byte, which the line refuses of this camera. `kept` were saved by `--keep`.
    """

    camera: str
    view: str
    pictures: int
    failures: dict[str, int]
    repeated: int = 0
    kept_by_trigger: bool = False
    kept: int = 0
    noticed: dict[str, int] = {}
    trigger: str = ""
    rate_per_s: float = 0.0
    stream_rate_per_s: float = 0.0
    interval_ms: float = 0.0
    interval_jitter_ms: float = 0.0
    image_bytes: int = 0
    sizes_px: dict[str, int] = {}
    encodings: tuple[str, ...] = ()
    sharpness: float = 0.0
    mean_level: float = 0.0
    saturated_ratio: float = 0.0
    black_ratio: float = 0.0
    picture: str = ""


@app.callback()
def cameras() -> None:
    """Cameras."""


@app.command("test")
def try_out(
    camera: Annotated[str, typer.Argument(help="Name of the camera in the plant file.")],
    view: Annotated[str | None, typer.Option(help="View that is asked for; else the camera's first.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long pictures are taken.")] = 5.0,
    trigger: Annotated[
        int | None,
        typer.Option(min=0, help="First trigger count to ask for, of a camera that keeps pictures by trigger."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the last picture is saved; else run/camera-NAME with its suffix.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            help=f"Folder to save pictures in, up to {MOST_KEPT} evenly over the time: for `references capture`."
        ),
    ] = None,
    plant: PlantFile = DEMO_PLANT,
    json: Json = False,
) -> None:
    """Takes pictures for a while and says how they come and what they look like; saves the last one.

    Needs neither Kafka nor a PLC: a camera with a hardware trigger is triggered by software here. Exit code 1 where no picture
    could be used.
    """
    from cli.exits import NotSo

    cameras_by_name = load_unfinished_plant(plant).cameras
    found = cameras_by_name.get(camera)
    if found is None:
        raise ConfigurationError(f"camera {camera}: expected one of {', '.join(cameras_by_name)}")
    if view not in (None, *found.views):
        raise ConfigurationError(f"--view: expected one of {', '.join(found.views)}")
    report = asyncio.run(
        _Test(found, view=view or found.views[0], plant_dir=plant.resolve().parent, keep=keep).run(
            seconds=seconds, trigger=trigger, out=out
        )
    )
    if json:
        print_json(report)
    else:
        print("\n".join(_lines(report)))
    if not report.pictures:
        raise NotSo(f"camera {camera} gave no usable picture" + ("" if report.failures else ": none came in time"))


class _Test:
    """Asks one camera for pictures, one after the other."""

    def __init__(self, camera: Camera, *, view: str, plant_dir: Path, keep: Path | None) -> None:
        self._camera = _triggered_here(camera)
        self._by_software = self._camera is not camera
        self._view = view
        self._plant_dir = plant_dir
        self._keep = keep
        self._kept = self._repeated = 0
        self._keep_from_s = self._keep_every_s = 0.0
        self._kept_by_trigger = False
        self._arrived_s: list[float] = []
        self._bytes: list[int] = []
        self._sizes: Counter[str] = Counter()
        self._encodings: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._noticed: Counter[str] = Counter()
        self._stream_rate_per_s = 0.0
        self._last: bytes = b""
        self._health: ImageHealth | None = None

    async def run(self, *, seconds: float, trigger: int | None, out: Path | None) -> CameraReport:
        """Takes pictures for `seconds` (the last request may take its own timeout longer), then saves the last."""
        import aiohttp

        from gateways.camera_sources import open_source

        self._keep_every_s = seconds / MOST_KEPT
        async with aiohttp.ClientSession() as http:
            source = open_source(self._camera, plant_dir=self._plant_dir, http=http, tell=self._notice)
            if source is None:
                raise ConfigurationError(
                    f"camera {self._camera.name} is `external`: its frames come over Kafka, see `linesight tail frames --plant FILE`"
                )
            if trigger is None and isinstance(self._camera.source, VideoSource):
                trigger = 1
            if source.keeps_triggers and trigger is None:
                raise ConfigurationError(
                    f"camera {self._camera.name} keeps its pictures by trigger count: say from which on with --trigger N"
                )
            if trigger is not None and not source.keeps_triggers:
                raise ConfigurationError(
                    f"camera {self._camera.name} takes a picture when it is asked, whatever the count: leave --trigger out"
                )
            self._kept_by_trigger = source.keeps_triggers
            running = asyncio.create_task(source.run())
            try:
                await self._ask(source, first=trigger or 0, seconds=seconds)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
        return self._report(_save(self._last, self._camera.name, out) if self._last else "")

    async def _ask(self, source: CameraSource, *, first: int, seconds: float) -> None:
        from gateways.camera_process import CameraProcess
        from gateways.picture_source import CaptureFailed, Trigger

        connecting = isinstance(source, CameraProcess)
        count, until_s = first, time.monotonic() + (max(seconds, CONNECT_S) if connecting else seconds)
        while time.monotonic() < until_s:
            now_s = time.monotonic()
            trigger = Trigger(count=count, seen_s=now_s, at_s=now_s)
            source.triggered(trigger, wanted=True)
            try:
                picture = await source.capture(view=self._view, trigger=trigger)
                if connecting:
                    # what went wrong until then is no news
                    connecting = False
                    self._failures.clear()
                    until_s = time.monotonic() + seconds
                self._take(picture.image)
                count += 1
            except CaptureFailed as error:
                self._fail(str(error))
                await asyncio.sleep(RETRY_S)
            except Refused as error:
                self._fail(str(error))
                count += 1
        if isinstance(source, CameraProcess) and source.figures is not None and source.figures.stamped_s > 0:
            self._stream_rate_per_s = (source.figures.connection_frames - 1) / source.figures.stamped_s

    def _notice(self, what: str, detail: str) -> None:
        self._noticed[what] += 1

    def _take(self, content: bytes) -> None:
        """Counts a picture that inspect would take. Raises `Refused` with its reason where it would not."""
        from processors.decoding import check_limits_px, decode_grey
        from processors.image_health import image_health
        from processors.whole_image import check_whole, header_of

        header = header_of(content)
        check_limits_px((header.width_px, header.height_px), self._camera)
        check_whole(content, header)
        self._health = image_health(decode_grey(content, header))
        self._arrived_s.append(time.monotonic())
        self._bytes.append(len(content))
        self._sizes[f"{header.width_px}x{header.height_px}"] += 1
        self._encodings[header.encoding.value] += 1
        if self._camera.repeats == "refuse" and content == self._last:
            self._repeated += 1
        elif self._keep is not None and self._kept < MOST_KEPT and self._arrived_s[-1] >= self._keep_from_s:
            self._kept += 1
            self._keep_from_s = self._arrived_s[-1] + self._keep_every_s
            # the time, so that a second run adds to the first
            name = f"{self._camera.name}-{self._view}-{time.time_ns()}.{header.encoding.value}"
            _save(content, self._camera.name, self._keep / name)
        self._last = content

    def _fail(self, why: str) -> None:
        self._failures[why if why in self._failures or len(self._failures) < LISTED else "for other reasons"] += 1

    def _report(self, saved: str) -> CameraReport:
        counted = CameraReport(
            camera=self._camera.name,
            view=self._view,
            pictures=len(self._arrived_s),
            failures=dict(self._failures),
            repeated=self._repeated,
            kept_by_trigger=self._kept_by_trigger,
            kept=self._kept,
            noticed=dict(self._noticed),
            trigger="software, for this test" if self._by_software else "",
            stream_rate_per_s=round(self._stream_rate_per_s, 2),
            picture=saved,
        )
        if self._health is None:
            return counted
        intervals_ms = [1000 * (after - before) for before, after in pairwise(self._arrived_s)]
        span_s = self._arrived_s[-1] - self._arrived_s[0]
        return msgspec.structs.replace(
            counted,
            rate_per_s=round(len(intervals_ms) / span_s, 2) if span_s else 0.0,
            interval_ms=round(statistics.median(intervals_ms), 1) if intervals_ms else 0.0,
            interval_jitter_ms=round(statistics.pstdev(intervals_ms), 1) if intervals_ms else 0.0,
            image_bytes=int(statistics.median(self._bytes)),
            sizes_px=dict(self._sizes),
            encodings=tuple(self._encodings),
            sharpness=round(self._health.sharpness, 1),
            mean_level=round(self._health.mean_level, 1),
            saturated_ratio=round(self._health.saturated_ratio, 4),
            black_ratio=round(self._health.black_ratio, 4),
        )


def _triggered_here(camera: Camera) -> Camera:
    """The camera with a software trigger in place of the PLC's: nothing comes from the machine while it is tried out."""
    source = camera.source
    if not isinstance(source, GenicamSource) or source.trigger == "software":
        return camera
    return msgspec.structs.replace(camera, source=msgspec.structs.replace(source, trigger="software"))


def _save(content: bytes, name: str, out: Path | None) -> str:
    from schemas.image_header import read_header

    path = out or Path("run") / f"camera-{name}.{read_header(content).encoding.value}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def _lines(report: CameraReport) -> list[str]:
    lines = [f"camera {report.camera}, view {report.view}: {report.pictures} pictures"]
    if report.pictures:
        sizes = ", ".join(
            f"{size} px" + (f" ({n})" if len(report.sizes_px) > 1 else "") for size, n in report.sizes_px.items()
        )
        lines += [
            f"  {report.rate_per_s:g} per s, one in {report.interval_ms:g} ms, jitter {report.interval_jitter_ms:g} ms"
            + (": as fast as they were read, not the camera's rate" if report.kept_by_trigger else ""),
            f"  {sizes}, {', '.join(report.encodings)}, {report.image_bytes} bytes",
            f"  sharpness {report.sharpness:g}, mean level {report.mean_level:g} of 255, "
            f"saturated {report.saturated_ratio:.2%}, black {report.black_ratio:.2%}",
            f"  last picture: {report.picture}",
        ]
    if report.stream_rate_per_s:
        lines.append(f"  the stream itself: {report.stream_rate_per_s:g} frames per s")
    if report.repeated:
        lines.append(
            f"  warning: {report.repeated} of them repeat the one before byte for byte, and the line refuses those (repeated_picture): "
            "the camera hangs, or it has no noise and needs `repeats: allow`"
        )
    if report.kept:
        lines.append(f"  kept: {report.kept} pictures")
    if report.trigger:
        lines.append(f"  trigger: {report.trigger}")
    lines += [f"  noticed {number} times: {what}" for what, number in report.noticed.items()]
    return lines + [f"  failed {number} times: {why}" for why, number in report.failures.items()]
