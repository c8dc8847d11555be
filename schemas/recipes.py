"""What a plant file may say about a product: its views, how they are inspected, and when a part is not OK."""

from __future__ import annotations

from typing import Literal

from schemas.reasons import FailSafe
from schemas.section import Section


class ModelPin(Section, frozen=True, kw_only=True):
    """A model of the Triton repository, pinned to a version.

    With `follow` the pinned version is the lowest one: versions above it judge parts as the topic `models` says, once they are promoted
    (`linesight models`), and a canary judges its share of them.
    """

    name: str
    version: int
    follow: bool = False


CopperTone = Literal["light", "dark"]
"""How copper looks beside the bare board. The classifier needs to know: an open is a short in the negative."""


class GoldenInspection(Section, tag_field="type", tag="golden", frozen=True, kw_only=True):
    """Compare each view with its reference image, then classify what differs.

    `copper` is the tone of the copper in the picture. `difference_threshold` is a level of
    the difference map, 1 to 255: 255 is a change as large as the reference's contrast. Differences closer than
    `merge_distance_px` are one candidate; one of fewer than `minimum_area_px` differing px is none. `box_margin_px` is added
    to each side of a found box. Candidates less likely a defect than `minimum_score` are dropped; of more than
    `max_candidates` the largest are kept. A part further off than `max_shift_px` or `max_angle_deg`, or a frame that shows less
    of its reference than `minimum_alignment_quality` (0 to 1), is not judged (`not_aligned`). Nor is one without a defect that
    counts, but with a larger share of its area (0 to 1) than `max_unexplained_ratio` in differences that the classifier takes for
    no defect (`unexplained_difference`): half a picture, a hand, another part.
    """

    compare: ModelPin = ModelPin(name="golden_compare", version=2)
    classifier: ModelPin = ModelPin(name="defect_classifier", version=1)
    copper: CopperTone = "light"
    difference_threshold: int = 90
    minimum_area_px: float = 12.0
    merge_distance_px: float = 10.0
    box_margin_px: int = 2
    minimum_score: float = 0.5
    max_candidates: int = 64
    max_shift_px: float = 8.0
    max_angle_deg: float = 1.5
    minimum_alignment_quality: float = 0.5
    max_unexplained_ratio: float = 0.01

    @property
    def models(self) -> tuple[ModelPin, ...]:
        """Every model that it takes."""
        return self.compare, self.classifier

    @property
    def learner(self) -> ModelPin:
        """The model that is trained again when scores drift: comparison itself has nothing to learn."""
        return self.classifier


class TrainedInspection(Section, frozen=True, kw_only=True):
    """A trained model looks at the view. What a threshold here says takes the place of the model's own; null leaves that.

    `threshold` is the score (0 to 1) from which the picture is bad.
    """

    model: ModelPin
    threshold: float | None = None

    @property
    def models(self) -> tuple[ModelPin, ...]:
        """Every model that it takes."""
        return (self.model,)

    @property
    def learner(self) -> ModelPin:
        """The model that is trained again when scores drift."""
        return self.model


class ClassifierInspection(TrainedInspection, tag_field="type", tag="classifier", frozen=True, kw_only=True):
    """Which class the whole picture is of: one defect, or none."""


class SegmenterInspection(TrainedInspection, tag_field="type", tag="segmenter", frozen=True, kw_only=True):
    """Where and what, without a reference.

    `map_threshold` is the strength (0 to 1) from which a place belongs to a defect, `box_threshold` the score from which a
    found region is one.
    """

    map_threshold: float | None = None
    box_threshold: float | None = None


class PairSegmenterInspection(SegmenterInspection, tag_field="type", tag="pair_segmenter", frozen=True, kw_only=True):
    """Where and what, beside the view's reference image, which is aligned with the frame first.

    A part further off than `max_shift_px` or `max_angle_deg`, or a frame that shows less of its reference than
    `minimum_alignment_quality` (0 to 1), is not judged (`not_aligned`).
    """

    max_shift_px: float = 8.0
    max_angle_deg: float = 1.5
    minimum_alignment_quality: float = 0.5


class AnomalyInspection(PairSegmenterInspection, tag_field="type", tag="anomaly", frozen=True, kw_only=True):
    """How unusual, and where. Beside the view's reference image where the model was trained with references, else without."""


LearnedInspection = PairSegmenterInspection | SegmenterInspection | AnomalyInspection | ClassifierInspection
ViewInspection = GoldenInspection | LearnedInspection


class View(Section, frozen=True, kw_only=True):
    """One picture that a part needs. `reference` is a file beside the plant file; without it every frame brings its own digest.

    `tolerance` is a map of how much good parts differ from that reference, made with it by `linesight references capture`;
    frames that bring a reference of their own are compared without it.

    `inspection` takes the place of the recipe's for this view alone: a model per view.
    """

    name: str
    reference: str | None = None
    tolerance: str | None = None
    required: bool = True
    inspection: ViewInspection | None = None


class DefectClass(Section, frozen=True, kw_only=True):
    """When a defect of this class counts. `minimum_score` is a probability; `minimum_area_px` in px of the original frame."""

    name: str
    minimum_score: float = 0.5
    minimum_area_px: float = 0.0


class AnyDefect(Section, tag_field="type", tag="any_defect", frozen=True, kw_only=True):
    """NOT_OK when at least one defect counts."""


class KOfN(Section, tag_field="type", tag="k_of_n", frozen=True, kw_only=True):
    """NOT_OK when at least `k` of the inspected views have a defect that counts."""

    k: int


class ScoreSum(Section, tag_field="type", tag="score_sum", frozen=True, kw_only=True):
    """NOT_OK when the scores of the defects that count add up to at least `threshold`."""

    threshold: float


Voting = AnyDefect | KOfN | ScoreSum

Overload = Literal["inspect_all", "newest_first"]
"""What is done with frames once the line outruns inference for longer than a deadline."""


class Recipe(Section, frozen=True, kw_only=True):
    """What to inspect for one product. Named `name@revision` in messages.

    `deadline_ms` counts from the part's arrival (the broker's time); null sets none. `fail_safe` is what the plant does
    with a part that could not be decided.

    `overload` says what happens to frames that come too late to be inspected in time. `inspect_all`: they are inspected in
    their order all the same, for the record. `newest_first`: they are deferred, so that the newest keep their deadline, and
    the backfill stage inspects them later; needs a `deadline_ms`. Either way their parts are NOT_DECIDABLE.
    """

    name: str
    views: tuple[View, ...]
    inspection: ViewInspection
    classes: tuple[DefectClass, ...]
    revision: int = 1
    voting: Voting = AnyDefect()
    deadline_ms: int | None = 1000
    fail_safe: FailSafe = FailSafe.REJECT
    overload: Overload = "inspect_all"
    opportunities_per_part: int = 1

    @property
    def key(self) -> str:
        """`name@revision`, as frames, arrivals and verdicts carry it."""
        return f"{self.name}@{self.revision}"

    def inspection_of(self, view: View) -> ViewInspection:
        """How one of its views is inspected."""
        return view.inspection or self.inspection

    @property
    def inspections(self) -> tuple[ViewInspection, ...]:
        """How its views are inspected, each kind once, in the order of the views."""
        return tuple(dict.fromkeys(self.inspection_of(view) for view in self.views))

    @property
    def required_views(self) -> tuple[str, ...]:
        """Names of the views without which there is no OK."""
        return tuple(view.name for view in self.views if view.required)
