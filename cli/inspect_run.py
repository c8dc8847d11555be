"""One run of `linesight inspect`: pictures in at the head of the line, verdicts out at its end, in bounded memory."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.following import Follower, Seen
from cli.labels import LabelRow, read_labels
from cli.local_line import LocalLine
from cli.run_record import Mark, Outcome, account, mark
from cli.scores import scores
from cli.simulated_plant import PlantControl, simulated_plant
from gateways.image_feed import ImageFeed
from schemas.errors import ConfigurationError, ServiceAway
from schemas.object_store import ObjectStore, digest_of, open_store, reference_key
from schemas.plant import Camera, ExternalSource, Plant, Plc, Station
from schemas.recipes import Recipe
from schemas.settings import KafkaSettings, ObjectStoreSettings
from schemas.telemetry import Stage
from schemas.topics import COMMAND_RESULTS, VERDICTS
from schemas.verdicts import Verdict

OPEN_PARTS = 32
POLL_MS = 100
SILENCE_S = 120.0
NOT_NEEDED = ("station-gateway", "sensor-gateway", "sensors")
LOCAL_HOSTS = ("127.0.0.1", "localhost")


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where pictures go in: an external camera, its view, and the recipe that looks at it alone."""

    station: Station
    camera: Camera
    view: str
    recipe: Recipe
    plc: Plc


@dataclass(kw_only=True)
class _Open:
    """A picture that has no result yet."""

    row: LabelRow
    fed_at_ns: int
    verdict: Verdict | None = None
    answered: bool = False


class InspectRun:
    """Listed pictures through a line of this plant on this machine, with a simulated PLC that parts are laid into.

    Rows are written in the order of the list. At most `OPEN_PARTS` parts are open.
    """

    def __init__(
        self, *, plant: Plant, plant_file: Path, labels: Path, rows: Path, run_dir: Path, console: Console
    ) -> None:
        self._plant = plant
        self._plant_file = plant_file
        self._labels = labels
        self._rows = rows
        self._run_dir = run_dir
        self._console = console
        self._target = target_of(plant)
        self._store: ObjectStore = open_store(ObjectStoreSettings())
        self._references: dict[Path, str] = {}
        self._truth: dict[tuple[str, int], tuple[str, ...]] = {}
        self._open: dict[str, _Open] = {}
        self._room = asyncio.Semaphore(OPEN_PARTS)
        self._last_news_s = time.monotonic()

    def whole(self, *, tuned_on: frozenset[str]) -> Outcome:
        """Starts the line, sends every picture, stops the line, and accounts for everything."""
        total = sum(1 for _ in read_labels(self._labels))  # also finds mistakes in the list before anything is started
        if not total:
            raise ConfigurationError(f"{self._labels}: expected at least one row")
        self._rows.parent.mkdir(parents=True, exist_ok=True)
        with LocalLine(
            plant=self._plant, plant_file=self._plant_file, run_dir=self._run_dir, say=self._say, without=NOT_NEEDED
        ) as line:
            line.adopt(
                simulated_plant(
                    plant_file=self._plant_file,
                    run_dir=self._run_dir,
                    truth=self._run_dir / "truth.jsonl",
                    parts=total,
                    rate_per_s=1.0,
                    seed=0,
                    fed=True,
                )
            )
            settings = line.start_services()
            begin: Mark = asyncio.run(mark(self._plant, settings))
            line.start_stages()
            line.await_stages()
            asyncio.run(self._send_all(line, settings, total))
            line.stop_stages()
            outcome = account(
                plant=self._plant,
                plant_dir=self._plant_file.resolve().parent,
                kafka=settings,
                begin=begin,
                truth=self._truth,
                versions=line.versions(),
            )
        outcome.report["scores"] = scores(self._labels, self._rows, tuned_on=tuned_on)
        return outcome

    async def _send_all(self, line: LocalLine, settings: KafkaSettings, total: int) -> None:
        follower = Follower(plant=self._plant, settings=settings, topics=(VERDICTS, COMMAND_RESULTS))
        progress = Progress(
            TextColumn("inspecting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=self._console
        )
        with follower, progress, self._rows.open("w", encoding="utf-8") as out:
            bar = progress.add_task("pictures", total=total)
            reader = asyncio.create_task(self._take_results(line, follower, out, lambda: progress.advance(bar)))
            sender = asyncio.create_task(self._feed())
            try:
                await _first_error(sender, reader)
                while self._open:
                    await _first_error(asyncio.create_task(asyncio.sleep(POLL_MS / 1000)), reader)
            finally:
                sender.cancel()
                reader.cancel()
                await asyncio.gather(sender, reader, return_exceptions=True)

    async def _feed(self) -> None:
        run_id = f"{time.time_ns():x}"
        station, camera, recipe = self._target.station.name, self._target.camera.name, self._target.recipe.key
        control = PlantControl(self._target.plc, plant_dir=self._plant_file.resolve().parent)
        try:
            await asyncio.to_thread(control.connect)
            async with ImageFeed(plant=self._plant, camera=camera, stage=Stage("station_gateway")) as feed:
                for row in read_labels(self._labels):
                    await self._room.acquire()
                    part_id = f"{run_id}-{row.number}"
                    reference = await asyncio.to_thread(self._reference, row)
                    # neither the stages' start nor a pause between pictures is a silence
                    self._last_news_s = time.monotonic()
                    self._open[part_id] = _Open(row=row, fed_at_ns=time.time_ns())
                    if row.labels is not None:
                        self._truth[part_id, 1] = tuple(sorted(label.class_name for label in row.labels))
                    await asyncio.to_thread(
                        control.feed, station=station, part_id=part_id, batch=row.group, recipe=recipe
                    )
                    await feed.publish(
                        row.path, part_id=part_id, recipe=recipe, view=self._target.view, reference=reference
                    )
                    self._last_news_s = time.monotonic()
        finally:
            await asyncio.to_thread(control.close)

    def _reference(self, row: LabelRow) -> str | None:
        """Digest of the row's template, laid into the object store; of no stored object where the file cannot be read."""
        if row.template is None:
            return None
        if row.template not in self._references:
            try:
                content = row.template.read_bytes()
            except OSError:
                return digest_of(str(row.template).encode())
            digest = digest_of(content)
            self._store.put(reference_key(digest), content)
            if len(self._references) >= 4 * OPEN_PARTS:
                self._references.clear()
            self._references[row.template] = digest
        return self._references[row.template]

    async def _take_results(self, line: LocalLine, follower: Follower, out: IO[str], advance: Any) -> None:
        while True:
            line.tend()
            for seen in await asyncio.to_thread(lambda: list(follower.poll(timeout_ms=POLL_MS))):
                self._take(seen)
            for row in self._finished_rows():
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
                advance()
            if self._open and time.monotonic() - self._last_news_s > SILENCE_S:
                raise ServiceAway(
                    f"no verdict for {SILENCE_S:g} s, {len(self._open)} pictures open; see the logs in {self._run_dir / 'logs'}"
                )

    def _take(self, seen: Seen) -> None:
        message = seen.message
        known = self._open.get(message.part_id) if message is not None else None
        if known is None:
            return
        self._last_news_s = time.monotonic()
        if isinstance(message, Verdict):
            if known.verdict is None:
                known.verdict = message
        else:
            known.answered = True

    def _finished_rows(self) -> list[dict[str, Any]]:
        """Rows of the oldest open pictures that are finished, in the order of the list."""
        rows = []
        for part_id, item in list(self._open.items()):
            if item.verdict is None or not item.answered:
                break
            del self._open[part_id]
            self._room.release()
            rows.append(result_row(item.row.image, item.verdict, fed_at_ns=item.fed_at_ns))
        return rows

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False)


