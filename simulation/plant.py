"""The simulated plant: one station with its PLC, cameras and sensors, and the parts that come to it.

`run` serves all of it in one process. Parts come by themselves after `Simulation.Start` was called over OPC UA; live, as
soon as a gateway is there; or, fed, one by one through `<station>.Feed`. What of the plant file is not the simulation's (a
camera elsewhere, a recipe that it cannot draw) is left alone.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from asyncua import ua

from schemas.errors import ConfigurationError
from schemas.plant import Camera, Plant, Plc
from schemas.plant import Station as PlantStation
from schemas.recipes import Recipe
from simulation.belt import Belt
from simulation.boards import VIEWS
from simulation.cameras import CameraServer, simulated_cameras
from simulation.challenges import with_challenges
from simulation.feeder import Feeder, status
from simulation.learning_scenario import learning_plan
from simulation.pictures import PRODUCTS, PhotoStudio
from simulation.plc import Method, PlcServer
from simulation.plc_security import PlcIdentity
from simulation.scenario import PlannedPart, endless_plan, plan
from simulation.sensors import measure, simulated_channels
from simulation.station import Station
from simulation.truth import Truth

_STRING, _UINT32, _BOOLEAN, _DOUBLE = (
    ua.VariantType.String,
    ua.VariantType.UInt32,
    ua.VariantType.Boolean,
    ua.VariantType.Double,
)


async def run(
    plant: Plant,
    *,
    parts: int,
    rate_per_s: float,
    seed: int,
    truth: Path,
    stop: asyncio.Event,
    identity: PlcIdentity | None = None,
    fed: bool = False,
    live: bool = False,
    lamp_fails_at: int | None = None,
) -> None:
    """Serves the simulated plant until `stop` is set.

    Args:
        parts: new parts that come; repaired ones that come back are added to them.
        rate_per_s: parts per second.
        seed: 0 or more; the same seed gives the same parts, defects and pictures.
        truth: file for the JSON lines of `simulation.truth`; replaced.
        identity: the PLC's certificates, where the plant file asks for security.
        fed: no part comes by itself, the cameras are the caller's, and a part leaves when its verdict was accepted.
        live: parts come as soon as a gateway is there, without being asked for, and when all have come it begins again.
        lamp_fails_at: makes the parts of `simulation.learning_scenario` instead; the lamp fails at this one, counted from 0.

    Raises `ConfigurationError` for a plant file that is not of the simulated plant, a port that is taken, or a truth file
    that cannot be written.
    """
    if parts < 1 or rate_per_s <= 0 or seed < 0:
        raise ConfigurationError(
            f"expected at least 1 part, a rate above 0 and a seed from 0, got {parts} parts at {rate_per_s}/s, seed {seed}"
        )
    place = _only_station(plant)
    station = Station(name=place.name, session=uuid4().hex[:8], gate_after_ms=place.gate_after_ms, gate_waits=fed)
    with Truth(truth) as book:
        if fed:
            await _run_fed(plant, station, book, stop, identity=identity)
        else:
            await _run_by_itself(
                plant,
                place,
                station,
                book,
                stop,
                identity=identity,
                parts=parts,
                rate_per_s=rate_per_s,
                seed=seed,
                live=live,
                lamp_fails_at=lamp_fails_at,
            )


async def _run_by_itself(
    plant: Plant,
    place: PlantStation,
    station: Station,
    book: Truth,
    stop: asyncio.Event,
    *,
    identity: PlcIdentity | None,
    parts: int,
    rate_per_s: float,
    seed: int,
    live: bool,
    lamp_fails_at: int | None,
) -> None:
    recipes = _simulated_recipes(plant, simulated_cameras(place.cameras))
    keys = [recipe.key for recipe in recipes]
    cameras = CameraServer(place.cameras)
    studio = PhotoStudio()
    planned: Iterable[PlannedPart]
    if lamp_fails_at is not None:
        planned = learning_plan(parts=parts, seed=seed, recipes=keys, lamp_fails_at=lamp_fails_at)
    else:
        planned = (endless_plan if live else plan)(parts=parts, seed=seed, recipes=keys)
    belt = Belt(
        station=station,
        cameras=cameras,
        studio=studio,
        truth=book,
        parts=with_challenges(
            planned, place.challenges, rate_per_s=rate_per_s, session=station.session, recipe=keys[0]
        ),
        recipes={recipe.key: recipe for recipe in recipes},
        rate_per_s=rate_per_s,
        seed=seed,
    )
    channels = simulated_channels(plant.assets, plant.plcs[0].name)
    async with AsyncExitStack() as stack:
        stack.callback(studio.close)
        studio.warm_up(recipes)
        if live:  # its parts wait for nobody once a gateway is ready, so the first one must not wait for its pictures
            await belt.lay_ready()
        plc = PlcServer(
            plc=plant.plcs[0],
            stations=[station],
            observer=belt,
            channels=channels,
            interlocks={place.name: place.interlocks},
            identity=identity,
            methods={**_belt_methods(belt), **_camera_methods(cameras)},
        )
        await stack.enter_async_context(cameras)
        await stack.enter_async_context(plc)
        works: list[asyncio.Future[None]] = [
            *plc.works,
            asyncio.create_task(belt.run(plc)),
            *([asyncio.create_task(_start_with_gateways(plc, plant.plcs[0], belt))] if live else []),
            asyncio.create_task(measure(plc, channels, started=belt.started, duration_s=parts / rate_per_s, seed=seed)),
        ]
        await _until(stop, works)


async def _run_fed(
    plant: Plant, station: Station, book: Truth, stop: asyncio.Event, *, identity: PlcIdentity | None
) -> None:
    feeder = Feeder(station, book)
    plc = PlcServer(plc=plant.plcs[0], stations=[station], observer=feeder, identity=identity, methods=feeder.methods())
    feeder.plc = plc
    async with plc:
        await _until(stop, [*plc.works, feeder.failed])


async def _until(stop: asyncio.Event, works: Sequence[asyncio.Future[None]]) -> None:
    """Waits for `stop`; a work that fails meanwhile ends the run with its error."""
    stopped: asyncio.Future[Any] = asyncio.create_task(stop.wait())
    try:
        waited = {stopped, *works}
        while not stopped.done():
            done, waited = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        for task in (stopped, *works):
            task.cancel()
        await asyncio.gather(stopped, *works, return_exceptions=True)


async def _start_with_gateways(plc: PlcServer, settings: Plc, belt: Belt) -> None:
    """Starts the belt at TriggerReady; at once where the gateway only observes and never says it."""
    if not settings.observe:
        await plc.until_trigger_ready(belt.station.name)
    belt.started.set()


def _belt_methods(belt: Belt) -> dict[str, tuple[Method, list[ua.VariantType], list[ua.VariantType]]]:
    async def start(parent: ua.NodeId) -> list[ua.Variant]:
        belt.started.set()
        return []

    async def answer(parent: ua.NodeId) -> list[ua.Variant]:
        return status(belt.station, finished=belt.finished)

    async def stop(parent: ua.NodeId) -> list[ua.Variant]:
        belt.stop()
        return []

    async def misroute(parent: ua.NodeId) -> list[ua.Variant]:
        belt.station.misroute()
        return []

    return {
        "Simulation.Start": (start, [], []),
        "Simulation.Stop": (stop, [], []),
        "Simulation.MisrouteNext": (misroute, [], []),
        "Simulation.Status": (answer, [], [_UINT32, _UINT32, _BOOLEAN]),
    }


def _camera_methods(cameras: CameraServer) -> dict[str, tuple[Method, list[ua.VariantType], list[ua.VariantType]]]:
    """Disturbances that a test asks for: `(camera, seconds)`, true where there is such a camera."""

    async def silence(parent: ua.NodeId, camera: ua.Variant, seconds: ua.Variant) -> list[ua.Variant]:
        return [ua.Variant(cameras.silence(camera.Value, seconds.Value), _BOOLEAN)]

    async def darken(parent: ua.NodeId, camera: ua.Variant, seconds: ua.Variant) -> list[ua.Variant]:
        return [ua.Variant(cameras.darken(camera.Value, seconds.Value), _BOOLEAN)]

    async def set_clock_ahead(parent: ua.NodeId, camera: ua.Variant, seconds: ua.Variant) -> list[ua.Variant]:
        return [ua.Variant(cameras.set_clock_ahead(camera.Value, seconds.Value), _BOOLEAN)]

    return {
        "Simulation.SilenceCamera": (silence, [_STRING, _DOUBLE], [_BOOLEAN]),
        "Simulation.DarkenCamera": (darken, [_STRING, _DOUBLE], [_BOOLEAN]),
        "Simulation.SetCameraClockAhead": (set_clock_ahead, [_STRING, _DOUBLE], [_BOOLEAN]),
    }


def _only_station(plant: Plant) -> PlantStation:
    if len(plant.plcs) != 1 or len(plant.stations) != 1 or plant.stations[0].plc != plant.plcs[0].name:
        raise ConfigurationError(
            f"plant {plant.plant}: the simulated plant has one station with one PLC, this file has {len(plant.stations)} "
            f"stations and {len(plant.plcs)} PLCs"
        )
    return plant.stations[0]


def _simulated_recipes(plant: Plant, cameras: Sequence[Camera]) -> tuple[Recipe, ...]:
    """The recipes that can be made, in the order in which their batches come, with the views that can be drawn."""
    served = {view for camera in cameras for view in camera.views}
    recipes = []
    for recipe in plant.recipes:
        views = tuple(view for view in recipe.views if view.name in served)[: len(VIEWS)]
        if recipe.name in PRODUCTS and views:
            recipes.append(msgspec.structs.replace(recipe, views=views))
    if not recipes:
        raise ConfigurationError(
            f"recipes {', '.join(recipe.key for recipe in plant.recipes)}: the simulated plant can make none of them; expected "
            f"at least one of {', '.join(PRODUCTS)} with a view of {', '.join(camera.name for camera in cameras)}"
        )
    return tuple(recipes)
