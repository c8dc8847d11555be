"""What a plant file's receivers may not say although every key and type is right."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.addresses import address_lacks
from schemas.plant import Plant
from schemas.plant_shape import nearest
from schemas.plant_yaml import Finding, Place
from schemas.receivers import SEVERITIES, AndonReceiver, WebhookReceiver

SHORTEST_SECRET = 16
FEWEST_PER_HOUR = 2


def receiver_findings(plant: Plant) -> Iterator[Finding]:
    """Receivers that cannot be reached, or that name what is not there."""
    rules = [rule.name for rule in plant.alerts]
    for index, receiver in enumerate(plant.receivers):
        where = ("receivers", index)
        for number, rule in enumerate(receiver.rules):
            if rule not in rules:
                place = (*where, "rules", number)
                yield place, f"the name of a rule under `alerts`; `{rule}` is none", nearest(rule, rules)
        if receiver.max_per_hour < FEWEST_PER_HOUR:
            yield (*where, "max_per_hour"), f"at least {FEWEST_PER_HOUR}: an alert, and a digest of the others", None
        if isinstance(receiver, AndonReceiver):
            yield from _andon(receiver, where, plant)
            continue
        lacks = address_lacks(receiver.url, schemes=("http", "https"))
        if lacks:
            yield (*where, "url"), lacks, None
        if isinstance(receiver, WebhookReceiver) and len(receiver.secret) < SHORTEST_SECRET:
            yield (
                (*where, "secret"),
                f"a secret of at least {SHORTEST_SECRET} characters, from the environment: ${{ALERTS_SECRET}}",
                None,
            )


def _andon(receiver: AndonReceiver, where: Place, plant: Plant) -> Iterator[Finding]:
    stations = [station.name for station in plant.stations if station.plc is not None]
    station = plant.station(receiver.station)
    if station is None or station.plc is None:
        expected = f"the name of a station with a `plc`; `{receiver.station}` is none"
        yield (*where, "station"), expected, nearest(receiver.station, stations)
        return
    parameters = {item.name: item for item in station.interlocks.parameters}
    parameter = parameters.get(receiver.parameter)
    if parameter is None:
        expected = f"a parameter that the `interlocks` of station `{station.name}` name; `{receiver.parameter}` is none"
        yield (*where, "parameter"), expected, nearest(receiver.parameter, parameters)
    elif not (parameter.low <= 0 and parameter.high >= len(SEVERITIES)):
        expected = f"a parameter that may be 0 to {len(SEVERITIES)}; `{parameter.name}` may be {parameter.low:g} to {parameter.high:g}"
        yield (*where, "parameter"), expected, None
