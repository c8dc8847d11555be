"""Which part is a challenge, and whether the station proved itself with it."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from typing import NamedTuple

import msgspec

from schemas.challenges import ChallengePart, Challenges
from schemas.plant import Station
from schemas.reasons import FailSafe, VerdictValue
from schemas.records import AuditEvent
from schemas.verdicts import Verdict

ACTOR = "judge"


class Proof(NamedTuple):
    """Whether the verdict on a challenge part is the one that it must get, and what it is, for a person."""

    passed: bool
    told: str


def marked(verdict: Verdict, challenges: Challenges) -> Verdict:
    """The verdict, marked where its part is a challenge (the first that fits), with whether it is the one that the part must get."""
    part = next((part for part in challenges.parts if _is(part, verdict.part_id, verdict.labels)), None)
    if part is None:
        return verdict
    return msgspec.structs.replace(verdict, challenge=part.name, challenge_passed=proof(verdict, part).passed)


def proof(verdict: Verdict, part: ChallengePart) -> Proof:
    """Judges the station by its verdict (revision 1) on a challenge part."""
    wanted = " or ".join(part.expects) or "any defect"
    where = f" in {part.view}" if part.view else ""
    if verdict.verdict is not VerdictValue.NOT_OK:
        return Proof(False, f"{verdict.verdict}, expected NOT_OK with {wanted}{where}")
    if verdict.action is not FailSafe.REJECT:
        return Proof(False, f"NOT_OK, and its action is `{verdict.action}`, expected `{FailSafe.REJECT}`")
    found = [(defect.class_name, view.view) for view in verdict.views for defect in view.defects]
    fitting = [
        f"{name} in {view}"
        for name, view in found
        if (not part.expects or name in part.expects) and (part.view is None or view == part.view)
    ]
    if fitting:
        return Proof(True, f"NOT_OK, {', '.join(dict.fromkeys(fitting))}")
    seen = ", ".join(dict.fromkeys(f"{name} in {view}" for name, view in found)) or "no defect"
    return Proof(False, f"NOT_OK with {seen}, expected {wanted}{where}")


def audited(verdict: Verdict, station: Station) -> AuditEvent | None:
    """What the audit topic is told of a verdict: that a challenge part was judged, and how. None for an ordinary part, and for a review."""
    part = station.challenges.part(verdict.challenge) if verdict.challenge else None
    if part is None or verdict.revision != 1:
        return None
    passed, told = proof(verdict, part)
    return AuditEvent(
        id=f"{ACTOR}/challenge/{verdict.id}/{verdict.decided_at_ns}",
        actor=ACTOR,
        action="challenge",
        subject=verdict.station,
        at_ns=verdict.decided_at_ns,
        detail=f"{part.name}, part {verdict.part_id} (visit {verdict.visit}): {'passed' if passed else 'failed'}: {told}",
    )


def _is(part: ChallengePart, part_id: str, labels: Mapping[str, str]) -> bool:
    if part.part_id is not None and not fnmatchcase(part_id, _pattern(part.part_id)):
        return False
    return all(labels.get(name) == value for name, value in part.labels.items())


@cache
def _pattern(part_id: str) -> str:
    """`*` alone is special: what fnmatch makes of `?` and brackets may well stand in a serial number."""
    return "".join(f"[{sign}]" if sign in "?[" else sign for sign in part_id)
