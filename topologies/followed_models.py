"""The versions that judge parts, for pins that say `follow`: read from the topic `models`, held on Triton beside the pinned ones.

A version judges only once it is loaded, proved and warmed up here; until then, and where it cannot be, the one before it goes on. So
neither a promotion nor a version that Triton refuses costs a frame. A part keeps the version that its first frame met in this
process. What was decided while a stage was down holds from its first frame on: it waits for the registry, `LONGEST_WAIT_S` at most.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from processors.frame_checks import Assignment
from processors.learned.settings import DIGEST, FILE, SETTINGS, read_model_settings
from processors.model_registry import Registry
from processors.part_state import PartVisit
from processors.version_choice import on_trial, shadow_for, version_for, versions_needed, with_versions
from schemas.closing import close
from schemas.codec import decode
from schemas.errors import Refused
from schemas.frames import Frame
from schemas.inspections import ModelUse
from schemas.patience import patiently, wait_at_most
from schemas.plant import Plant
from schemas.recipes import ModelPin, Recipe
from schemas.records import ModelEvent
from schemas.settings import KafkaSettings
from schemas.telemetry import Noticed, Stage
from schemas.topics import MODELS
from topologies.model_control import UNKNOWN
from topologies.recipe_models import models_of
from topologies.triton import Model, ModelFailed, ModelUnusable, Triton

FETCH_MS = 500
LONGEST_WAIT_S = 15.0
"""A frame waits so long for the registry to be read, at the start."""
RETRY_S = 30.0
"""A version that Triton cannot serve is tried again so often: somebody may have mended it."""
DRAIN_S = 30.0
"""A version that judges no new part any more is kept so long for the parts that it has begun."""
KEPT_PARTS = 10_000

Key = tuple[str, int]


class FollowedModels:
    """`run` reads into `registry` and loads; `assigned` is what a frame asks. Make it inside the running loop."""

    def __init__(self, *, plant: Plant, registry: Registry, triton: Triton, stage: Stage) -> None:
        self._plant = plant
        self._triton = triton
        self._stage = stage
        self._registry = registry
        self._pinned = {
            (model.pin.name, model.pin.version): model
            for recipe in plant.recipes
            for model in models_of(recipe)
            if model.pin.follow
        }
        self._held: set[Key] = set()
        self._leaving_s: dict[Key, float] = {}
        self._told: set[Key] = set()
        self._parts: OrderedDict[tuple[PartVisit, str, int], int] = OrderedDict()
        self._read = asyncio.Event()
        self._began = asyncio.Event()
        if not self._pinned:
            self._read.set()
            self._began.set()
        self._judging = stage.gauge("model_version", "The version of a followed model that judges parts.", "model")

    @property
    def began(self) -> bool:
        """Whether the registry was read, and what it says was tried."""
        return self._began.is_set()

    async def known(self, recipe: Recipe) -> None:
        """Returns when what the registry says of a recipe's models was read, or after `LONGEST_WAIT_S`; at once where it follows none."""
        if any(model.pin.follow for model in models_of(recipe)):
            await wait_at_most(LONGEST_WAIT_S, self._read)

    def told(self, pin: ModelPin) -> Mapping[str, str]:
        """What the registry says of a version, as parameters."""
        return self._registry.told(pin)

    async def assigned(self, assignment: Assignment, frame: Frame) -> Assignment:
        """What the plant file says about a frame, with the versions that judge its part."""
        if not any(pin.follow for pin in assignment.inspection.models):
            return assignment
        if not self._began.is_set() and not await wait_at_most(LONGEST_WAIT_S, self._began):
            self._stage.emit(Noticed(what="models_not_read", subject=frame.id))
        return self._for_part(assignment, PartVisit(frame.station, frame.part_id, frame.visit))

    def instead(
        self, planned: Assignment, failed: Assignment, frame: Frame
    ) -> tuple[Assignment, tuple[ModelUse, ...]] | None:
        """For a frame that its models failed on: who judges it without versions on trial, and these; None where there were none.

        `planned` is what the plant file says, `failed` what `assigned` made of it. The part stays with who judges it now.
        """
        asked = {pin.name: pin for pin in failed.inspection.models}
        tried = [pin for pin in planned.inspection.models if on_trial(asked[pin.name], self._registry.state(pin.name))]
        if not tried:
            return None
        visit = PartVisit(frame.station, frame.part_id, frame.visit)
        for pin in tried:
            self._keep(visit, pin, self._version_of_most(pin))
        return self._for_part(planned, visit), tuple(self._use(asked[pin.name]) for pin in tried)

    def shadow(self, pin: ModelPin) -> int | None:
        """The version of a pinned model that is in shadow now; None where there is none."""
        return shadow_for(pin, self._registry.state(pin.name))

    @property
    def has_shadow(self) -> bool:
        """Whether any followed model has a version in shadow."""
        return any(self.shadow(model.pin) is not None for model in self._pinned.values())

    async def run(self, kafka: KafkaSettings) -> None:
        """Follows the topic until cancelled; waits for a broker that is away."""
        if self._pinned:
            listen = partial(self._listen, kafka)
            await patiently(listen, stage=self._stage, service="broker", away=(KafkaError, OSError))

    def take(self, event: ModelEvent) -> None:
        """The next record of the topic."""
        step = self._registry.take(event)
        if step.refused and self._began.is_set():  # what was refused long ago was told then
            self._stage.emit(Noticed(what="model_step_refused", subject=event.id, detail=step.refused))

    async def load(self, *, now_s: float) -> None:
        """Holds what the registry says, and lets go of what it has not said for a while; `now_s` is monotonic."""
        wanted = {
            (name, number): model
            for (name, _), model in self._pinned.items()
            for number in versions_needed(model.pin, self._registry.state(name))
        }
        for key, model in wanted.items():
            if not self._serves(*key):  # also where the server lost it, or a recipe that pins it was let go of
                await self._hold(key, model)
        self._let_go(self._held - wanted.keys(), now_s=now_s)
        for (name, _), model in self._pinned.items():
            self._judging.labels(name).set(self._version_of_most(model.pin))

    def _let_go(self, unwanted: set[Key], *, now_s: float) -> None:
        """Lets go of what has judged no new part for `DRAIN_S`: a frame on its way would be lost by it."""
        self._leaving_s = {key: self._leaving_s.get(key, now_s) for key in unwanted}
        for key, since_s in list(self._leaving_s.items()):
            if now_s - since_s >= DRAIN_S:
                del self._leaving_s[key]
                self._held.discard(key)
                if key not in self._all_pinned():
                    self._triton.let_go(ModelPin(name=key[0], version=key[1]))

    async def _listen(self, kafka: KafkaSettings) -> None:
        place = TopicPartition(MODELS.on(self._plant.plant), 0)
        consumer = AIOKafkaConsumer(**kafka.client(), enable_auto_commit=False, auto_offset_reset="earliest")
        try:
            await consumer.start()
            consumer.assign([place])
            await consumer.seek_to_beginning(place)
            end = (await consumer.end_offsets([place]))[place]
            tried_s = 0.0
            while True:
                records = (await consumer.getmany(place, timeout_ms=FETCH_MS)).get(place, [])
                self._take_all(records)
                now_s = asyncio.get_running_loop().time()
                if await consumer.position(place) < end:
                    continue
                self._read.set()
                if records or not self._began.is_set() or now_s - tried_s >= RETRY_S:
                    tried_s = now_s
                    await self.load(now_s=now_s)
                    self._began.set()
        finally:
            await close(consumer)

    def _take_all(self, records: Sequence[object]) -> None:
        for record in records:
            try:
                event = decode(MODELS, record.value, record.headers)  # type: ignore[attr-defined]  # aiokafka has no types
            except Refused as refused:
                self._stage.emit(Noticed(what="model_step_refused", subject="", detail=str(refused)))
                continue
            self.take(event)

    async def _hold(self, key: Key, pinned: Model) -> None:
        name, version = key
        pin = ModelPin(name=name, version=version)
        try:
            await self._triton.hold(Model(pin=pin, outputs=pinned.outputs, known=pinned.known))
            if pinned.known is None:  # one of the trained families
                self._check_settings(pin)
            await self._triton.warm_up(pin)
        except (ModelUnusable, ModelFailed) as error:
            if key not in self._told:  # it is tried again and again, and told once
                self._told.add(key)
                self._stage.emit(Noticed(what="model_unusable", subject=f"{name}/{version}", detail=str(error)))
            return
        self._told.discard(key)
        self._held.add(key)
        self._stage.log.info("model_held", model=name, version=version)

    def _check_settings(self, pin: ModelPin) -> None:
        """A trained version that does not say how its answers are read would stop the stage at its first frame. Raises ModelUnusable."""
        try:
            read_model_settings(self._triton.parameters(pin).get(SETTINGS, ""))
        except ValueError as error:
            raise ModelUnusable(
                f"{pin.name}/{pin.version}: its settings, in the configuration at the server, its record on models or its {FILE}: "
                f"{error}: release it with `linesight release`"
            ) from error

    def _for_part(self, planned: Assignment, visit: PartVisit) -> Assignment:
        inspection = with_versions(planned.inspection, partial(self._version, visit))
        if inspection is planned.inspection:
            return planned
        return dataclasses.replace(planned, view=msgspec.structs.replace(planned.view, inspection=inspection))

    def _use(self, pin: ModelPin) -> ModelUse:
        """As the registry knows it: what failed may be held no more."""
        digest = self._registry.told(pin).get(DIGEST, UNKNOWN)
        return ModelUse(model=pin.name, version=pin.version, digest=digest)

    def _version(self, visit: PartVisit, pin: ModelPin) -> int:
        """The version for a part: the one that its first frame met, while it can be asked."""
        if not pin.follow:
            return pin.version
        known = self._parts.get((visit, pin.name, pin.version))
        if known is not None and (known == pin.version or self._serves(pin.name, known)):
            return known
        return self._keep(visit, pin, self._choose(pin, f"{visit.station}/{visit.part_id}"))

    def _keep(self, visit: PartVisit, pin: ModelPin, version: int) -> int:
        self._parts[visit, pin.name, pin.version] = version
        if len(self._parts) > KEPT_PARTS:
            self._parts.popitem(last=False)
        return version

    def _choose(self, pin: ModelPin, part: str) -> int:
        return version_for(pin, self._registry.state(pin.name), part=part, serves=partial(self._serves, pin.name))

    def _version_of_most(self, pin: ModelPin) -> int:
        """The version that judges parts which are not of a canary's share."""
        state = self._registry.state(pin.name)
        known = (each for each in reversed(state.champions) if each >= pin.version)
        return next((each for each in known if each == pin.version or self._serves(pin.name, each)), pin.version)

    def _serves(self, name: str, version: int) -> bool:
        return (name, version) in self._held and self._triton.holds(ModelPin(name=name, version=version))

    def _all_pinned(self) -> set[Key]:
        return {
            (pin.name, pin.version)
            for recipe in self._plant.recipes
            for inspection in recipe.inspections
            for pin in inspection.models
        }
