"""What follows from a verdict: defect events and the command. Functions of the verdict and the plant file alone.

So what follows can be made again after a restart and is equal to what went out before, id by id.
"""

from __future__ import annotations

from typing import Any

from schemas.commands import Command
from schemas.message import NS_PER_MS
from schemas.plant import Station
from schemas.reasons import CommandKind, VerdictReason
from schemas.verdicts import DefectEvent, Verdict, picture_key

NO_DEADLINE_VALID_FOR_MS = 60_000
"""How long a command lives where the recipe sets no deadline, from the decision on."""


def defect_events(verdict: Verdict) -> tuple[DefectEvent, ...]:
    """One event per defect that counts, whatever the verdict: `k_of_n` passes parts with defects, and they are still told."""
    located = [(view, defect) for view in verdict.views for defect in view.defects]
    return tuple(
        DefectEvent(
            id=f"{verdict.id}/{number}",
            line=verdict.line,
            station=verdict.station,
            part_id=verdict.part_id,
            visit=verdict.visit,
            revision=verdict.revision,
            verdict=verdict.verdict,
            recipe=verdict.recipe,
            batch=verdict.batch,
            camera=view.camera,
            view=view.view,
            class_name=defect.class_name,
            score=defect.score,
            box=defect.box,
            area_px=defect.area_px,
            decided_at_ns=verdict.decided_at_ns,
            captured_at_ns=view.captured_at_ns,
            picture=picture_key(view.image_sha256) if view.image_sha256 else "",
            models=verdict.models,
            challenge=verdict.challenge,
        )
        for number, (view, defect) in enumerate(located)
    )


def valid_until_ns(verdict: Verdict, station: Station) -> int:
    """Until when the machine may act on the verdict, ns UTC.

    The part passes the gate `gate_after_ms` after its arrival (the broker's time). A recipe without a deadline says that
    the part waits; its command lives for a minute.
    """
    if verdict.due_at_ns is None and VerdictReason.UNKNOWN_RECIPE not in verdict.reasons:
        return verdict.decided_at_ns + NO_DEADLINE_VALID_FOR_MS * NS_PER_MS
    return verdict.arrived_at_ns + station.gate_after_ms * NS_PER_MS


def command(verdict: Verdict, station: Station, *, now_ns: int) -> Command | None:
    """The write to the station's PLC.

    None where there is no PLC, where the machine may not act on it any more (`now_ns` at or after `valid_until_ns`), and for
    a review: only revision 1 ever goes to a PLC.
    """
    until_ns = valid_until_ns(verdict, station)
    if station.plc is None or verdict.revision != 1 or now_ns >= until_ns:
        return None
    return Command(
        id=f"verdict/{verdict.id}",
        station=verdict.station,
        kind=CommandKind.VERDICT,
        issued_at_ns=verdict.decided_at_ns,
        valid_until_ns=until_ns,
        reason_code=verdict.reasons[0].value if verdict.reasons else "",
        part_id=verdict.part_id,
        visit=verdict.visit,
        verdict=verdict.verdict,
        action=verdict.action,
        arrived_at_ns=verdict.arrived_at_ns,
        **_highest_scored(verdict),
    )


def _highest_scored(verdict: Verdict) -> dict[str, Any]:
    """What the machine is told of the verdict's defects."""
    located = [(view, defect) for view in verdict.views for defect in view.defects]
    if not located:
        return {}
    view, defect = max(located, key=lambda found: found[1].score)
    left, top, right, bottom = defect.box
    return {
        "defect_class": defect.class_name,
        "defect_view": view.view,
        "defect_x_px": (left + right) / 2,
        "defect_y_px": (top + bottom) / 2,
    }
