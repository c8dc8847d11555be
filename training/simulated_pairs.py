"""Pairs of (frame, reference) crops with known class, made from drawn boards only.

Every pair goes through the same comparison, candidates and crops as on the line. What varies from board to board is
everything that a real board could bring: artwork, tones, hard or soft edges, etching that makes conductors wider or
narrower here and there, blur, noise, light, and how well the frame was laid over its reference.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from processors.golden.alignment import Motion
from processors.golden.candidates import Candidate, find_candidates
from processors.golden.classes import CLASSIFIER_OUTPUTS, NONE
from processors.golden.crops import crop_pairs
from processors.golden.reduction import reduced
from schemas.recipes import GoldenInspection
from simulation.defects import Box, DefectKind, place, survey
from simulation.drawing import ArtworkStyle, Mask, coverage, draw_artwork
from training.local_inference import Comparison

SIZE_PX = 480
_VARIANTS_PER_ARTWORK = 3
_DEFECTS_PER_KIND = 2
_BORDER_PX = 10
_AT_REST = Motion.rigid(frame_shape=(SIZE_PX, SIZE_PX))
_NONE_PER_BOARD = 10


@dataclass(frozen=True, slots=True)
class Pairs:
    """Crops and their classes.

    Attributes:
        crops: uint8 [N, 2, CROP_PX, CROP_PX], as the classifier gets them.
        labels: int64 [N], index in CLASSIFIER_OUTPUTS.
    """

    crops: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def draw_pairs(*, artworks: int, seed: int, compare: Comparison) -> Pairs:
    """Draws `artworks` boards, several times each with other defects and another camera, and cuts out their candidates."""
    rng = np.random.default_rng(seed)
    crops: list[npt.NDArray[np.uint8]] = []
    labels: list[int] = []
    for _ in range(artworks):
        artwork = draw_artwork(_random_style(rng), size_px=SIZE_PX, rng=rng)
        ground = survey(artwork)
        for _ in range(_VARIANTS_PER_ARTWORK):
            mask = artwork.copy()
            truth: list[tuple[DefectKind, Box]] = []
            for kind in DefectKind:
                for _ in range(_DEFECTS_PER_KIND):
                    boxes = [box for _, box in truth]
                    box = place(mask, ground, kind, keep_clear=boxes, border_px=_BORDER_PX, rng=rng)
                    if box is not None:
                        truth.append((kind, box))
            found, pairs = _inspect(artwork, mask, rng, compare)
            named = [_label(candidate, truth) for candidate in found]
            nothing = [i for i, label in enumerate(named) if label == NONE]
            dropped = set(rng.permutation(nothing)[_NONE_PER_BOARD:].tolist())
            for i, label in enumerate(named):
                if label is not None and i not in dropped:
                    crops.append(pairs[i])
                    labels.append(CLASSIFIER_OUTPUTS.index(label))
    return Pairs(np.stack(crops), np.asarray(labels, np.int64))


def _random_style(rng: np.random.Generator) -> ArtworkStyle:
    track = rng.uniform(4, 16)
    gap = rng.uniform(6, 16)
    pad = rng.uniform(12, 30)
    return ArtworkStyle(
        track_px=(track, track * rng.uniform(1.0, 2.5)),
        gap_px=(gap, gap * rng.uniform(1.0, 2.0)),
        pad_px=(pad, pad * rng.uniform(1.0, 2.5)),
        pours=int(rng.integers(0, 6)),
        buses=int(rng.integers(0, 10)),
        nets=int(rng.integers(0, 16)),
        pad_rows=int(rng.integers(0, 8)),
        via_grids=int(rng.integers(0, 5)),
        dots=int(rng.integers(1, 9)),
    )


def _inspect(
    artwork: Mask, mask: Mask, rng: np.random.Generator, compare: Comparison
) -> tuple[list[Candidate], npt.NDArray[np.uint8]]:
    look = _random_look(rng)
    reference = _picture(artwork, look, rng)
    image = _picture(mask, _retaken(look, rng), rng, specks=int(rng.integers(0, 8)))
    settings = GoldenInspection(
        difference_threshold=int(rng.integers(64, 128)),
        minimum_area_px=8,
        merge_distance_px=rng.uniform(4, 12),
        max_candidates=100,
    )
    difference = compare(reduced(image), reduced(reference))
    found = find_candidates(difference, motion=_AT_REST, frame_shape=image.shape, settings=settings)
    found = [replace(candidate, box=_jittered(candidate.box, rng)) for candidate in found]
    return found, crop_pairs(image, reference, found, copper="light")


@dataclass(frozen=True, slots=True)
class _Look:
    """How copper becomes grey levels. `edge` 1 is as soft as the lens, 100 is black and white."""

    board_grey: float
    copper_grey: float
    blur_px: float
    edge: float
    rough: float
    stray_px: float
    swell: float
    noise_grey: float


def _random_look(rng: np.random.Generator) -> _Look:
    binary = rng.random() < 0.45
    contrast = 255.0 if binary and rng.random() < 0.7 else rng.uniform(50, 230)
    board = rng.uniform(0, 255 - contrast)
    return _Look(
        board_grey=board,
        copper_grey=board + contrast,
        blur_px=rng.uniform(0.5, 1.4),
        edge=100.0 if binary else rng.uniform(1.0, 3.0),
        rough=rng.uniform(0.0, 0.35) if binary or rng.random() < 0.3 else rng.uniform(0.0, 0.08),
        stray_px=rng.uniform(0.0, 1.5),
        swell=rng.uniform(-0.25, 0.25),
        noise_grey=0.0 if binary else rng.uniform(0, 0.06) * contrast,
    )


def _retaken(look: _Look, rng: np.random.Generator) -> _Look:
    """The same camera on another board: a little more or less light, blur and etching."""
    gain = rng.uniform(0.85, 1.15) if look.edge < 100.0 else 1.0
    return replace(
        look,
        board_grey=look.board_grey * gain,
        copper_grey=look.copper_grey * gain,
        blur_px=look.blur_px * rng.uniform(0.8, 1.25),
        swell=look.swell + rng.normal(0, 0.12),
    )


def _picture(mask: Mask, look: _Look, rng: np.random.Generator, *, specks: int = 0) -> npt.NDArray[np.uint8]:
    """Renders a mask: uint8 [SIZE_PX, SIZE_PX]."""
    share = coverage(mask).astype(np.float32) / 255.0
    share = cv2.GaussianBlur(share, (0, 0), look.blur_px)
    share = _strayed(share, look.stray_px, rng)
    for _ in range(specks):
        centre = (int(rng.integers(SIZE_PX)), int(rng.integers(SIZE_PX)))
        cv2.circle(share, centre, int(rng.integers(0, 2)), float(rng.random() < 0.5), -1)
    grain = _field(rng, rng.uniform(0.6, 2.0))
    share = np.clip((share + look.rough * grain + look.swell * 0.5 - 0.5) * look.edge + 0.5, 0.0, 1.0)
    grey = look.board_grey + (look.copper_grey - look.board_grey) * share
    if look.edge < 100.0:
        slope = np.linspace(-0.5, 0.5, SIZE_PX, dtype=np.float32) * rng.uniform(-0.15, 0.15)
        grey = grey * (1.0 + (slope[None, :] if rng.random() < 0.5 else slope[:, None]))
    grey = grey + look.noise_grey * rng.standard_normal(grey.shape, np.float32)
    return np.clip(np.round(grey), 0, 255).astype(np.uint8)


def _field(rng: np.random.Generator, scale_px: float) -> npt.NDArray[np.float32]:
    """float32 [SIZE_PX, SIZE_PX], noise of unit spread that is alike over `scale_px`."""
    field = cv2.GaussianBlur(rng.standard_normal((SIZE_PX, SIZE_PX), np.float32), (0, 0), scale_px)
    return np.asarray(field / max(float(field.std()), 1e-6), np.float32)


def _strayed(share: npt.NDArray[np.float32], stray_px: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Every place moved by up to about `stray_px`, neighbours alike: what alignment and etching leave behind."""
    if stray_px == 0.0:
        return share
    coarse = rng.normal(0, 0.5 * stray_px, (2, 12, 12)).astype(np.float32)
    shift = [cv2.resize(axis, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_CUBIC) for axis in coarse]
    y, x = np.mgrid[0:SIZE_PX, 0:SIZE_PX].astype(np.float32)
    return np.asarray(
        cv2.remap(share, x + shift[0], y + shift[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


def _jittered(box: Box, rng: np.random.Generator) -> Box:
    dx, dy = (int(d) for d in rng.integers(-2, 3, 2))
    return (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy)


def _label(candidate: Candidate, truth: list[tuple[DefectKind, Box]]) -> str | None:
    """The kind of the one defect that the candidate shows, `none`, or None where it cannot be said."""
    hits = [(kind, _shared_ratio(candidate.box, box)) for kind, box in truth]
    clear = [kind for kind, ratio in hits if ratio > 0.4]
    touched = [kind for kind, ratio in hits if ratio > 0.0]
    if len(clear) == 1 and len(touched) == 1:
        return clear[0].value
    return NONE if not touched else None


def _shared_ratio(a: Box, b: Box) -> float:
    """Area in both over the smaller of the two areas."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return width * height / smaller
