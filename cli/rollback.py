"""`linesight rollback`: back to the version that judged parts before. Needs Kafka and Triton, and nothing else."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from cli.exits import NotSo
from cli.model_log import now_ns, read_registry, write_step
from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from cli.services import find_kafka
from processors.model_registry import Registry
from processors.model_state import PIN, ModelState, Standing
from schemas.errors import ConfigurationError
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.records import ModelChange, ModelEvent, version_event_id


def command(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    plant: PlantFile = DEMO_PLANT,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    by: Annotated[str | None, typer.Option(help="Who says so; default: the user logged in.")] = None,
    json: Json = False,
) -> None:
    """Ends a canary; without one, takes the champion back, and the version before it judges parts again (or the recipe's pin).

    The version that is gone back to is loaded and asked first: a line without a model is worse than one with a doubtful one.
    """
    description, kafka = load_plant(plant), find_kafka()
    registry = read_registry(description, kafka)
    _refuse_unknown(description, registry, model)
    state = registry.state(model)
    left, back = _way_back(state)
    if left != _canary(state):
        _prove(description, model, back)
    at_ns = now_ns()
    event = ModelEvent(
        id=version_event_id(model=model, version=left, change=ModelChange.ROLLED_BACK, at_ns=at_ns),
        model=model,
        version=left,
        digest=state.versions[left].digest,
        change=ModelChange.ROLLED_BACK,
        at_ns=at_ns,
        by=by or getpass.getuser(),
        detail=reason,
        beside=back,
    )
    write_step(description, kafka, event)
    if json:
        print_json(event)
        return
    to = f"version {back}" if back != PIN else "the version that each recipe pins"
    print(f"{model} version {left} rolled back; parts are judged by {to}")


def _refuse_unknown(plant: Plant, registry: Registry, model: str) -> None:
    pinned = {pin.name for recipe in plant.recipes for each in recipe.inspections for pin in each.models}
    known = pinned | set(registry.models)
    if model not in known:
        raise ConfigurationError(f"no model {model!r}: expected one of {', '.join(sorted(known))}")


def _way_back(state: ModelState) -> tuple[int, int]:
    """The version to leave, and the one that judges afterwards."""
    canary = _canary(state)
    if canary is not None:
        return canary, state.champion
    if state.champion == PIN:
        raise NotSo(f"{state.model}: parts are judged by what the recipes pin; there is nothing to roll back")
    return state.champion, ([PIN, *state.champions][-2])


def _canary(state: ModelState) -> int | None:
    candidate = state.candidate
    return candidate.version if candidate is not None and candidate.standing is Standing.CANARY else None


def _prove(plant: Plant, model: str, version: int) -> None:
    from topologies.version_check import prove_version

    pins = {
        pin.version
        for recipe in plant.recipes
        for each in recipe.inspections
        for pin in each.models
        if pin.name == model
    }
    for number in sorted(pins) if version == PIN else [version]:
        prove_version(model, number)
