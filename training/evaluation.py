"""Scores a model's answers against labels: parts, places, boxes, each with a 95 % interval. No torch."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from processors.learned.answers import Answer
from processors.scoring import Counts, Finding, score
from training.figures import auroc, bootstrapped, wilson
from training.labels import Sample
from training.pictures import mask_of, read_picture
from training.prediction import Model, findings, mask, named_class


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One picture: the row that is written, and what the figures need."""

    row: dict[str, Any]
    bad: bool | None
    label: str | None
    rejected: bool
    located: Counts | None = None
    by_class: dict[str, Counts] = field(default_factory=dict)
    shared_px: int = 0
    united_px: int = 0
    outlined: bool = False


def judge(model: Model, samples: Iterable[Sample]) -> Iterator[Judged]:
    """One after the other, so that any number of pictures fits."""
    for sample in samples:
        yield judged(model, sample, model(sample))


def judged(model: Model, sample: Sample, answer: Answer) -> Judged:
    """Compares one answer with the sample's labels."""
    picture = read_picture(sample.image)
    if picture is None:
        raise OSError(f"{sample.image}: does not decode any more")
    size_px = picture.shape[1], picture.shape[0]
    found = findings(answer, model.settings, size_px)
    shared = united = 0
    outlined = answer.strength is not None and any(not region.is_box for region in sample.regions or ())
    if outlined or (answer.strength is not None and sample.bad is False):
        names = sorted({region.class_name for region in sample.regions or ()})
        truth = mask_of(sample.regions or (), names, picture.shape, 1.0, 1.0) > 0
        said = mask(answer, model.settings, size_px)
        shared, united = int((truth & said).sum()), int((truth | said).sum())
    scored = None
    if answer.strength is not None and sample.regions is not None:
        scored = score([(found, [region.label for region in sample.regions])])
    return Judged(
        row={
            "image": sample.name,
            "score": round(answer.score, 6),
            "class": named_class(answer, model.settings),
            "boxes": [_box(finding) for finding in found],
        },
        bad=sample.bad,
        label=sample.label,
        rejected=answer.score >= model.settings.threshold,
        located=None if scored is None else scored.located,
        by_class={} if scored is None else scored.by_class,
        shared_px=shared,
        united_px=united,
        outlined=outlined,
    )


def _box(finding: Finding) -> list[Any]:
    return [*finding.box, finding.class_name, round(finding.score, 4)]


def figures(images: Sequence[Judged]) -> dict[str, Any]:
    """What `linesight evaluate --json` prints: a figure is `{"value", "interval_95"}`, or absent where labels do not allow it."""
    told = [image for image in images if image.bad is not None]
    good, bad = [i for i in told if not i.bad], [i for i in told if i.bad]
    escapes, overkill = sum(not i.rejected for i in bad), sum(i.rejected for i in good)
    result: dict[str, Any] = {
        "images": len(images),
        "good": len(good),
        "bad": len(bad),
        "escapes": {"count": escapes, "share": _share(escapes, len(bad)), "interval_95": wilson(escapes, len(bad))},
        "overkill": {
            "count": overkill,
            "share": _share(overkill, len(good)),
            "interval_95": wilson(overkill, len(good)),
        },
    }
    _add(result, "image_auroc", told, _auroc)
    if any(image.outlined for image in images):
        _add(result, "pixel_iou", [image for image in images if image.united_px or image.outlined], pixel_iou)
    boxed = [image for image in images if image.located is not None]
    if any(image.located is not None and image.located.hits + image.located.missed for image in boxed):
        _add(result, "f1_class_agnostic", boxed, located_f1)
        _add(result, "f1_class_wise_mean", boxed, mean_f1)
        totals = _by_class(boxed)
        result["f1_by_class"] = {name: round(counts.f1, 4) for name, counts in sorted(totals.items())}
    named = [image for image in told if not image.row["boxes"] and image.located is None]
    if named:
        _add(result, "accuracy", named, lambda some: float(np.mean([i.row["class"] == i.label for i in some])))
    return result


def _add(result: dict[str, Any], name: str, images: Sequence[Judged], figure: Any) -> None:
    value = figure(images) if images else None
    if value is None:
        return

    def again(indices: npt.NDArray[np.int64]) -> float | None:
        drawn: float | None = figure([images[int(index)] for index in indices])
        return drawn

    result[name] = {"value": value, "interval_95": bootstrapped(again, len(images))}


def _share(count: int, total: int) -> float | None:
    return count / total if total else None


def _auroc(images: Sequence[Judged]) -> float | None:
    return auroc([image.row["score"] for image in images], [bool(image.bad) for image in images])


def pixel_iou(images: Sequence[Judged]) -> float | None:
    """Shared over united px of all images together."""
    united = sum(image.united_px for image in images)
    return sum(image.shared_px for image in images) / united if united else None


def located_f1(images: Sequence[Judged]) -> float:
    """F1 of all boxes together, whatever their class."""
    return sum((image.located for image in images if image.located is not None), Counts()).f1


def _by_class(images: Sequence[Judged]) -> dict[str, Counts]:
    totals: dict[str, Counts] = {}
    for image in images:
        for name, counts in image.by_class.items():
            totals[name] = totals.get(name, Counts()) + counts
    return totals


def mean_f1(images: Sequence[Judged]) -> float | None:
    """Mean over classes of their F1."""
    totals = _by_class(images)
    return sum(counts.f1 for counts in totals.values()) / len(totals) if totals else None
