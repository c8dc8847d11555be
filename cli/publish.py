"""`linesight publish`: pictures of a folder as camera frames of parts, into a line that runs."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from cli.options import Json, PlantFile, print_json
from cli.producing import Sender
from cli.services import find_kafka
from schemas.errors import ConfigurationError
from schemas.image_header import IMAGE_SUFFIXES
from schemas.plant import ExternalSource, Plant
from schemas.plant_file import load_plant
from schemas.plc_events import PartArrived
from schemas.recipes import Recipe


def command(
    plant: PlantFile,
    camera: Annotated[str, typer.Option(help="A camera with `source: {type: external}`.")],
    recipe: Annotated[str, typer.Option(help="name@revision")],
    images: Annotated[
        Path, typer.Argument(help="Folder of pictures; each file is a part.", exists=True, file_okay=False)
    ],
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Picture to compare with, where the recipe's view names none.",
            exists=True,
            dir_okay=False,
            readable=True,
        ),
    ] = None,
    arrivals: Annotated[bool, typer.Option(help="Also say that each part arrived, where no PLC does.")] = False,
    json: Json = False,
) -> None:
    """Publishes each picture as one frame of one part (`<time>-<file name>`), with manifests, as a gateway does.

    The judge needs the part's arrival: a station's PLC gateway publishes it; `--arrivals` does it for a station without PLC.
    """
    description = load_plant(plant)
    chosen = _check(description, camera, recipe)
    files = sorted(path for path in images.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise ConfigurationError(f"{images}: expected files ending in {', '.join(IMAGE_SUFFIXES)}")
    with Sender(plant=description, kafka=find_kafka()) if arrivals else nullcontext() as sender:
        sent = asyncio.run(_publish(description, camera, chosen, files, reference, sender))
    if json:
        print_json({"frames": sent})
    else:
        print(f"{len(sent)} frames published as camera {camera}")


def _check(plant: Plant, camera: str, recipe: str) -> Recipe:
    found = plant.cameras.get(camera)
    if found is None or not isinstance(found.source, ExternalSource):
        external = [name for name, item in plant.cameras.items() if isinstance(item.source, ExternalSource)]
        raise ConfigurationError(
            f"--camera {camera}: expected an external camera, one of: {', '.join(external) or 'there is none'}"
        )
    chosen = plant.recipe(recipe)
    if chosen is None:
        raise ConfigurationError(f"--recipe {recipe}: expected one of {', '.join(item.key for item in plant.recipes)}")
    return chosen


async def _publish(
    plant: Plant, camera: str, recipe: Recipe, files: list[Path], reference: Path | None, arrivals: Sender | None
) -> list[str]:
    from gateways.image_feed import ImageFeed
    from schemas.object_store import digest_of, open_store, reference_key
    from schemas.settings import ObjectStoreSettings
    from schemas.telemetry import Stage
    from schemas.topics import PLC_EVENTS

    digest = None
    if reference is not None:
        content = await asyncio.to_thread(reference.read_bytes)
        digest = digest_of(content)
        await asyncio.to_thread(open_store(ObjectStoreSettings()).put, reference_key(digest), content)
    started, sent = f"{time.time_ns():x}", []
    async with ImageFeed(plant=plant, camera=camera, stage=Stage("station_gateway")) as feed:
        for number, file in enumerate(files, start=1):
            part_id = f"{started}-{file.stem}"
            if arrivals is not None:
                event = _arrival(plant, camera, recipe, part_id, number, started)
                await asyncio.to_thread(arrivals.send, [(PLC_EVENTS, event.station, event)])
            sent.append(await feed.publish(file, part_id=part_id, recipe=recipe.key, reference=digest))
    return sent


def _arrival(plant: Plant, camera: str, recipe: Recipe, part_id: str, number: int, session: str) -> PartArrived:
    station = plant.station_of(camera)
    assert station is not None, "a camera belongs to a station"
    return PartArrived(
        id=f"{station.name}/{part_id}/1/arrived",
        station=station.name,
        part_id=part_id,
        visit=1,
        recipe=recipe.key,
        expected_views=recipe.required_views,
        trigger_count=number,
        occurred_at_ns=time.time_ns(),
        plc_session=session,
    )
