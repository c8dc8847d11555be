"""What one verdict adds to a window's sums, and sums that can be added to and taken from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from processors.picture_values import AnyMeasuredView, Measured, PictureChart, measured, measured_views
from schemas.reasons import VerdictValue
from schemas.statistics import PaneCounts
from schemas.verdicts import CountedVerdict, CountedView, Verdict, ViewResult

AnyVerdict = Verdict | CountedVerdict
AnyView = ViewResult | CountedView


class Contribution(NamedTuple):
    """One part on one visit, as it counts. `defects_by_class` are pairs of class and number, sorted."""

    verdict: VerdictValue
    first_visit: bool
    opportunities: int
    defects_by_class: tuple[tuple[str, int], ...]

    @staticmethod
    def of(verdict: AnyVerdict, *, opportunities: int) -> Contribution:
        """What `verdict` adds; `opportunities` is how many its recipe gives a part (schemas.recipes.Recipe)."""
        return Contribution(
            verdict=verdict.verdict,
            first_visit=verdict.visit == 1,
            opportunities=opportunities,
            defects_by_class=_defects_by_class(verdict.views),
        )

    @staticmethod
    def of_camera(verdict: AnyVerdict, views: Sequence[AnyView]) -> Contribution:
        """What one camera's `views` of the part add: NOT_OK where they have a defect, NOT_DECIDABLE where one is missing or dropped.

        A recipe states opportunities for a whole part: a camera has none.
        """
        value = VerdictValue.OK
        if any(view.outcome != "inspected" for view in views):
            value = VerdictValue.NOT_DECIDABLE
        if any(view.defects for view in views):
            value = VerdictValue.NOT_OK
        return Contribution(
            verdict=value,
            first_visit=verdict.visit == 1,
            opportunities=0,
            defects_by_class=_defects_by_class(views),
        )


def _defects_by_class(views: Sequence[AnyView]) -> tuple[tuple[str, int], ...]:
    for view in views:
        if view.defects:
            break
    else:
        return ()  # most parts
    classes = Counter(defect.class_name for view in views for defect in view.defects)
    return tuple(sorted(classes.items()))


class Share(NamedTuple):
    """What a part adds to the figures of one `level` of `by`; both empty: to those of all parts. `values` are those of the charts of
    measurements of that level."""

    by: str
    level: str
    counts: Contribution
    values: Measured = ()


ChartsBy = Mapping[str, Sequence[PictureChart]]
"""Charts of measurements from pictures by what they tell parts apart by; under the empty name those of all parts."""
NO_CHARTS: ChartsBy = {}


def shares(
    verdict: AnyVerdict, *, by: Sequence[str], opportunities: int, shift: str = "", charts: ChartsBy = NO_CHARTS
) -> list[Share]:
    """Everything that a verdict adds to. A part without a label, or with an empty one, is in no level of it. `shift` is that in which the
    part arrived; a label of that name goes before it."""
    whole = Contribution.of(verdict, opportunities=opportunities)
    views = measured_views(verdict) if charts else ()
    found = [Share("", "", whole, measured(views, charts.get("", ())))]
    for name in by:
        wanted = charts.get(name, ())
        if name == "camera":
            found += (_with_values(share, views, wanted) for share in camera_shares(verdict))
            continue
        match name:
            case "recipe":
                level = verdict.recipe
            case "batch":
                level = verdict.batch
            case "shift":
                level = verdict.labels.get(name, shift)
            case _:
                level = verdict.labels.get(name, "")
        if level:
            found.append(Share(name, level, whole, measured(views, wanted)))
    return found


def _with_values(share: Share, views: Sequence[AnyMeasuredView], wanted: Sequence[PictureChart]) -> Share:
    """The share of a camera, with what was measured on its own views."""
    return share._replace(values=measured([view for view in views if view.camera == share.level], wanted))


def camera_shares(verdict: AnyVerdict) -> Iterator[Share]:
    """What each camera's views of the part add to that camera's figures."""
    by_camera: dict[str, list[AnyView]] = {}
    for view in verdict.views:
        if view.camera:
            by_camera.setdefault(view.camera, []).append(view)
    for camera, views in by_camera.items():
        yield Share("camera", camera, Contribution.of_camera(verdict, views))


@dataclass(slots=True)
class Sums:
    """Sums of one window. Adding and taking the same contribution leaves them as they were."""

    parts: int = 0
    ok: int = 0
    not_ok: int = 0
    not_decidable: int = 0
    units: int = 0
    first_pass_ok: int = 0
    opportunities: int = 0
    defects_by_class: Counter[str] = field(default_factory=Counter)

    def add(self, part: Contribution, *, times: int = 1) -> None:
        """Counts a part in, or as many alike as `times` says."""
        self._change(part, times)

    def take(self, part: Contribution) -> None:
        """Counts a part out again."""
        self._change(part, -1)

    def _change(self, part: Contribution, sign: int) -> None:
        value, first_visit, opportunities, defects_by_class = part
        self.parts += sign
        self.opportunities += sign * opportunities
        if first_visit:
            self.units += sign
        if value is VerdictValue.OK:
            self.ok += sign
            if first_visit:
                self.first_pass_ok += sign
        elif value is VerdictValue.NOT_OK:
            self.not_ok += sign
        else:
            self.not_decidable += sign
        for class_name, number in defects_by_class:
            self.defects_by_class[class_name] += sign * number

    def counts(self) -> PaneCounts:
        """The sums as a message carries them; classes without a defect are left out."""
        return PaneCounts(
            parts=self.parts,
            ok=self.ok,
            not_ok=self.not_ok,
            not_decidable=self.not_decidable,
            units=self.units,
            first_pass_ok=self.first_pass_ok,
            defects=self.defects_by_class.total(),
            opportunities=self.opportunities,
            defects_by_class={name: n for name, n in sorted(self.defects_by_class.items()) if n},
        )


def added(counts: list[PaneCounts]) -> PaneCounts:
    """The sum of panes."""
    classes: Counter[str] = Counter()
    for pane in counts:
        classes.update(pane.defects_by_class)
    return PaneCounts(
        parts=sum(pane.parts for pane in counts),
        ok=sum(pane.ok for pane in counts),
        not_ok=sum(pane.not_ok for pane in counts),
        not_decidable=sum(pane.not_decidable for pane in counts),
        units=sum(pane.units for pane in counts),
        first_pass_ok=sum(pane.first_pass_ok for pane in counts),
        defects=sum(pane.defects for pane in counts),
        opportunities=sum(pane.opportunities for pane in counts),
        defects_by_class=dict(sorted(classes.items())),
    )
