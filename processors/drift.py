"""When a model should learn again: the scores of good parts have moved, their pictures have, the share of bad ones has over several
batches, or people disagree with the line too often.

Verdicts are all it needs: a revision 1 carries the score of every view and how its camera saw, and each review of a person comes back as
a higher revision. Only parts that the line called OK count for scores and pictures, so that a bad batch is no drift. The model named is
the one of the recipe's inspection that learns: the classifier behind a golden comparison, which itself has no weights, or the trained
model. Views with an inspection of their own count for it too.

At most one request per model in `minimum_interval_ms`, and `most_per_30_days`, whatever the cause and the station; what came before the
last one is not used as evidence again. Time is that of the verdict's record, so a replay comes to the same result.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from dataclasses import replace
from typing import Generic, TypeVar

from processors.disagreement import Disagreement
from processors.part_state import PartVisit
from processors.score_shift import Score, ScoreShift
from processors.verdict_mix import VerdictMix
from schemas.alerts import DriftEvidence, RetrainingTrigger
from schemas.inspections import ModelUse
from schemas.message import NS_PER_MS
from schemas.plant import Plant, RetrainingSettings
from schemas.reasons import FrameOutcome, VerdictValue
from schemas.verdicts import Verdict

KEPT_PARTS = 100_000
KEPT_STREAMS = 1_000
BUDGET_NS = 30 * 24 * 3_600_000 * NS_PER_MS
SCORE_SHIFT = "score_shift"
IMAGE_SHIFT = "image_shift"
IMAGE_FIGURES = ("level_ratio", "sharpness_ratio")
"""Of `Imaging`: brightness, and sharpness with contrast, beside the view's reference."""
VERDICT_MIX = "verdict_mix"
REVIEWS = "reviews"

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class LastTriggers:
    """When each model was last asked to learn again, over all stations."""

    def __init__(self, *, settings: RetrainingSettings) -> None:
        self._settings = settings
        self._interval_ns = settings.minimum_interval_ms * NS_PER_MS
        self._fired_at_ns: dict[str, int] = {}
        self._spent: dict[str, deque[int]] = {}

    def note(self, trigger: RetrainingTrigger) -> None:
        """A request was made, by us or by somebody else; noting it twice changes nothing."""
        self._fired_at_ns[trigger.model] = trigger.fired_at_ns
        spent = self._spent.setdefault(trigger.model, deque(maxlen=self._settings.most_per_30_days))
        if trigger.fired_at_ns not in spent:
            spent.append(trigger.fired_at_ns)

    def spent_until_ns(self, model: str, at_ns: int) -> int:
        """Evidence up to this moment has been used; 0 where there is none such."""
        fired_at_ns = self._fired_at_ns.get(model, 0)
        return fired_at_ns if fired_at_ns <= at_ns else 0

    def allow(self, model: str, at_ns: int) -> bool:
        """Whether the interval has passed and the budget is not spent - either way: a request that bears the time of a wrong clock must not
        silence for years."""
        spent = self._spent.get(model, ())
        if sum(abs(at_ns - fired_at_ns) < BUDGET_NS for fired_at_ns in spent) >= self._settings.most_per_30_days:
            return False
        return model not in self._fired_at_ns or abs(at_ns - self._fired_at_ns[model]) >= self._interval_ns


