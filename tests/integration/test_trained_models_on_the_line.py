"""Trained models judge parts on a real broker and a real Triton: as `linesight evaluate` does, each view by the model that is its own."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from board_frames import frame
from broker import publish, read_to_end, read_until
from inspecting import inspecting
from small_models import class_model, noisy_grey, spot_model

from ops.local.places import CHECKOUT
from ops.local.triton import LocalTriton
from processors.learned.judgement import against
from processors.learned.settings import ModelSettings, as_recipe_says
from schemas.errors import ConfigurationError
from schemas.frames import Frame, ImageEncoding
from schemas.inspections import Inspection
from schemas.plant import Camera, ExternalSource, Line, Plant, Station
from schemas.reasons import FrameOutcome
from schemas.recipes import (
    AnomalyInspection,
    ClassifierInspection,
    DefectClass,
    ModelPin,
    PairSegmenterInspection,
    Recipe,
    SegmenterInspection,
    View,
    ViewInspection,
)
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import DEAD_LETTERS, FRAMES, INSPECTIONS
from topologies.inspect_stage import run
from topologies.topic_admin import ensure_topics
from training.evaluation import judged
from training.labels import Sample
from training.prediction import Model
from training.settings import read_settings

VIEWS = tuple(f"view-{number:02}" for number in range(22))
SIZE_PX = (97, 75)


def pinned(name: str) -> ModelPin:
    return ModelPin(name=name, version=1)


def settings(family: str, *classes: str, **changes: object) -> ModelSettings:
    base = ModelSettings(
        family=family, classes=list(classes), colour=False, scale=1.0, paired=family == "pair_segmenter"
    )
    return msgspec.structs.replace(base, **changes)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder per model, as `linesight train` writes them."""
    folder = tmp_path_factory.mktemp("models")
    spot_model(folder / "bright", settings("segmenter", "bright"), level=200)
    spot_model(folder / "dark", settings("segmenter", "dark"), level=60, dark=True)
    spot_model(folder / "small", settings("segmenter", "bright", scale=0.5, box_share=0.6, threshold=0.7), level=170)
    spot_model(folder / "coloured", settings("segmenter", "bright", colour=True), level=190)
    spot_model(folder / "pairs", settings("pair_segmenter", "more"), level=180)
    spot_model(folder / "alone", settings("anomaly", "anomaly", map_threshold=0.9), level=150)
    spot_model(folder / "beside", settings("anomaly", "anomaly", paired=True), level=180)
    bare = spot_model(folder / "bare", settings("segmenter", "bright"), level=200) / "config.pbtxt"
    bare.write_text(bare.read_text().partition("parameters")[0])
    class_model(folder / "named", settings("classifier", "good", "bright", "odd", size_px=(48, 32)))
    return folder


