"""The catalogue of pulls: what is pulled out of the floor, and when its cause has ended."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.chaos.faults import hang, kill, stage
from benchmarks.chaos.proxy import Proxy, Way
from benchmarks.chaos.scene import Course, Scene, after
from benchmarks.chaos_floor.machine import Machine
from benchmarks.chaos_floor.papers import ENDED, GOOD, Papers

STOPPED_S = 20.0
SHORTEST_S, LONGEST_S = 2.5, 7.0
"""How long what is not there again by itself stays away: shorter and longer than a request waits (2 s) and an open tries (6 s)."""
PAUSE_S = 2.0
OTHER_NAMESPACE = "urn:somebody:else"


@dataclass(kw_only=True)
class Floor(Scene):
    """The line with its machine, the cable to its PLC, and the certificates. `chance` follows from the seed."""

    machine: Machine
    cable: Proxy
    papers: Papers
    chance: random.Random

    def some_seconds(self) -> float:
        """How long this one lasts."""
        return self.chance.uniform(SHORTEST_S, LONGEST_S)

    def some_camera(self) -> str:
        """One of the station's cameras."""
        return self.chance.choice(self.demo.plant.stations[0].cameras).name


@dataclass(frozen=True, kw_only=True)
class Pull:
    """One thing that is pulled out. `kind` is its row of the table."""

    kind: str
    how: str
    course: Callable[[Floor], Course]


def _come_back(floor: Floor, *, namespace: str | None = None, certificate: str = GOOD) -> Course:
    """The machine is killed with all that lay on it and started: over when its PLC listens."""
    floor.machine.kill()
    floor.demo.truth.read_on()  # its next life begins the file anew
    yield after(floor.chance.uniform(0.0, PAUSE_S))
    floor.machine.start(namespace=namespace, certificate=certificate)
    yield floor.machine.answers


def _restart_plc(floor: Floor) -> Course:
    yield from _come_back(floor)


def _cut(*ways: Way) -> Callable[[Floor], Course]:
    """Nothing passes, connections stay open; over when the cable is whole and what was under way arrives, late."""

    def course(floor: Floor) -> Course:
        floor.cable.hold(*ways)
        yield after(floor.some_seconds())
        floor.cable.release()

    return course


def _reset(floor: Floor) -> Course:
    floor.cable.cut()
    yield after(floor.some_seconds())
    floor.cable.release()


def _our_certificate_ended(floor: Floor) -> Course:
    """The sessions are cut once: a certificate is looked at when a session opens."""
    floor.papers.show(ENDED)
    floor.cable.cut()
    floor.cable.release()
    yield after(floor.some_seconds())
    floor.papers.show(GOOD)


def _plc_certificate_ended(floor: Floor) -> Course:
    """The PLC comes back with a certificate that has ended and is not the pinned one; then with its own."""
    yield from _come_back(floor, certificate=ENDED)
    yield after(floor.some_seconds())
    yield from _come_back(floor)


def _wrong_namespace(floor: Floor) -> Course:
    yield from _come_back(floor, namespace=OTHER_NAMESPACE)
    yield after(floor.some_seconds())
    yield from _come_back(floor)


def _camera(method: str) -> Callable[[Floor], Course]:
    def course(floor: Floor) -> Course:
        seconds, camera = floor.some_seconds(), floor.some_camera()
        if not floor.machine.ask(method, camera, seconds):
            floor.missed.append(f"the machine has no camera {camera}")
        yield after(seconds)

    return course


GATEWAYS = ("plc-gateway", "station-gateway")

_WAYS: dict[str, dict[str, Callable[[Floor], Course]]] = {
    "PLC restarted": {"kill -9": _restart_plc},
    "cable cut": {
        "nothing passes": _cut(),
        "nothing passes to the PLC": _cut(Way.TO_SERVICE),
        "nothing passes from the PLC": _cut(Way.TO_CLIENTS),
        "connections reset": _reset,
    },
    "certificate expired": {"ours": _our_certificate_ended, "the PLC's": _plc_certificate_ended},
    "wrong namespace": {"after a restart": _wrong_namespace},
    "camera stalled": {"does not answer": _camera("SilenceCamera"), "gives no picture": _camera("DarkenCamera")},
    "broker gone": {"kill -9": kill(lambda scene: scene.broker_child)},
    "gateway killed": {name: kill(stage(name)) for name in GATEWAYS},
    "gateway stopped": {name: hang(stage(name), STOPPED_S) for name in GATEWAYS},
}
KINDS: dict[str, tuple[Pull, ...]] = {
    kind: tuple(Pull(kind=kind, how=how, course=course) for how, course in ways.items()) for kind, ways in _WAYS.items()
}
"""The kinds of pulls, each with its variants."""


def pulls_of(count: int, *, seed: int, kinds: tuple[str, ...] = tuple(KINDS)) -> list[Pull]:
    """`count` pulls in random order; each kind as often as every other, give or take one, and its variants in turn."""
    chance = random.Random(seed)
    order = list(kinds)
    chance.shuffle(order)
    first = {kind: chance.randrange(len(KINDS[kind])) for kind in order}
    pulls = []
    for number in range(count):
        kind = order[number % len(order)]
        variants = KINDS[kind]
        pulls.append(variants[(first[kind] + number // len(order)) % len(variants)])
    chance.shuffle(pulls)
    return pulls