class DriftWatch:
    """The verdicts of one partition, in order. Bounded: of older parts the line's verdict is forgotten (`line_verdict`)."""

    def __init__(self, *, plant: Plant, last: LastTriggers) -> None:
        self._plant = plant
        self._last = last
        self._line_verdicts: _Newest[PartVisit, VerdictValue] = _Newest(KEPT_PARTS)
        self._shifts: _Newest[tuple[str, tuple[ModelUse, ...]], ScoreShift] = _Newest(KEPT_STREAMS)
        self._images: _Newest[tuple[str, str, tuple[ModelUse, ...]], ScoreShift] = _Newest(KEPT_STREAMS)
        self._mixes: _Newest[tuple[str, str, tuple[ModelUse, ...]], VerdictMix] = _Newest(KEPT_STREAMS)
        self._disagreements: _Newest[tuple[str, str], Disagreement] = _Newest(KEPT_STREAMS)

    def line_verdict(self, visit: PartVisit) -> VerdictValue | None:
        """What the line itself said of a part (revision 1), where it is remembered."""
        return self._line_verdicts.get(visit)

    def recall(self, verdict: Verdict, *, at_ns: int, line: VerdictValue | None = None) -> bool:
        """Takes note of a verdict without asking for anything; False where it says nothing new about a model.

        `line` is what the line said of a reviewed part that is not remembered.
        """
        if verdict.challenge:
            return False  # made to be bad: no sample of what the line makes
        if verdict.revision > 1:
            return self._reviewed(verdict, at_ns, line)
        visit = _visit(verdict)
        if self.line_verdict(visit) is not None:
            return False  # written twice
        self._line_verdicts.put(visit, verdict.verdict)
        self._mix(verdict).add(verdict, at_ns=at_ns)
        if verdict.verdict is VerdictValue.OK:
            self._scored(verdict, at_ns)
        return True

    def take(self, verdict: Verdict, *, at_ns: int, line: VerdictValue | None = None) -> RetrainingTrigger | None:
        """Takes the next verdict; returns the request that is due now. It counts as made only by `LastTriggers.note`."""
        if not self.recall(verdict, at_ns=at_ns, line=line):
            return None
        model = self._model(verdict)
        if model is None or not self._last.allow(model, at_ns):
            return None
        since_ns = self._last.spent_until_ns(model, at_ns)
        if verdict.revision > 1:
            evidence = self._disagreement(verdict.station, model).evidence(since_ns=since_ns)
            return _trigger(verdict, model, REVIEWS, at_ns, evidence, recipe="")
        for cause, shift in self._watched(verdict):
            if moved := shift.evidence(since_ns=since_ns):
                return _trigger(verdict, model, cause, at_ns, moved, recipe=shift.recipe)
        mix = self._mix(verdict)
        if self._disagreement(verdict.station, model).confirms(since_ns=mix.moved_since_ns):
            return None  # the process changed, and people have seen it
        evidence = mix.evidence(since_ns=since_ns)
        return _trigger(verdict, model, VERDICT_MIX, at_ns, evidence, recipe=verdict.recipe)

    def _scored(self, verdict: Verdict, at_ns: int) -> None:
        for view in verdict.views:
            if view.inspection is None or view.outcome != FrameOutcome.INSPECTED:
                continue
            seen = Score(
                recipe=verdict.recipe,
                view=view.view,
                inspection=view.inspection,
                value=view.anomaly_score,
                at_ns=at_ns,
            )
            self._shift(verdict).add(seen)
            if view.imaging is not None:
                for figure in IMAGE_FIGURES:
                    self._image(verdict, figure).add(replace(seen, value=getattr(view.imaging, figure)))

    def _watched(self, verdict: Verdict) -> Iterator[tuple[str, ScoreShift]]:
        """What a good part may show: the scores first, for they say what the pictures mean to the model."""
        if verdict.verdict is VerdictValue.OK:
            yield SCORE_SHIFT, self._shift(verdict)
            for figure in IMAGE_FIGURES:
                yield IMAGE_SHIFT, self._image(verdict, figure)

    def _reviewed(self, verdict: Verdict, at_ns: int, line: VerdictValue | None) -> bool:
        visit, model = _visit(verdict), self._model(verdict)
        said = self.line_verdict(visit) or line
        if said is None or model is None:
            return False
        return self._disagreement(verdict.station, model).add(verdict, line=said, at_ns=at_ns)

    def _shift(self, verdict: Verdict) -> ScoreShift:
        """A new version of a model scores differently: it begins with baselines of its own."""
        key = (verdict.station, verdict.models)
        return self._shifts.get(key) or self._shifts.put(key, ScoreShift(settings=self._plant.retraining))

    def _image(self, verdict: Verdict, figure: str) -> ScoreShift:
        """What a model learned on is what it saw: its next version begins with baselines of its own here, too."""
        key = (verdict.station, figure, verdict.models)
        return self._images.get(key) or self._images.put(
            key, ScoreShift(settings=self._plant.retraining, statistic=f"{figure}_ks_distance")
        )

    def _mix(self, verdict: Verdict) -> VerdictMix:
        """Products differ in how many parts are bad: each recipe has its own."""
        key = (verdict.station, verdict.recipe, verdict.models)
        return self._mixes.get(key) or self._mixes.put(key, VerdictMix(settings=self._plant.retraining))

    def _disagreement(self, station: str, model: str) -> Disagreement:
        key = (station, model)
        return self._disagreements.get(key) or self._disagreements.put(
            key, Disagreement(settings=self._plant.retraining)
        )

    def _model(self, verdict: Verdict) -> str | None:
        recipe = self._plant.recipe(verdict.recipe)
        return recipe.inspection.learner.name if recipe else None


class _Newest(Generic[Key, Value]):
    """The `limit` entries that were used last."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: Key, value: Value) -> Value:
        self._entries[key] = value
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)
        return value


def _trigger(
    verdict: Verdict, model: str, cause: str, at_ns: int, evidence: DriftEvidence | None, *, recipe: str
) -> RetrainingTrigger | None:
    if evidence is None:
        return None
    return RetrainingTrigger(
        id=f"{model}/{cause}/{at_ns}",
        model=model,
        cause=cause,
        station=verdict.station,
        fired_at_ns=at_ns,
        evidence=(evidence,),
        recipe=recipe,
    )


def _visit(verdict: Verdict) -> PartVisit:
    return PartVisit(verdict.station, verdict.part_id, verdict.visit)