@pytest.fixture(scope="module")
def server(triton_installed: None, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serves Linesight's own models and, from a second repository, the trained ones."""
    run_dir = tmp_path_factory.mktemp("triton")
    with LocalTriton(run_dir, CHECKOUT / "triton_models", models=(), trained=repository) as triton:
        yield triton.url


@pytest.fixture
def kafka_settings(
    kafka: str, server: str, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> KafkaSettings:
    monkeypatch.setenv("OBJECT_STORE_URL", str(tmp_path / "objects"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("TRITON_URL", server)
    monkeypatch.setenv("TRITON_TRAINED_MODELS", str(repository))
    return KafkaSettings(bootstrap_servers=kafka)


def recipe(name: str, inspection: ViewInspection, *views: View) -> Recipe:
    return Recipe(name=name, views=views, inspection=inspection, classes=(DefectClass(name="bright"),))


def plant_of(name: str, *recipes: Recipe) -> Plant:
    views = tuple(dict.fromkeys(view.name for each in recipes for view in each.views))
    # pictures of tests have noise, but repeat
    camera = Camera(name="camera", views=views, source=ExternalSource(), repeats="allow")
    station = Station(name="aoi-1", cameras=(camera,))
    return Plant(plant=name, lines=(Line(name="line-1", stations=(station,)),), recipes=recipes)


def taken(picture: np.ndarray, *, sequence: int, recipe: Recipe, view: str, part: str = "part") -> Frame:
    """As the camera would send it: PNG, so that every px arrives."""
    content = cv2.imencode(".png", picture)[1].tobytes()
    return frame(
        content, sequence=sequence, camera="camera", view=view, recipe=recipe.key, part_id=part, encoding=ImageEncoding.PNG
    )  # fmt: skip


def spotted(picture: np.ndarray, level: int, *places: tuple[int, int], side_px: int = 10) -> np.ndarray:
    found = picture.copy()
    for x, y in places:
        found[y : y + side_px, x : x + side_px] = level
    return found


FAMILIES: list[tuple[str, ViewInspection]] = [
    ("bright", SegmenterInspection(model=pinned("bright"))),
    ("small", SegmenterInspection(model=pinned("small"))),
    (
        "small with the recipe's thresholds",
        SegmenterInspection(model=pinned("small"), threshold=0.3, map_threshold=0.2),
    ),
    ("coloured", SegmenterInspection(model=pinned("coloured"))),
    ("pairs", PairSegmenterInspection(model=pinned("pairs"), minimum_alignment_quality=0)),
    ("alone", AnomalyInspection(model=pinned("alone"))),
    ("beside", AnomalyInspection(model=pinned("beside"), minimum_alignment_quality=0)),
    ("named", ClassifierInspection(model=pinned("named"))),
]


def pictures_of(seed: int) -> list[np.ndarray]:
    """Good and bad ones, grey and in colour, faint and strong defects, and one that is seen in tiles."""
    plain = noisy_grey(seed, size_px=SIZE_PX)
    large = noisy_grey(seed, size_px=(1500, 1100))
    return [
        plain,
        spotted(plain, 240, (10, 12), (60, 40)),
        spotted(plain, 165, (30, 30)),
        cv2.cvtColor(spotted(plain, 250, (70, 8)), cv2.COLOR_GRAY2BGR),
        noisy_grey(seed, size_px=SIZE_PX, level=190),
        spotted(large, 230, (1000, 700), (1440, 1060), side_px=30),
    ]


@pytest.mark.parametrize("inspection", [each for _, each in FAMILIES], ids=[name for name, _ in FAMILIES])
async def test_the_line_says_what_evaluate_says(
    inspection: ViewInspection,
    kafka_settings: KafkaSettings,
    repository: Path,
    unique_prefix: str,
    tmp_path: Path,
) -> None:
    shown = pictures_of(7)
    references: dict[tuple[int, ...], str] = {}
    views, samples = [], []
    for number, picture in enumerate(shown):
        reference = references.setdefault(picture.shape[:2], f"reference-{len(references)}.png")
        clean = noisy_grey(7, size_px=(picture.shape[1], picture.shape[0]))
        cv2.imwrite(str(tmp_path / reference), clean)
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
        views.append(View(name=f"view-{number}", reference=reference))
        samples.append(
            Sample(
                line=number, name=f"{number}.png", image=tmp_path / f"{number}.png", reference=tmp_path / reference,
                group="", regions=None, label=None,
            )
        )  # fmt: skip
    judged_by = recipe("r", inspection, *views)
    plant = plant_of(unique_prefix, judged_by)
    frames = [
        taken(picture, sequence=number, recipe=judged_by, view=f"view-{number}") for number, picture in enumerate(shown)
    ]
    await ensure_topics(plant, kafka=kafka_settings, topics=(FRAMES, INSPECTIONS, DEAD_LETTERS))
    await publish(kafka_settings, plant, FRAMES, [(each.camera, each) for each in frames])
    async with inspecting(plant, plant_dir=tmp_path):
        found = await read_until(kafka_settings, plant, INSPECTIONS, len(frames))
    assert [(each.outcome, each.detail) for each in found] == [(FrameOutcome.INSPECTED, "")] * len(frames)

    folder = repository / inspection.models[0].name
    own = as_recipe_says(read_settings(folder), inspection)  # type: ignore[arg-type]  # none of them is golden
    model = Model(folder / "1" / "model.onnx", own)
    bad = 0
    for sample, inspected in zip(samples, found, strict=True):
        row = judged(model, sample, model(sample)).row
        assert inspected.anomaly_score == pytest.approx(against(row["score"], own.threshold), abs=1e-5)
        if row["class"] == "good":
            assert (inspected.defects, inspected.heat_map) == ((), None)
            continue
        bad += 1
        said = {(*defect.box, defect.class_name) for defect in inspected.defects}
        whole = (0, 0, inspected.width_px, inspected.height_px, row["class"])
        told = {tuple(box[:5]) for box in row["boxes"]} or ({whole} if own.size_px else said)
        assert said == told
        assert (inspected.heat_map is None) is bool(own.size_px)
    assert 0 < bad < len(shown), "pictures on both sides of the model's threshold"
    digest = "sha256:" + hashlib.sha256((folder / "1" / "model.onnx").read_bytes()).hexdigest()
    assert {(use.model, use.version, use.digest) for each in found for use in each.models} == {(folder.name, 1, digest)}
    assert all((each.reference is not None) is own.paired for each in found)
    assert all((each.imaging is not None) is own.paired for each in found)


async def test_a_part_of_22_views_in_two_variants_is_judged_by_its_variants_model(
    kafka_settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    """In random order; two views have a model of their own, whatever the variant."""
    views = tuple(
        View(name=name, inspection=ClassifierInspection(model=pinned("named")) if number in (3, 17) else None)
        for number, name in enumerate(VIEWS)
    )
    variants = {
        "bright": recipe("variant-a", SegmenterInspection(model=pinned("bright")), *views),
        "dark": recipe("variant-b", SegmenterInspection(model=pinned("dark")), *views),
    }
    plant = plant_of(unique_prefix, *variants.values())
    random.seed(3)
    frames: list[Frame] = []
    wanted: dict[str, tuple[str, list[str]]] = {}  # by picture: model, classes
    for part in range(8):
        kind = random.choice(list(variants))
        for number, view in enumerate(VIEWS):
            # a bright and a dark spot on every fifth view: each variant's model sees one of them alone
            picture = noisy_grey(100 * part + number, size_px=(80, 64))
            if (part + number) % 5 == 0:
                picture = spotted(spotted(picture, 250, (10, 10)), 5, (50, 40))
            model = "named" if number in (3, 17) else kind
            classes = [kind] if (part + number) % 5 == 0 and model == kind else []
            each = taken(picture, sequence=len(frames), recipe=variants[kind], view=view, part=f"part-{part}")
            frames.append(each)
            wanted[each.sha256] = (model, classes)
    random.shuffle(frames)
    frames = [  # numbered anew, as a camera would number them
        msgspec.structs.replace(each, sequence=number, id=f"camera/s1/{number}") for number, each in enumerate(frames)
    ]
    await ensure_topics(plant, kafka=kafka_settings, topics=(FRAMES, INSPECTIONS, DEAD_LETTERS))
    await publish(kafka_settings, plant, FRAMES, [(each.camera, each) for each in frames])
    async with inspecting(plant, plant_dir=tmp_path):
        found: list[Inspection] = await read_until(kafka_settings, plant, INSPECTIONS, len(frames))
    assert len(found) == len(wanted) == 8 * 22
    for inspection in found:
        model, classes = wanted[inspection.image_sha256]
        assert inspection.outcome is FrameOutcome.INSPECTED
        assert [use.model for use in inspection.models] == [model]
        assert [defect.class_name for defect in inspection.defects] == classes


async def test_a_model_that_is_not_what_the_recipe_says_stops_the_stage_with_what_to_do(
    kafka_settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    wrong = [
        (AnomalyInspection(model=pinned("bright")), r"bright version 1 is a segmenter: write `type: segmenter`"),
        (SegmenterInspection(model=pinned("bare")), r"no parameter `settings/1`: serve a folder"),
        (ClassifierInspection(model=pinned("bright")), r"gives score, defect, class, and not probabilities: pin a model"),
        (SegmenterInspection(model=ModelPin(name="bright", version=4)), r"not version 4"),
    ]  # fmt: skip
    for inspection, told in wrong:
        plant = plant_of(unique_prefix, recipe("r", inspection, View(name="view")))
        await ensure_topics(plant, kafka=kafka_settings, topics=(FRAMES, INSPECTIONS, DEAD_LETTERS))
        with pytest.raises(ConfigurationError, match=told):
            await asyncio.wait_for(run(plant, plant_dir=tmp_path, stage=Stage("inspect"), stop=asyncio.Event()), 60)


async def test_a_part_that_lies_off_is_compared_where_it_lies_and_one_that_is_none_is_not_judged(
    kafka_settings: KafkaSettings, unique_prefix: str, tmp_path: Path
) -> None:
    """The reference is laid under the frame: only what is new on the part differs, in px of the frame."""
    reference = np.full((240, 320), 60, np.uint8)
    for x in range(20, 300, 40):
        cv2.rectangle(reference, (x, 20), (x + 14, 220), 140, -1)
        cv2.circle(reference, (x + 20, 30 + x // 2), 7, 100, -1)
    reference = cv2.GaussianBlur(reference, (5, 5), 0)
    moved = cv2.warpAffine(
        reference, np.float32([[1, 0, 4.0], [0, 1, -3.0]]), (320, 240), borderMode=cv2.BORDER_REPLICATE
    )
    cv2.imwrite(str(tmp_path / "good.png"), reference)
    judged_by = recipe("r", PairSegmenterInspection(model=pinned("pairs")), View(name="view", reference="good.png"))
    plant = plant_of(unique_prefix, judged_by)
    shown = [moved, spotted(moved, 250, (200, 100), side_px=12), noisy_grey(1, size_px=(320, 240)), reference[:200]]
    frames = [taken(picture, sequence=number, recipe=judged_by, view="view") for number, picture in enumerate(shown)]
    await ensure_topics(plant, kafka=kafka_settings, topics=(FRAMES, INSPECTIONS, DEAD_LETTERS))
    await publish(kafka_settings, plant, FRAMES, [(each.camera, each) for each in frames])
    async with inspecting(plant, plant_dir=tmp_path):
        good, bad, other, small = await read_until(kafka_settings, plant, INSPECTIONS, len(frames))
    letters = await read_to_end(kafka_settings, plant, DEAD_LETTERS)
    assert [each.reason for each in (good, bad, other, small)] == [None, None, "not_aligned", "size_mismatch"]
    assert [letter.reason for letter in letters] == ["not_aligned", "size_mismatch"]
    assert good.defects == ()
    assert good.imaging is not None
    assert good.imaging.shift_px == pytest.approx(5.0, abs=0.3)
    (defect,) = bad.defects
    assert max(abs(a - b) for a, b in zip(defect.box, (200, 100, 212, 112), strict=True)) <= 2
