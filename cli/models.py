"""`linesight models`: what is in the model repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import Json, print_json
from schemas.errors import ConfigurationError
from schemas.settings import TritonSettings

app = typer.Typer(help="Models of the repository.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def models() -> None:
    """Models of the repository."""


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
