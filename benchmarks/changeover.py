"""From a PLC's write of `Recipe` to its reading TriggerReady true for that recipe.

Real PLC server (unencrypted), PLC gateway, Kafka, Triton, judge, and two inspect workers; no parts. Each of `PRODUCTS` has two models of
its own, and only `KEPT` recipes stay loaded. On disk: nobody announced the product, and Triton does not have its models. Prefetched: the
PLC announced it on `NextRecipe`, and both workers are warm for it when `Recipe` is written.
`python -m benchmarks.changeover` writes run/changeover.json.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from tritonclient.grpc import InferenceServerClient

from benchmarks.changeover_plant import lay_out, plant_file, product
from benchmarks.results_file import Row, Section, load, machine, write
from cli.local_line import START_ORDER, LocalLine
from ops.local.ports import HOST, free_ports
from schemas.plant import Plant
from schemas.plant_file import load_plant
from simulation.plc import PlcServer
from simulation.station import Answer, Departure, Request, Station

PRODUCTS = 6
KEPT = 2
WORKERS = 2
CHANGES = 12
ON_DISK_AT_MOST_S = 3.0
PREFETCHED_AT_MOST_MS = 200.0
GIVE_UP_S = 60.0
LOOK_S = 0.001
SETTLE_S = 1.0
"""After both workers are warm: a PLC announces a product minutes before, and the gateway has heard of it by then."""
ENVIRONMENT = {"TRITON_KEPT_RECIPES": str(KEPT), "LINESIGHT_LOG_LEVEL": "WARNING"}

KINDS = ("on_disk", "prefetched")

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change of products, and how busy the machine was."""

    recipe: str
    took_s: float
    load: dict[str, float]


def changeover(*, changes: int = CHANGES, say: Say = print) -> Section:
    """Seconds and ms of both kinds, the largest against its ceiling."""
    folder = Path(tempfile.mkdtemp(prefix="linesight-changeover-"))
    (port,) = free_ports(1)
    file = plant_file(folder, name="bench-changeover", products=PRODUCTS, plc_port=port)
    lay_out(folder / "models", products=PRODUCTS)
    plant = load_plant(file)
    before = dict(os.environ)
    os.environ |= ENVIRONMENT | {"TRITON_MODEL_REPOSITORY": str(folder / "models")}
    unneeded = set(START_ORDER) - {"inspect", "judge", "plc-gateway"}
    try:
        with LocalLine(
            plant=plant, plant_file=file, run_dir=folder, say=say, without=unneeded, workers={"inspect": WORKERS}
        ) as line:
            line.start_services()
            took = asyncio.run(_measured(line, plant, changes=changes, say=say))
    finally:
        os.environ.clear()
        os.environ |= before
    shutil.rmtree(folder, ignore_errors=True)
    on_disk, prefetched = ([each.took_s for each in took[kind]] for kind in KINDS)
    what = "recipe changeover, Recipe written to TriggerReady"
    rows = [
        Row(name=f"{what}: models on disk, p50", value=round(statistics.median(on_disk), 3), unit="s"),
        Row(
            name=f"{what}: models on disk, max of {changes}",
            value=round(max(on_disk), 3),
            unit="s",
            at_most=ON_DISK_AT_MOST_S,
        ),
        Row(name=f"{what}: prefetched, p50", value=round(1000 * statistics.median(prefetched), 1), unit="ms"),
        Row(
            name=f"{what}: prefetched, max of {changes}",
            value=round(1000 * max(prefetched), 1),
            unit="ms",
            at_most=PREFETCHED_AT_MOST_MS,
        ),
    ]
    return Section(
        rows=rows,
        raw={
            "changes": {kind: [asdict(each) for each in seen] for kind, seen in took.items()},
            "products": PRODUCTS,
            "kept": KEPT,
            "workers": WORKERS,
        },
    )


class _NoParts:
    """No part comes, so nothing is executed and nothing leaves."""

    def asked(self, station: Station, request: Request, answer: Answer) -> None:
        pass

    def executed(self, station: Station, request: Request, at_ns: int) -> None:
        """A command was carried out."""

    def left(self, station: Station, departure: Departure) -> None:
        """A part passed the gate."""


async def _measured(line: LocalLine, plant: Plant, *, changes: int, say: Say) -> dict[str, list[Change]]:
    (place,) = plant.stations
    station = Station(name=place.name, session="bench", gate_after_ms=place.gate_after_ms)
    took: dict[str, list[Change]] = {kind: [] for kind in KINDS}
    async with PlcServer(plc=plant.plcs[0], stations=[station], observer=_NoParts()) as plc:
        await asyncio.to_thread(line.start_stages)
        await _until(partial(_ready_for, plc, place.name, ""), "the line is ready")
        await _change(plc, place.name, product(0))
        number = KEPT - 1  # the first products are loaded from the start
        for kind, seen in took.items():
            for _ in range(changes):
                number = (number + 1) % PRODUCTS
                recipe = product(number)
                await _until(partial(_is_out, line, number), f"{recipe} is let go of")
                if kind == "prefetched":
                    await plc.announce(place.name, recipe)
                    await _until(partial(_all_warm, line, recipe), f"{recipe} is loaded ahead")
                    await asyncio.sleep(SETTLE_S)
                seen.append(Change(recipe=recipe, took_s=round(await _change(plc, place.name, recipe), 4), load=load()))
                line.tend()
            say(f"{kind}: {statistics.median(each.took_s for each in seen):.3f} s")
    return took


async def _change(plc: PlcServer, station: str, recipe: str) -> float:
    """Seconds from the PLC's write until it reads that the line is ready for the recipe."""
    began_s = time.perf_counter()
    await plc._write(station, "recipe", recipe)
    await _until(partial(_ready_for, plc, station, recipe), f"ready for {recipe}")
    return time.perf_counter() - began_s


async def _ready_for(plc: PlcServer, station: str, recipe: str) -> bool:
    return bool(plc._read(station, "trigger_ready")) and plc._read(station, "ready_recipe") == recipe


async def _is_out(line: LocalLine, number: int) -> bool:
    """Whether Triton has neither model of the product."""
    index = await asyncio.to_thread(InferenceServerClient(line.triton.url).get_model_repository_index)
    loaded = {model.name for model in index.models if model.state == "READY"}
    return not loaded & {f"golden_compare_{number}", f"defect_classifier_{number}"}


async def _all_warm(line: LocalLine, recipe: str) -> bool:
    found = [
        await asyncio.to_thread(_warm, port) for name, port in line.health_ports.items() if name.startswith("inspect")
    ]
    return len(found) == WORKERS and all(warm.get(recipe) == 1 for warm in found)


def _warm(port: int) -> Mapping[str, float]:
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return {
        sample.labels["recipe"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "linesight_inspect_recipe_warm"
    }


async def _until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Looks until it is so. Raises AssertionError after `GIVE_UP_S`."""
    give_up_s = time.monotonic() + GIVE_UP_S
    while not await condition():
        assert time.monotonic() < give_up_s, f"not within {GIVE_UP_S:g} s: {what}"
        await asyncio.sleep(LOOK_S)


def main() -> None:
    """Measures, prints, writes the file."""
    then = machine()
    section = changeover()
    for row in section.rows:
        print(f"{row.name}: {row.value:g} {row.unit}" + {True: "", False: "  NOT MET", None: ""}[row.met])
    write(Path("run/changeover.json"), rows=section.rows, machine_then=then, details=section.raw)


if __name__ == "__main__":
    main()
