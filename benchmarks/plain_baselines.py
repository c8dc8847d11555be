"""What somebody would try first, with OpenCV alone: the floor beside each figure of a learned model.

- HOG + linear SVM (Dalal and Triggs, CVPR 2005) from good and bad windows; HOG + one-class SVM (Schoelkopf et al., 2001) from good ones.
- Places that are darker or lighter than their surroundings, the least difference chosen on the training images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.spindle_windows import WINDOW_PX, pitted
from processors.learned.form import Picture
from training.figures import auroc
from training.picture_files import read_picture

_SURROUNDINGS_PX = 61
_NU = 0.1  # of the one-class SVM: at most this share of the good windows lies outside


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowBaselines:
    """AUROC on the test windows: learned from good and bad ones, and from good ones alone."""

    labelled: float
    good_only: float


def hog(train: Sequence[dict[str, Any]], test: Sequence[dict[str, Any]]) -> WindowBaselines:
    """Both support vector machines on the same features."""
    known, asked = _features(train), _features(test)
    bad, asked_bad = np.array([_bad(row) for row in train]), np.array([_bad(row) for row in test])
    linear = _svm()
    linear.setKernel(cv2.ml.SVM_LINEAR)
    linear.setC(0.01)
    linear.train(known, cv2.ml.ROW_SAMPLE, bad.astype(np.int32))
    one_class = _svm()
    one_class.setType(cv2.ml.SVM_ONE_CLASS)
    one_class.setKernel(cv2.ml.SVM_RBF)
    good = known[~bad]
    one_class.setGamma(1 / (good.shape[1] * float(good.var())))  # the usual width: one over the features' variance
    one_class.setNu(_NU)
    one_class.train(good, cv2.ml.ROW_SAMPLE, np.ones(len(good), np.int32))
    # which side of the linear machine is positive is the solver's choice, decided on what it learned from
    side = 1 if (auroc(_distance(linear, known), bad) or 0.5) >= 0.5 else -1
    return WindowBaselines(
        labelled=auroc(side * _distance(linear, asked), asked_bad) or 0.5,
        # outside is negative
        good_only=auroc(-_distance(one_class, asked), asked_bad) or 0.5,
    )


def threshold_overlap(train: Sequence[dict[str, Any]], test: Sequence[dict[str, Any]]) -> float:
    """Shared over united px on the test images of what differs from its surroundings."""
    sides: dict[str, npt.NDArray[np.int64]] = {}
    for name, rows in (("train", train), ("test", test)):
        counts = np.zeros((2, 2, 256), np.int64)  # darker or lighter, marked or not, by difference in grey
        for row in rows:
            grey = cv2.cvtColor(_loaded(row["image"]), cv2.COLOR_BGR2GRAY).astype(np.int16)
            marked = pitted(row, grey.shape) > 0
            around = cv2.medianBlur(grey.astype(np.uint8), _SURROUNDINGS_PX).astype(np.int16)
            for index, sign in enumerate((-1, 1)):
                difference = np.clip(sign * (grey - around), 0, 255)
                for kind in (0, 1):
                    counts[index, kind] += np.bincount(difference[marked == bool(kind)], minlength=256)
        above = counts[:, :, ::-1].cumsum(2)[:, :, ::-1]
        sides[name] = above[:, 1] / (above[:, 0] + counts[:, 1].sum(1, keepdims=True))
    best = np.unravel_index(int(np.argmax(sides["train"][:, 1:])), (2, 255))
    return float(sides["test"][best[0], best[1] + 1])


def _svm() -> Any:
    return cv2.ml.SVM_create()  # type: ignore[attr-defined]


def _distance(svm: Any, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return np.ravel(svm.predict(features, flags=cv2.ml.STAT_MODEL_RAW_OUTPUT)[1]).astype(np.float64)


def _features(rows: Sequence[dict[str, Any]]) -> npt.NDArray[np.float32]:
    descriptor = cv2.HOGDescriptor((WINDOW_PX, WINDOW_PX), (16, 16), (8, 8), (8, 8), 9)
    greys = (cv2.cvtColor(_loaded(row["image"]), cv2.COLOR_BGR2GRAY) for row in rows)
    return np.stack([np.ravel(descriptor.compute(np.asarray(grey, np.uint8))) for grey in greys])


def _loaded(path: str) -> Picture:
    picture = read_picture(Path(path))
    if picture is None:
        raise OSError(f"{path}: does not decode")
    return picture


def _bad(row: dict[str, Any]) -> bool:
    return bool(row["polygons"])
