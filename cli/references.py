"""`linesight references capture`: makes a reference image from pictures of good parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from schemas.errors import ConfigurationError
from schemas.image_header import IMAGE_SUFFIXES
from schemas.plant_file import load_unfinished_plant

MOST_PICTURES = 100

app = typer.Typer(help="Reference images.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def references() -> None:
    """Reference images."""


@app.command("capture")
def capture(
    recipe: Annotated[str, typer.Option(help="name@revision")],
    view: Annotated[str, typer.Option(help="View of the recipe.")],
    images: Annotated[Path, typer.Option(help="Folder with pictures of good parts.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option(help="PNG to write; name it in the recipe's view.")],
    tolerance: Annotated[
        Path | None, typer.Option(help="PNG to write how much the good parts vary to; name it as the view's tolerance.")
    ] = None,
    plant: PlantFile = DEMO_PLANT,
    json: Json = False,
) -> None:
    """Aligns the pictures, refuses outliers, takes the median. Prints the digest that inspections will carry."""
    import cv2
    import numpy as np

    from processors.golden.reference import NotEnoughGoodParts, reference_from_good_parts
    from schemas.object_store import digest_of

    description = load_unfinished_plant(plant)
    found = description.recipe(recipe)
    if found is None:
        known = ", ".join(item.key for item in description.recipes)
        raise ConfigurationError(f"--recipe {recipe}: expected one of {known}")
    if view not in [item.name for item in found.views]:
        raise ConfigurationError(f"--view {view}: expected one of {', '.join(item.name for item in found.views)}")
    files = sorted(path for path in images.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)[:MOST_PICTURES]
    pictures = []
    for path in files:
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if picture is None:
            raise ConfigurationError(f"{path} is not a picture that can be decoded; remove it")
        pictures.append(np.asarray(picture, np.uint8))
    try:
        captured = reference_from_good_parts(pictures)
    except NotEnoughGoodParts as error:
        raise ConfigurationError(f"{images}: {error}") from error
    except ValueError as error:
        raise ConfigurationError(f"{images}: {error}") from error
    content = cv2.imencode(".png", captured.image)[1].tobytes()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(content)
    digest = digest_of(content)
    refused = {files[index].name: why for index, why in captured.refused.items()}
    varying_ratio = float(np.count_nonzero(captured.tolerance)) / captured.tolerance.size
    if tolerance is not None:
        tolerance.parent.mkdir(parents=True, exist_ok=True)
        tolerance.write_bytes(cv2.imencode(".png", captured.tolerance)[1].tobytes())
    if json:
        told = {"reference": str(out), "digest": digest, "pictures": len(files), "refused": list(refused)}
        written = None if tolerance is None else str(tolerance)
        print_json({**told, "reasons": refused, "tolerance": written, "varying_ratio": varying_ratio})
        return
    print(f"{out}: made from {len(files) - len(refused)} of {len(files)} pictures, {digest}")
    if tolerance is not None:
        print(f"{tolerance}: good parts vary in {varying_ratio:.1%} of the view")
    for name, why in refused.items():
        print(f"refused {name}: {why}")
