"""`linesight review`: publishes a person's label for a part."""

from __future__ import annotations

import getpass
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from cli.options import DEMO_PLANT, Json, PlantFile, print_json
from cli.producing import Sender
from cli.services import find_kafka
from schemas.errors import ConfigurationError
from schemas.inspections import Defect
from schemas.plant import Plant
from schemas.plant_file import load_plant
from schemas.reasons import VerdictValue
from schemas.records import AuditEvent, Review
from schemas.topics import AUDIT, REVIEWS


def command(
    part_id: Annotated[str, typer.Argument(help="The part, as its verdict names it.")],
    verdict: Annotated[VerdictValue, typer.Argument(help="What the part really is.")],
    plant: PlantFile = DEMO_PLANT,
    station: Annotated[str | None, typer.Option(help="Needed where the plant has several stations.")] = None,
    visit: Annotated[int, typer.Option(min=1)] = 1,
    reviewer: Annotated[str | None, typer.Option(help="Who says so; default: the user logged in.")] = None,
    view: Annotated[str, typer.Option(help="View that the defects are on.")] = "",
    defect: Annotated[
        list[str] | None, typer.Option(help="`class:x1,y1,x2,y2`, px of the original frame; repeatable.")
    ] = None,
    comment: Annotated[str, typer.Option()] = "",
    json: Json = False,
) -> None:
    """A review makes revision 2 of the verdict; retraining learns from reviews that disagree. It never commands the PLC."""
    description = load_plant(plant)
    names = [known.name for known in description.stations]
    if station is None and len(names) == 1:
        station = names[0]
    if station not in names:
        raise ConfigurationError(f"--station: expected one of {', '.join(names)}; got {station!r}")
    now_ns, who = time.time_ns(), reviewer or getpass.getuser()
    review = Review(
        id=f"{station}/{part_id}/{visit}/{who}/{now_ns}",
        station=station,
        part_id=part_id,
        visit=visit,
        reviewer=who,
        reviewed_at_ns=now_ns,
        verdict=verdict,
        view=view,
        defects=tuple(_defect(text, known=_classes(description)) for text in defect or ()),
        comment=comment,
    )
    audit = AuditEvent(
        id=f"{who}/review/{review.id}/{now_ns}",
        actor=who,
        action="review",
        subject=review.id,
        at_ns=now_ns,
        detail=verdict.value,
    )
    with Sender(plant=description, kafka=find_kafka()) as sender:
        sender.send([(REVIEWS, station, review), (AUDIT, who, audit)])
    if json:
        print_json(review)
    else:
        print(f"review of {part_id} (visit {visit}) at {station} published: {verdict.value}, by {who}")


def _classes(plant: Plant) -> list[str]:
    return sorted({known.name for recipe in plant.recipes for known in recipe.classes})


def _defect(text: str, *, known: Sequence[str]) -> Defect:
    name, _, numbers = text.partition(":")
    try:
        x1, y1, x2, y2 = (int(number) for number in numbers.split(","))
    except ValueError as error:
        raise ConfigurationError(
            f"--defect {text!r}: expected class:x1,y1,x2,y2 in px, e.g. open:10,20,40,52"
        ) from error
    if not (name and x1 < x2 and y1 < y2):
        raise ConfigurationError(f"--defect {text!r}: expected a class name and a box with x1 < x2 and y1 < y2")
    if name not in known:
        raise ConfigurationError(f"--defect {text!r}: expected a class of the plant file: {', '.join(known)}")
    return Defect(class_name=name, score=1.0, box=(x1, y1, x2, y2), area_px=float((x2 - x1) * (y2 - y1)))
