"""`linesight models shadow`, `canary`, `promote`, `reject`: a person takes a version further, or lets it go."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import Annotated

import msgspec
import typer

from cli.exits import NotSo
from cli.model_log import now_ns, read_registry, write_step
from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from cli.services import find_kafka
from processors.model_registry import stepped
from schemas.errors import ConfigurationError
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.records import ModelChange, ModelEvent, version_event_id

Model = Annotated[str, typer.Argument(help="Name of the model.")]
Version = Annotated[int, typer.Argument(min=1, help="Version that was released.")]
Reason = Annotated[str, typer.Option(help="Why, for the record.")]
By = Annotated[str | None, typer.Option(help="Who says so; default: the user logged in.")]


def _verb(change: ModelChange, about: str, *, said: str) -> Callable[..., None]:
    """A verb that writes `change` of a version. `about` is its help, `said` what it tells of the version when it is done."""

    def verb(
        model: Model,
        version: Version,
        plant: PlantFile = DEMO_PLANT,
        reason: Reason = "",
        by: By = None,
        json: Json = False,
    ) -> None:
        _take(_event(change, model, version, reason, by), plant, json, said=said)

    verb.__doc__ = about
    return verb


shadow = _verb(
    ModelChange.SHADOWED,
    "Has a version answer live frames beside the one that judges them, on `shadows`; nothing acts on it.",
    said="answers live frames in shadow",
)
promote = _verb(
    ModelChange.PROMOTED,
    "Makes a version the one that judges parts, where recipes follow the model. `linesight rollback` takes it back.",
    said="judges parts from now on",
)
reject = _verb(
    ModelChange.REJECTED,
    "Lets a version go that was never promoted: it judges no part any more.",
    said="rejected",
)


def canary(
    model: Model,
    version: Version,
    share: Annotated[float, typer.Option(help="Share of the parts that it judges, above 0 and below 1.")] = 0.1,
    plant: PlantFile = DEMO_PLANT,
    reason: Reason = "",
    by: By = None,
    json: Json = False,
) -> None:
    """Lets a version judge a share of the parts, chosen by their ids, where recipes follow the model."""
    if not 0 < share < 1:
        raise ConfigurationError(f"--share {share:g}: expected a share above 0 and below 1, such as 0.1")
    event = _event(ModelChange.CANARIED, model, version, reason, by, share_ratio=share)
    _take(event, plant, json, said=f"judges {share:.0%} of the parts")


def _event(
    change: ModelChange, model: str, version: int, reason: str, by: str | None, *, share_ratio: float = 0.0
) -> ModelEvent:
    at_ns = now_ns()
    return ModelEvent(
        id=version_event_id(model=model, version=version, change=change, at_ns=at_ns),
        model=model,
        version=version,
        digest="",
        change=change,
        at_ns=at_ns,
        by=by or getpass.getuser(),
        detail=reason,
        share_ratio=share_ratio,
    )


def _take(event: ModelEvent, plant: PlantFile, json: bool, *, said: str) -> None:
    """Writes the step if it fits, and if Triton can serve what is to judge parts."""
    description, kafka = load_plant(plant), find_kafka()
    state = read_registry(description, kafka).state(event.model)
    known = state.versions.get(event.version)
    whole = msgspec.structs.replace(event, digest=known.digest if known else "", beside=state.champion)
    if refused := stepped(state, whole).refused:
        raise NotSo(f"{event.model} version {event.version}: {refused}")
    if whole.change is not ModelChange.REJECTED:
        from topologies.version_check import prove_version

        prove_version(event.model, event.version)
    write_step(description, kafka, whole)
    if json:
        print_json(whole)
        return
    print(f"{event.model} version {event.version} {said}")
    if whole.change is not ModelChange.REJECTED and not _followed(description, event.model):
        print(
            f"no recipe follows {event.model}: write `follow: true` beside its version in a recipe, or nothing changes"
        )


def _followed(plant: Plant, model: str) -> bool:
    pins = [pin for recipe in plant.recipes for each in recipe.inspections for pin in each.models]
    return any(pin.name == model and pin.follow for pin in pins)
