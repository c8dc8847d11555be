"""What a fault may touch, and the clockwork that lets faults take their course beside a line that runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.proxy import Proxy
from cli.demo_run import DemoRun
from ops.local.children import Child
from ops.local.kafka import LocalKafka

Condition = Callable[[], bool]
Course = Iterator[Condition]
"""A fault in steps: it does something, yields what it waits for, and is over when it ends."""


@dataclass(kw_only=True)
class Scene:
    """A line that runs, and what stands around it. `missed`: faults that did not take place, and what shows it."""

    demo: DemoRun
    run_dir: Path
    proxy: Proxy | None = None
    broker: LocalKafka | None = None
    notes: dict[str, object] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)

    @property
    def broker_child(self) -> Child:
        """The broker's process, ours or the line's."""
        kafka = self.broker or self.demo.line.kafka
        if not isinstance(kafka, LocalKafka):
            raise RuntimeError("the broker is somebody else's: unset KAFKA_BOOTSTRAP_SERVERS")
        return kafka.child


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault. Two faults with the same `target` do not fit together.

    `workers`: processes of a stage that it needs. `returns`: what comes back at its end, for the floor of the first verdict.
    `upgrades`: the next version has to have inspected something.
    """

    name: str
    target: str
    course: Callable[[Scene], Course]
    lasts_s: float = 0.0
    workers: Mapping[str, int] = field(default_factory=dict)
    returns: str | None = None
    needs_proxy: bool = False
    needs_small_disk: bool = False
    kills_plc: bool = False
    upgrades: bool = False


@dataclass(kw_only=True)
class UnderWay:
    """A fault that has begun: when, and when it was over (monotonic seconds)."""

    fault: Fault
    course: Course
    began_s: float
    waits_for: Condition
    over_s: float | None = None

    @staticmethod
    def begin(fault: Fault, scene: Scene) -> UnderWay:
        """Begins it now."""
        began_s = time.monotonic()
        course = fault.course(scene)
        begun = UnderWay(fault=fault, course=course, began_s=began_s, waits_for=lambda: True)
        begun.look()
        return begun

    def look(self) -> None:
        """Goes on where what it waits for is so; call it often."""
        while self.over_s is None and self.waits_for():
            try:
                self.waits_for = next(self.course)
            except StopIteration:
                self.over_s = time.monotonic()


def after(seconds: float) -> Condition:
    """True from `seconds` from now on."""
    at_s = time.monotonic() + seconds
    return lambda: time.monotonic() >= at_s
