"""`linesight models`: every version with its lineage, from the request for training to the promotion; what is in the repositories."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import model_steps
from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from processors.model_lineage import Lineage, ModelLineage, lineages
from processors.model_state import PIN
from schemas.errors import ConfigurationError
from schemas.message import NS_PER_S
from schemas.records import ModelEvent
from schemas.settings import TritonSettings

app = typer.Typer(help="Models: their versions and lineage.", rich_markup_mode=None)
app.command("shadow")(model_steps.shadow)
app.command("canary")(model_steps.canary)
app.command("promote")(model_steps.promote)
app.command("reject")(model_steps.reject)


@app.callback(invoke_without_command=True)
def models(context: typer.Context, plant: PlantFile = DEMO_PLANT, json: Json = False) -> None:
    """Every model that was trained or released for the plant: which version judges parts, and the lineage of each."""
    if context.invoked_subcommand is not None:
        return
    show(plant=plant, json=json)


@app.command("lineage")
def show(
    model: Annotated[str | None, typer.Argument(help="One model; default: all.")] = None,
    plant: PlantFile = DEMO_PLANT,
    json: Json = False,
) -> None:
    """Request, data, run, gates, release, trial, promotion and what came after, of each version; read from `models` alone."""
    found = _read(plant)
    if model is not None and model not in found:
        raise ConfigurationError(f"no model {model!r} on the topic: expected one of {', '.join(found) or 'none yet'}")
    chosen = [each for name, each in found.items() if model in (None, name)]
    if json:
        print_json([{"state": each.state, "lineages": each.lineages} for each in chosen])
        return
    if not chosen:
        print("no model was trained or released yet: parts are judged by the versions that the recipes pin")
    for each in chosen:
        for line in _lines(each):
            print(line)


def _read(plant: Path) -> dict[str, ModelLineage]:
    from cli.following import Follower
    from cli.services import find_kafka
    from schemas.plant_file import load_plant
    from schemas.topics import MODELS, RETRAINING

    description, kafka = load_plant(plant), find_kafka()
    messages: dict[str, list[Any]] = {MODELS.name: [], RETRAINING.name: []}
    for topic in (MODELS, RETRAINING):
        with Follower(plant=description, settings=kafka, topics=(topic,), from_beginning=True) as follower:
            messages[topic.name] = [seen.message for seen in follower.drain() if seen.message is not None]
    return lineages(messages[MODELS.name], messages[RETRAINING.name])


def _lines(model: ModelLineage) -> list[str]:
    state = model.state
    judges = f"version {state.champion} judges parts" if state.champion != PIN else "the recipes' pins judge parts"
    candidate = state.candidate
    beside = "" if candidate is None else f"; version {candidate.version} is {candidate.standing}"
    share = "" if candidate is None or not candidate.share_ratio else f" for {candidate.share_ratio:.0%} of them"
    lines = [f"{state.model}: {judges}{beside}{share}"]
    for each in model.lineages:
        lines += ["", _title(each), *_origin(each), *map(_step, each.steps)]
    return lines


def _title(lineage: Lineage) -> str:
    if lineage.version is None:
        return f"  no version   {lineage.run.step if lineage.run else ''}"
    drained = ", retired" if lineage.version.retired else ""
    return f"  version {lineage.version.version:<4} {lineage.version.standing}{drained}  {lineage.version.digest}"


def _origin(lineage: Lineage) -> list[str]:
    if lineage.run is None:
        return []
    trigger = lineage.trigger
    if trigger is None:
        return [f"    asked for by  {lineage.run.trigger or 'a person'}"]
    shown = [f"{each.statistic} {each.observed:.3g} (limit {each.threshold:g})" for each in trigger.evidence]
    return [f"    asked for by  {trigger.id}: {', '.join(shown)}"]


def _step(event: ModelEvent) -> str:
    at = datetime.fromtimestamp(event.at_ns / NS_PER_S, UTC).isoformat(timespec="seconds")
    figures = [f"{name} {value:.4g}" for name, value in event.figures.items()]
    gates = [
        f"{gate.name} {gate.value:.4g}, limit {gate.limit:.4g}: {'passed' if gate.passed else 'NOT PASSED'}"
        for gate in event.gates
    ]
    told = [text for text in (event.dataset, event.detail, *gates, *(() if gates else figures)) if text]
    return f"    {at}  {event.change:<12} by {event.by}" + (f": {'; '.join(told)}" if told else "")


@app.command("list")
def list_models(
    repository: Annotated[
        Path | None,
        typer.Option(help="One Triton model repository; default: Linesight's own and TRITON_TRAINED_MODELS."),
    ] = None,
    json: Json = False,
) -> None:
    """Every version of every model, with the digest of its weights as inspections carry it."""
    folders = [repository] if repository else [folder for folder in TritonSettings().repositories if folder.is_dir()]
    rows = [row for folder in folders for row in model_versions(folder)]
    if json:
        print_json(rows)
        return
    for row in rows:
        print(f"{row['model']:<20} version {row['version']}  {row['size_bytes']:>8} bytes  {row['digest']}")


def model_versions(repository: Path) -> list[dict[str, Any]]:
    """`{"model", "version", "digest", "size_bytes"}` of each `<model>/<version>/model.onnx`, in order."""
    from schemas.object_store import digest_of

    if not repository.is_dir():
        raise ConfigurationError(f"{repository}: no such model repository")
    rows = []
    for file in sorted(repository.glob("*/*/model.onnx")):
        content = file.read_bytes()
        rows.append(
            {
                "model": file.parent.parent.name,
                "version": int(file.parent.name),
                "digest": digest_of(content),
                "size_bytes": len(content),
            }
        )
    return rows
