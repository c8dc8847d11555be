"""`linesight references capture`: makes a reference image from pictures of good parts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from schemas.errors import ConfigurationError
from schemas.image_header import IMAGE_SUFFIXES
from schemas.plant_file import load_unfinished_plant

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MOST_PICTURES = 100
LISTED = 5

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
    """Aligns the pictures, refuses outliers, takes the median. Prints the digest that inspections will carry.

    An outlier differs from the others on the average of its pixels (another product, a hand), or in a place where no other does, as a
    defect does: a cut track. What two of the pictures show in the same place is taken for a variation of good parts.
    """
    import cv2
    import numpy as np

    from processors.golden.reference import NotEnoughGoodParts, reference_from_good_parts
    from schemas.object_store import digest_of
    from schemas.recipes import GoldenInspection

    description = load_unfinished_plant(plant)
    found = description.recipe(recipe)
    if found is None:
        known = ", ".join(item.key for item in description.recipes)
        raise ConfigurationError(f"--recipe {recipe}: expected one of {known}")
    views = {item.name: item for item in found.views}
    if view not in views:
        raise ConfigurationError(f"--view {view}: expected one of {', '.join(views)}")
    inspection = found.inspection_of(views[view])
    files = sorted(path for path in images.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    pictures, refused = _of_one_size(files)
    names = list(pictures)
    try:
        captured = reference_from_good_parts(
            list(pictures.values()), settings=inspection if isinstance(inspection, GoldenInspection) else None
        )
    except NotEnoughGoodParts as error:
        refused |= {names[index]: why for index, why in error.refused.items()}
        left_out = "".join(f"; {name}: {why}" for name, why in list(refused.items())[:LISTED])
        raise ConfigurationError(f"{images}: {error}{left_out}") from error
    content = cv2.imencode(".png", captured.image)[1].tobytes()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(content)
    digest = digest_of(content)
    refused |= {names[index]: why for index, why in captured.refused.items()}
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


def _of_one_size(files: list[Path]) -> tuple[dict[str, npt.NDArray[np.uint8]], dict[str, str]]:
    """By name: the pictures (uint8 [H, W]) of the size that most have, and why each other file is none of them."""
    import cv2
    import numpy as np

    refused = {path.name: f"one too many: the first {MOST_PICTURES} are taken" for path in files[MOST_PICTURES:]}
    read: dict[str, npt.NDArray[np.uint8]] = {}
    for path in files[:MOST_PICTURES]:
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if picture is None:
            refused[path.name] = "cannot be decoded"
        else:
            read[path.name] = np.asarray(picture, np.uint8)
    if not read:
        return {}, refused
    usual = Counter(picture.shape for picture in read.values()).most_common(1)[0][0]
    for name, picture in list(read.items()):
        if picture.shape != usual:
            refused[name] = f"{picture.shape[1]}x{picture.shape[0]} px, expected {usual[1]}x{usual[0]} px as most have"
            del read[name]
    return read, refused
