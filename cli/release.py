"""`linesight release`: a trained folder becomes the next version of its model."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from cli.model_log import now_ns, read_registry, write_step
from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from cli.services import find_kafka
from processors.model_registry import Registry
from processors.served_versions import unserved
from schemas.errors import ConfigurationError, ServiceAway
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.recipes import ModelPin
from schemas.records import Gate, ModelChange, ModelEvent, version_event_id
from schemas.settings import KafkaSettings, TritonSettings


def command(
    folder: Annotated[Path, typer.Argument(help="Folder that `linesight train` wrote.")],
    model: Annotated[str | None, typer.Option(help="Name of the model; default: the one on its card.")] = None,
    dataset: Annotated[Path | None, typer.Option(help="Dataset that it was trained on, for the lineage.")] = None,
    repository: Annotated[
        Path | None, typer.Option(help="Model repository to copy it into; default: the one that has the model.")
    ] = None,
    plant: PlantFile = DEMO_PLANT,
    by: Annotated[str | None, typer.Option(help="Who releases it; default: the user logged in.")] = None,
    json: Json = False,
) -> None:
    """Checks card, digest and parity, copies the folder as version N+1 beside the others, and says so on `models` and `audit`.

    Triton, where one answers, has to load it and to answer with it; else it is taken back, and the versions in use stay. Nothing judges
    parts with it yet. A folder that was copied but not announced (the broker was away) is announced by the same command.
    """
    description, kafka = load_plant(plant), find_kafka()
    event = released(
        folder,
        model=model,
        dataset=dataset,
        repositories=(repository,) if repository else TritonSettings().repositories,
        plant=description,
        kafka=kafka,
        by=by or getpass.getuser(),
    )
    if json:
        print_json(event)
        return
    print(f"{event.model} version {event.version} released: {event.digest}")


def released(
    folder: Path,
    *,
    model: str | None,
    dataset: Path | None,
    repositories: Sequence[Path],
    plant: Plant,
    kafka: KafkaSettings,
    by: str,
    run: str = "",
    gates: tuple[Gate, ...] = (),
) -> ModelEvent:
    """Releases a trained folder as `linesight release` does, of a training run or of a person; returns the record that says so."""
    from training.release import add_version, read_candidate, repository_for, versions_in

    candidate = read_candidate(folder)
    name = model or candidate.card.model
    registry = read_registry(plant, kafka)
    known = versions_in(repositories, name)
    _refuse_again(registry, name, candidate.digest)
    version = _unannounced(registry, name, known, candidate.digest)
    if version is None:
        version = max([*known, registry.state(name).highest], default=0) + 1
        gone = unserved(registry.state(name), pinned=_pinned(plant, name), now_ns=now_ns())
        home = repository_for(repositories, name)
        place = add_version(home, name, candidate, version, unserved=gone, is_told=_is_followed(plant, name))
        _try_on_triton(name, version, place)
    at_ns = now_ns()
    event = ModelEvent(
        id=version_event_id(model=name, version=version, change=ModelChange.RELEASED, at_ns=at_ns),
        model=name,
        version=version,
        digest=candidate.digest,
        change=ModelChange.RELEASED,
        at_ns=at_ns,
        by=by,
        detail=candidate.card.data,
        dataset=_digest(dataset),
        figures=_figures(candidate.card.metrics),
        run=run,
        gates=gates,
        settings=msgspec.json.encode(candidate.settings).decode(),
    )
    write_step(plant, kafka, event)
    return event


def _pins(plant: Plant, name: str) -> list[ModelPin]:
    pins = [pin for recipe in plant.recipes for inspection in recipe.inspections for pin in inspection.models]
    return [pin for pin in pins if pin.name == name]


def _pinned(plant: Plant, name: str) -> frozenset[int]:
    return frozenset(pin.version for pin in _pins(plant, name))


def _is_followed(plant: Plant, name: str) -> bool:
    """Whether every stage that asks for the model reads the registry: the settings of a version need not stand at the server."""
    pins = _pins(plant, name)
    return bool(pins) and all(pin.follow for pin in pins)


def _try_on_triton(name: str, version: int, place: Path) -> None:
    """A version that Triton refuses is taken back: it would keep the whole model from being loaded at the server's next start."""
    from topologies.version_check import prove_version
    from training.release import take_back

    try:
        prove_version(name, version)
    except ServiceAway as away:
        print(f"not tried on Triton: {away}", file=sys.stderr)
    except ConfigurationError:
        take_back(place)
        raise


def _refuse_again(registry: Registry, name: str, digest: str) -> None:
    for number, version in registry.state(name).versions.items():
        if version.digest == digest:
            raise ConfigurationError(f"these weights are {name} version {number} already ({version.standing})")


def _unannounced(registry: Registry, name: str, known: dict[int, str], digest: str) -> int | None:
    """A copy of the same weights that lies above everything that was announced."""
    highest = registry.state(name).highest
    return next((number for number, found in sorted(known.items()) if found == digest and number > highest), None)


def _digest(dataset: Path | None) -> str:
    from training.datasets import open_dataset

    return "" if dataset is None else open_dataset(dataset).digest


def _figures(metrics: dict[str, Any]) -> dict[str, float]:
    """The card's figures that are one number each."""
    numbers = {name: value for name, value in metrics.items() if isinstance(value, float | int)}
    values = {
        name: value["value"]
        for name, value in metrics.items()
        if isinstance(value, dict) and isinstance(value.get("value"), float | int)
    }
    shares = {
        f"{name}_share": value["share"]
        for name, value in metrics.items()
        if isinstance(value, dict) and isinstance(value.get("share"), float | int)
    }
    return {name: float(value) for name, value in (numbers | values | shares).items()}
