"""Recipes that can be inspected at once: models loaded, proved and warmed up, references in memory. Loaded on demand, and let go of.

            wanted (selected, a frame waits, announced, kept)             loaded, and nothing is missing
    COLD  ---------------------------------------------------->  LOADING  ------------------------------>  WARM
     ^                                                             |  ^                                     |
     |                          a model cannot be loaded, or a     v  |  again after a pause, or when       |
     |                          reference is not there           LACKING  it is asked for once more         |
     +-------- neither wanted here nor kept by another process any more, or the server lost a model --------+

What is needed at once is loaded side by side, the rest one after the other (`processors.recipe_keeping` decides). A recipe that cannot be
loaded costs its own frames, and TriggerReady while it is selected; the others go on (docs/decisions/0021).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from processors.recipe_keeping import RecipeKeeping
from schemas.errors import ConfigurationError, Refused
from schemas.patience import pause_s, wait_at_most
from schemas.readiness import RecipeStatus
from schemas.reasons import RefusalReason
from schemas.recipes import Recipe
from schemas.telemetry import Noticed, Stage
from topologies.background import Background
from topologies.recipe_wishes import SILENT_AFTER_S, RecipeWishes
from topologies.triton import Model, ModelFailed, ModelUnusable, Triton

LOADS_AT_ONCE = 3
"""Of recipes that are needed at once. What a PLC has selected need not wait for as many others."""
LOOK_EVERY_S = 1.0
RETRY_S = 2.0
LONGEST_RETRY_S = 30.0
"""Of a model that cannot be loaded; a reference is looked for every `RETRY_S`."""
LONGEST_WAIT_S = 30.0
"""A frame waits so long for its recipe, besides the time for which Triton is away: those behind it wait with it."""

LONGEST_REASON = 300
"""Of what is told on `readiness` and to a PLC; the log has all of it."""

ModelsOf = Callable[[Recipe], Sequence[Model]]
MissingReference = Callable[[Recipe, bool], Awaitable[str]]
"""Loads a recipe's references, those of one that is needed at once though others have to make room; says which is not there, "" where
all are."""


@dataclass(slots=True, kw_only=True)
class _State:
    """`lacks`: why the recipe is not warm, or only in part. `unusable`: the last attempt ended with a model that cannot be loaded."""

    recipe: Recipe
    models: Sequence[Model]
    loaded: bool = False
    loading: bool = False
    lacks: str = ""
    unusable: ModelUnusable | None = None
    settled: bool = False
    tries: int = 0
    retry_at_s: float = 0.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def warm(self) -> bool:
        return self.loaded and not self.lacks

    def has_changed(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class WarmRecipes:
    """One process's recipes on one Triton. `run` does the work; `use` is what a frame asks.

    `serves_plcs`: a PLC reads why a recipe lacks something. Where none does, a model that cannot be loaded at the start is an error of
    configuration; so it is everywhere where no recipe can be loaded. `tells`: parts wait for this process, so
    that what it lacks holds up TriggerReady; one that does not tell loads what its frames need, and nothing else.
    """

    def __init__(
        self,
        *,
        recipes: tuple[Recipe, ...],
        keeping: RecipeKeeping,
        wishes: RecipeWishes,
        triton: Triton,
        models_of: ModelsOf,
        missing_reference: MissingReference,
        stage: Stage,
        serves_plcs: bool,
        tells: bool,
    ) -> None:
        self._states = {recipe.key: _State(recipe=recipe, models=models_of(recipe)) for recipe in recipes}
        self._keeping = keeping
        self._wishes = wishes
        self._triton = triton
        self._missing_reference = missing_reference
        self._stage = stage
        self._serves_plcs = serves_plcs
        self._tells = tells
        self._loads = Background()
        self._look = asyncio.Event()
        self._began = False
        self._alone_from_s = time.monotonic() + SILENT_AFTER_S  # before, others may not have been heard
        # on the server may lie what a former life of inspect loaded
        left_over = self._states.values() if tells else ()
        self._to_unload = {model.pin.name: model.pin for state in left_over for model in state.models}
        self._warm_shown = stage.gauge("recipe_warm", "1 where a recipe is loaded and warmed up.", "recipe")
        self._load_time = stage.histogram("recipe_load_seconds", "From the begin of a recipe's load until it is warm.")

    @property
    def began(self) -> bool:
        """Whether everything that is wanted was tried once, or what PLCs have selected: from now on frames do not wait for the start."""
        return self._began

    def look(self) -> None:
        """Something may have changed."""
        self._look.set()

    async def run(self) -> None:
        """Loads and lets go until cancelled. Raises ModelUnusable as the class says."""
        try:
            while True:
                self._look.clear()
                now_s = time.monotonic()
                self._take_wishes(now_s)
                self._notice_lost()
                self._start_loads(now_s)
                self._make_room(now_s)
                self._unload(now_s)
                self._tell(now_s)
                self._check_start()
                self._loads.check()
                await wait_at_most(LOOK_EVERY_S, self._look)
        finally:
            await self._loads.cancel()

    @asynccontextmanager
    async def use(self, recipe: str, *, until_s: float | None) -> AsyncIterator[None]:
        """Waits until the recipe's models are there, and keeps them there meanwhile. `until_s`: monotonic, then the frame goes on without.

        Raises Refused `recipe_lacking` where they cannot be loaded, or took too long. A recipe that is not known is passed over.
        """
        state = self._states.get(recipe)
        if state is None:
            yield
            return
        self._keeping.begin(recipe, now_s=time.monotonic())
        try:
            await self._until_loaded(state, until_s)
            yield
        finally:
            self._keeping.end(recipe, now_s=time.monotonic())

    async def _until_loaded(self, state: _State, until_s: float | None) -> None:
        waited_s = 0.0
        while not self._can_be_asked(state):
            now_s = time.monotonic()
            if until_s is not None and now_s >= until_s:
                return
            if (state.unusable is not None and not state.loading) or waited_s >= LONGEST_WAIT_S:
                raise Refused(RefusalReason.RECIPE_LACKING, f"{state.recipe.key}: {state.lacks or 'being loaded'}")
            self.look()
            await wait_at_most(LOOK_EVERY_S if until_s is None else min(LOOK_EVERY_S, until_s - now_s), state.changed)
            if self._triton.ready:
                waited_s += time.monotonic() - now_s

    def _take_wishes(self, now_s: float) -> None:
        if not self._tells:
            return
        before = self._keeping.selected
        self._keeping.wish(
            selected=self._wishes.selected(now_s=now_s), coming=self._wishes.coming(now_s=now_s), now_s=now_s
        )
        for key in self._keeping.selected:
            if key not in before:  # somebody may have mended it
                self._states[key].retry_at_s = 0.0

    # --- loading -----------------------------------------------------------------------------------------------------

    def _start_loads(self, now_s: float) -> None:
        needed = self._keeping.needed(now_s=now_s)
        due = [self._states[key] for key in self._keeping.wanted(now_s=now_s) if self._is_due(self._states[key], now_s)]
        under_way = sum(state.loading for state in self._states.values())
        for state in due:
            key = state.recipe.key
            room = 2 * LOADS_AT_ONCE if key in self._keeping.selected else LOADS_AT_ONCE if key in needed else 1
            if under_way < room:
                under_way += 1
                state.loading = True
                self._loads.spawn(self._load(state, needed=key in needed))

    def _is_due(self, state: _State, now_s: float) -> bool:
        return not (state.warm or state.loading) and now_s >= state.retry_at_s

    async def _load(self, state: _State, *, needed: bool) -> None:
        began_s = time.monotonic()
        try:
            await self._hold(state.models)
            missing = await self._missing_reference(state.recipe, needed)  # a trained model says whether it needs one
            if not state.loaded:
                for model in state.models:
                    await self._triton.warm_up(model.pin)
        except (ConfigurationError, ModelFailed) as error:
            self._failed(state, str(error), ModelUnusable(str(error)))
        else:
            state.loaded, state.unusable = True, None
            if missing:
                self._failed(state, missing, None)
            else:
                state.lacks, state.tries = "", 0
                self._load_time.observe(time.monotonic() - began_s)
        finally:
            state.loading = False
            state.settled = True
            state.has_changed()
            self.look()

    async def _hold(self, models: Sequence[Model]) -> None:
        """All of them side by side; raises when the last has ended, so that none is left to itself."""
        for ended in await asyncio.gather(*map(self._triton.hold, models), return_exceptions=True):
            if ended is not None:
                raise ended

    def _failed(self, state: _State, lacks: str, error: ModelUnusable | None) -> None:
        if error is not None and str(error) != str(state.unusable):  # it is tried again and again, and told once
            self._stage.emit(Noticed(what="recipe_lacking", subject=state.recipe.key, detail=lacks))
        state.lacks, state.unusable = " ".join(lacks.split())[:LONGEST_REASON], error
        state.tries = state.tries + 1 if error is not None else 1
        state.retry_at_s = time.monotonic() + pause_s(state.tries, first_s=RETRY_S, longest_s=LONGEST_RETRY_S)

    def _check_start(self) -> None:
        """Whether the start is over. What nobody will mend while the stage runs ends it."""
        now_s = time.monotonic()
        wanted = [self._states[key] for key in self._keeping.wanted(now_s=now_s)]
        selected = [self._states[key] for key in self._keeping.selected]
        if self._began or not (_all_settled(wanted) or (selected and _all_settled(selected))):
            return
        failed = [state.unusable for state in wanted if state.unusable is not None]
        if failed and (not self._serves_plcs or len(failed) == len(wanted)):
            raise failed[0]
        self._began = True

    # --- letting go --------------------------------------------------------------------------------------------------

    def _notice_lost(self) -> None:
        """A model that could not be brought back after the server was away: its recipes are loaded anew, or lack it."""
        for state in self._states.values():
            state.loaded = self._can_be_asked(state)

    def _can_be_asked(self, state: _State) -> bool:
        return state.loaded and all(self._triton.holds(model.pin) for model in state.models)

    def _make_room(self, now_s: float) -> None:
        wanted = frozenset(self._keeping.wanted(now_s=now_s))
        for key, state in self._states.items():
            if key in wanted or state.loading or not (state.loaded or state.unusable):
                continue
            state.loaded, state.lacks, state.unusable, state.tries, state.retry_at_s = False, "", None, 0, 0.0
            here = self._keys(other for other in self._states.values() if other.loaded or other.loading)
            for model in state.models:
                if model.key not in here:
                    self._triton.let_go(model.pin)
                    self._to_unload[model.pin.name] = model.pin
            self._stage.emit(Noticed(what="recipe_let_go", subject=key))

    def _unload(self, now_s: float) -> None:
        """Has the server take out what nobody keeps: neither this process, nor another one as it says."""
        if now_s < self._alone_from_s or not self._triton.ready or self._wishes.someone_keeps_all(now_s=now_s):
            return
        wanted = [self._states[key] for key in self._keeping.wanted(now_s=now_s)]
        here = self._keys([*wanted, *(state for state in self._states.values() if state.loaded or state.loading)])
        elsewhere = self._keys(self._states[key] for key in self._wishes.kept(now_s=now_s) & self._states.keys())
        kept = {name for name, _ in here | elsewhere}
        for name in self._to_unload.keys() - kept:
            self._loads.spawn(self._triton.unload(self._to_unload.pop(name)))

    def _keys(self, states: Iterable[_State]) -> set[tuple[str, int]]:
        return {model.key for state in states for model in state.models}

    # --- telling -----------------------------------------------------------------------------------------------------

    def _tell(self, now_s: float) -> None:
        wanted = self._keeping.wanted(now_s=now_s)
        warm = tuple(sorted(key for key, state in self._states.items() if state.warm))
        reasons = {key: self._states[key].lacks or "being loaded" for key in wanted if not self._states[key].warm}
        self._stage.recipes = RecipeStatus(
            warm=warm,
            lacking=tuple(sorted(self._states.keys() - set(warm))) if self._tells else (),
            reasons=reasons,
        )
        for key in self._states:
            self._warm_shown.labels(key).set(key in warm)


def _all_settled(states: list[_State]) -> bool:
    return all(state.settled for state in states)
