"""What a plant file may not say about challenge parts although every key and type is right."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.alert_rules import ChallengeRule
from schemas.challenges import ChallengePart
from schemas.plant import Plant, Station
from schemas.plant_shape import nearest
from schemas.plant_yaml import Finding, Place


def challenge_findings(plant: Plant) -> Iterator[Finding]:
    """Challenges that no part can be, that no verdict can pass, that nobody hears of; and rules for challenges that there are not."""
    for i, line in enumerate(plant.lines):
        for j, station in enumerate(line.stations):
            if station.challenges.parts or station.challenges.every_ms or station.challenges.per_shift:
                where: Place = ("lines", i, "stations", j, "challenges")
                found = list(_station(plant, station, where))
                yield from found or _unheard(plant, station, where)
    challenged = [station.name for station in plant.stations if station.challenges.parts]
    for index, rule in enumerate(plant.alerts):
        if not isinstance(rule, ChallengeRule):
            continue
        if rule.station is not None and rule.station not in challenged:
            expected = f"a station with `challenges`; `{rule.station}` has none"
            yield ("alerts", index, "station"), expected, nearest(rule.station, challenged)
        elif not challenged:
            yield ("alerts", index), "`challenges` at some station: without one this rule never matches anything", None


def _station(plant: Plant, station: Station, where: Place) -> Iterator[Finding]:
    challenges = station.challenges
    if not challenges.parts:
        yield (*where, "parts"), "at least one known-bad part", None
    if challenges.every_ms is not None and challenges.per_shift is not None:
        yield (*where, "per_shift"), "either `every_ms` or `per_shift`", None
    if challenges.per_shift is not None and not plant.statistics.shifts:
        yield (
            (*where, "per_shift"),
            "shifts under `statistics.shifts`, or `every_ms`: it is not known when a shift begins",
            None,
        )
    names = [part.name for part in challenges.parts]
    for k, part in enumerate(challenges.parts):
        if names.index(part.name) != k:
            yield (*where, "parts", k, "name"), f"a name of its own; `{part.name}` stands twice", None
        yield from _part(plant, station, part, (*where, "parts", k))


def _unheard(plant: Plant, station: Station, where: Place) -> Iterator[Finding]:
    rules = [rule for rule in plant.alerts if isinstance(rule, ChallengeRule)]
    if not any(rule.station in (None, station.name) for rule in rules):
        yield (
            where,
            "a rule of `type: challenge` under `alerts`: without one nobody hears of a challenge that fails",
            None,
        )


def _part(plant: Plant, station: Station, part: ChallengePart, where: Place) -> Iterator[Finding]:
    if part.part_id is None and not part.labels:
        yield where, "`part_id` or `labels`: by what a challenge part is known", None
    if part.part_id is not None and not part.part_id.strip("*"):
        yield (
            (*where, "part_id"),
            f"an id of challenge parts alone, such as CHALLENGE-*; `{part.part_id}` is every part",
            None,
        )
    plc = plant.plc(station.plc or "")
    given = [label.name for label in plc.labels] if plc else []
    for name in part.labels:
        if name not in given:
            yield (
                (*where, "labels"),
                f"a label of `labels` of the station's PLC; `{name}` is none",
                nearest(name, given),
            )
    classes = sorted({item.name for recipe in plant.recipes for item in recipe.classes})
    for place, name in enumerate(part.expects):
        if name not in classes:
            yield (*where, "expects", place), f"a defect class of some recipe; `{name}` is none", nearest(name, classes)
    views = [view for camera in station.cameras for view in camera.views]
    if part.view is not None and part.view not in views:
        yield (*where, "view"), f"a view of the station; `{part.view}` is none", nearest(part.view, views)