def target_of(plant: Plant) -> Target:
    """Where this plant takes pictures from outside. Raises `ConfigurationError` where it is not clear."""
    found = [
        (station, camera)
        for station in plant.stations
        for camera in station.cameras
        if isinstance(camera.source, ExternalSource)
    ]
    if len(found) != 1:
        raise ConfigurationError(
            f"plant {plant.plant}: inspect needs exactly one camera with `source: {{type: external}}`, found {len(found)}"
        )
    station, camera = found[0]
    fitting = [
        recipe for recipe in plant.recipes if [view.name for view in recipe.views if view.required] == [camera.views[0]]
    ]
    if len(fitting) != 1:
        raise ConfigurationError(
            f"plant {plant.plant}: inspect needs exactly one recipe that requires view `{camera.views[0]}` alone, found {len(fitting)}"
        )
    plc = plant.plc(station.plc) if station.plc else None
    if plc is None:
        raise ConfigurationError(f"station {station.name}: inspect needs a PLC on this machine that it can simulate")
    host = plc.endpoint.removeprefix("opc.tcp://").partition("/")[0].rpartition(":")[0]
    if host not in LOCAL_HOSTS:
        raise ConfigurationError(
            f"PLC {plc.name} is at {host}: inspect simulates the PLC and needs an endpoint on {LOCAL_HOSTS[0]}"
        )
    return Target(station=station, camera=camera, view=camera.views[0], recipe=fitting[0], plc=plc)


def result_row(image: str, verdict: Verdict, *, fed_at_ns: int) -> dict[str, Any]:
    """A row of `inspect`; boxes in px of the picture as it was given. A dropped frame's own reason follows the verdict's."""
    reasons = [reason.value for reason in verdict.reasons]
    reasons += [view.reason for view in verdict.views if view.reason is not None]
    return {
        "image": image,
        "part_id": verdict.part_id,
        "verdict": verdict.verdict.value,
        "reasons": reasons,
        "defects": [
            {"class": defect.class_name, "score": defect.score, "box": list(defect.box)}
            for view in verdict.views
            for defect in view.defects
        ],
        "latency_ms": (verdict.decided_at_ns - fed_at_ns) / 1e6,
    }


async def _first_error(task: asyncio.Task[None], watched: asyncio.Task[None]) -> None:
    """Waits for `task`; an error of `watched` comes first."""
    await asyncio.wait({task, watched}, return_when=asyncio.FIRST_COMPLETED)
    if watched.done():
        watched.result()
    if task.done():
        task.result()
