"""Scores a model's answers against labels: parts, places, boxes, each with a 95 % interval. No torch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from processors.learned.answers import Answer
from processors.scoring import Counts, Finding, score
from training.figures import auroc, bootstrapped, wilson
from training.labels import Sample
from training.pictures import mask_of, size_of
from training.prediction import Model, findings, mask, named_class


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One picture: the row that is written, and what the figures need.

    `classified` says that the model gives the whole picture a class and no places.
    """

    row: dict[str, Any]
    classified: bool
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
    size_px = size_of(sample)
    found = findings(answer, model.settings, size_px)
    shared = united = 0
    outlined = answer.strength is not None and any(not region.is_box for region in sample.regions or ())
    if outlined or (answer.strength is not None and sample.bad is False):
        names = sorted({region.class_name for region in sample.regions or ()})
        truth = mask_of(sample.regions or (), names, size_px[::-1], 1.0, 1.0) > 0
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
        classified=answer.strength is None,
        bad=sample.bad,
        label=sample.label,
        rejected=answer.score >= model.settings.threshold,
        located=None if scored is None else scored.located,
        by_class={} if scored is None or model.settings.family == "anomaly" else scored.by_class,
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
    scores, truth = np.array([image.row["score"] for image in told]), np.array([bool(image.bad) for image in told])
    _add(result, "image_auroc", len(told), lambda some: auroc(scores[some], truth[some]))
    if any(image.outlined for image in images):
        px = np.array([(image.shared_px, image.united_px) for image in images], np.int64)
        _add(result, "pixel_iou", len(px), lambda some: _overlap(px[some]))
    boxed = [image for image in images if image.located is not None]
    if any(image.located is not None and image.located.hits + image.located.missed for image in boxed):
        located = _counted([{"": image.located} for image in boxed if image.located is not None], [""])
        _add(result, "f1_class_agnostic", len(boxed), lambda some: _mean_f1(located[some]))
        names = sorted({name for image in boxed for name in image.by_class})
        if names:
            by_class = _counted([image.by_class for image in boxed], names)
            _add(result, "f1_class_wise_mean", len(boxed), lambda some: _mean_f1(by_class[some]))
            result["f1_by_class"] = {
                name: round(_mean_f1(by_class[:, [index]]) or 0.0, 4) for index, name in enumerate(names)
            }
    right = np.array([image.row["class"] == image.label for image in told if image.classified])
    if len(right):
        _add(result, "accuracy", len(right), lambda some: float(right[some].mean()))
    return result


def _add(
    result: dict[str, Any], name: str, count: int, figure: Callable[[npt.NDArray[np.int64]], float | None]
) -> None:
    """A figure of images, given by their indices, and its interval; nothing where it has no value."""
    value = figure(np.arange(count)) if count else None
    if value is not None:
        result[name] = {"value": value, "interval_95": bootstrapped(figure, count)}


def _share(count: int, total: int) -> float | None:
    return count / total if total else None


def _overlap(px: npt.NDArray[np.int64]) -> float | None:
    """Shared over united px of all images together, of int64 [N, 2]."""
    shared, united = px.sum(0)
    return float(shared / united) if united else None


def _counted(images: Sequence[Mapping[str, Counts]], names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Hits, false ones and missed ones, int64 [N, classes, 3]: 500 samples of many thousand images are drawn of it."""
    none = Counts()
    return np.array(
        [[(c.hits, c.false, c.missed) for c in (image.get(name, none) for name in names)] for image in images],
        np.int64,
    ).reshape(len(images), len(names), 3)


def _mean_f1(counts: npt.NDArray[np.int64]) -> float | None:
    """Mean over the classes of which there is anything, of the F1 of all their boxes together."""
    hits, false, missed = counts.sum(0).T
    total = 2 * hits + false + missed
    return float(np.mean(2 * hits[total > 0] / total[total > 0])) if np.any(total) else None
