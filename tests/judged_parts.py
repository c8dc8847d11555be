"""Plant and messages for the tests of judging, ledger and summary."""

from __future__ import annotations

import msgspec

from schemas.inspections import DEFERRED, Defect, Inspection, ModelUse, deferral_id
from schemas.plant import Camera, ExternalSource, Line, Plant, Plc, Station
from schemas.plc_events import PartArrived
from schemas.reasons import FailSafe, FrameOutcome
from schemas.recipes import AnyDefect, DefectClass, GoldenInspection, Recipe, View, Voting

MS = 1_000_000
S = 1_000 * MS
T0 = 1_767_225_600 * S
VIEWS = ("left", "middle", "right")
STATIONS = ("aoi-1", "aoi-2", "aoi-3")
GATE_MS = 2_000
DEADLINE_MS = 1_000
MODEL = ModelUse(model="defect_classifier", version=1, digest="sha256:00")


def recipe(
    name: str = "board-a",
    *,
    voting: Voting | None = None,
    deadline_ms: int | None = DEADLINE_MS,
    fail_safe: FailSafe = FailSafe.REJECT,
    classes: tuple[DefectClass, ...] = (DefectClass(name="open"), DefectClass(name="spur")),
    views: tuple[View, ...] = tuple(View(name=view) for view in VIEWS),
) -> Recipe:
    return Recipe(
        name=name,
        views=views,
        inspection=GoldenInspection(),
        classes=classes,
        voting=voting or AnyDefect(),
        deadline_ms=deadline_ms,
        fail_safe=fail_safe,
    )


def plant(*recipes: Recipe, name: str = "test", stations: tuple[str, ...] = ("aoi-1",), plc: bool = True) -> Plant:
    """One line; every station has a PLC and one camera per view, each with a view of its own name."""
    return Plant(
        plant=name,
        lines=(
            Line(
                name="line-1",
                stations=tuple(
                    Station(
                        name=station,
                        cameras=tuple(
                            Camera(name=f"{station}-{view}", views=(view,), source=ExternalSource()) for view in VIEWS
                        ),
                        plc="plc-1" if plc else None,
                        gate_after_ms=GATE_MS,
                    )
                    for station in stations
                ),
            ),
        ),
        plcs=(Plc(name="plc-1", endpoint="opc.tcp://127.0.0.1:4840/", security="none"),),
        recipes=recipes or (recipe(),),
    )


def arrival(
    part_id: str = "SN-1",
    *,
    visit: int = 1,
    station: str = "aoi-1",
    recipe: str = "board-a@1",
    views: tuple[str, ...] = VIEWS,
    occurred_at_ns: int = T0,
) -> PartArrived:
    return PartArrived(
        id=f"{station}/{part_id}/{visit}/arrived",
        station=station,
        part_id=part_id,
        visit=visit,
        recipe=recipe,
        expected_views=views,
        trigger_count=1,
        occurred_at_ns=occurred_at_ns,
        batch="lot-1",
        plc_session="s1",
    )


def defect(class_name: str = "open", *, score: float = 0.9, area_px: float = 50.0) -> Defect:
    return Defect(class_name=class_name, score=score, box=(1, 2, 11, 12), area_px=area_px)


def inspection(
    view: str = "left",
    *defects: Defect,
    part_id: str = "SN-1",
    visit: int = 1,
    station: str = "aoi-1",
    session: str = "g1",
    sequence: int = 0,
    dropped: str | None = None,
    inspected_at_ns: int = T0 + 40 * MS,
) -> Inspection:
    camera = f"{station}-{view}"
    return Inspection(
        id=f"{camera}/{session}/{sequence}",
        station=station,
        camera=camera,
        view=view,
        session=session,
        sequence=sequence,
        part_id=part_id,
        visit=visit,
        outcome=FrameOutcome.DROPPED if dropped else FrameOutcome.INSPECTED,
        reason=dropped,
        recipe="board-a@1",
        defects=defects,
        models=() if dropped else (MODEL,),
        image_sha256="ab" * 32,
        captured_at_ns=T0 + 5 * MS,
        received_at_ns=T0 + 10 * MS,
        inspected_at_ns=inspected_at_ns,
        frame_partition=VIEWS.index(view) if view in VIEWS else 3,
        frame_offset=sequence,
    )


def deferral(of: Inspection) -> Inspection:
    """What the live group says of a frame that it leaves to the backfill."""
    word = inspection(of.view, part_id=of.part_id, visit=of.visit, sequence=of.sequence, dropped=DEFERRED)
    return msgspec.structs.replace(word, id=deferral_id(of.id))


def backfilled(of: Inspection) -> Inspection:
    """The same inspection, made by the backfill."""
    return msgspec.structs.replace(of, warnings=(DEFERRED,))
