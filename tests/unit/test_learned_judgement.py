"""What a trained model's answers become: the same decision as `linesight evaluate` takes, in defects that a recipe can count."""

from __future__ import annotations

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.learned.answers import Answer, Answering, AnswerUnusable, Question, questions
from processors.learned.form import Form
from processors.learned.judgement import HEAT_MAP_PX, against, heat_map, judged
from processors.learned.settings import (
    ModelSettings,
    as_recipe_says,
    read_model_settings,
    served_parameters,
)
from processors.voting import counting
from schemas.recipes import ModelPin, Recipe, SegmenterInspection, View

SETTINGS = ModelSettings(family="segmenter", classes=["spot", "line"], colour=False, scale=1.0, paired=False)
PIN = ModelPin(name="spots", version=1)
SHARES = st.floats(min_value=0.0, max_value=1.0)


def mapped(score: float, strength: np.ndarray) -> Answer:
    named = np.zeros_like(strength)
    return Answer(score=score, class_name="spot", strength=strength, named=named)


@given(score=SHARES, threshold=SHARES, box_threshold=SHARES, map_threshold=SHARES, seed=st.integers(0, 50))
def test_a_picture_has_defects_that_count_exactly_where_evaluate_calls_it_bad(
    score: float, threshold: float, box_threshold: float, map_threshold: float, seed: int
) -> None:
    settings = msgspec.structs.replace(
        SETTINGS, threshold=threshold, box_threshold=box_threshold, map_threshold=map_threshold
    )
    strength = np.random.default_rng(seed).integers(0, 256, (20, 30)).astype(np.uint8)
    strength[strength < 5 * seed] = 0
    judgement = judged(mapped(score, strength), settings, (60, 40))
    recipe = Recipe(name="r", views=(View(name="v"),), inspection=SegmenterInspection(model=PIN), classes=())
    bad = score >= threshold  # as `training.prediction.named_class` and the column `rejected` of `evaluate` decide
    assert bool(counting(judgement.defects, recipe)) is bad
    assert bool(judgement.defects) is bad
    assert (judgement.anomaly_score >= 0.5) is bad
    assert (judgement.heat_map is not None) is bad
    for defect in judgement.defects:
        x1, y1, x2, y2 = defect.box
        assert 0 <= x1 < x2 <= 60
        assert 0 <= y1 < y2 <= 40
        assert 0.5 <= defect.score <= 1


@given(score=SHARES, other=SHARES, threshold=SHARES)
def test_a_score_keeps_its_order_and_its_decision_against_any_threshold(
    score: float, other: float, threshold: float
) -> None:
    assert (against(score, threshold) >= 0.5) is (score >= threshold)
    assert 0 <= against(score, threshold) <= 1
    if score <= other:
        assert against(score, threshold) <= against(other, threshold)


def test_a_bad_picture_without_a_region_of_its_own_has_a_defect_at_its_strongest_place() -> None:
    strength = np.zeros((50, 60), np.uint8)
    strength[20:24, 30:36] = 90  # below the map's threshold of 127
    judgement = judged(mapped(0.7, strength), SETTINGS, (120, 100))
    (defect,) = judgement.defects
    assert defect.class_name == "spot"
    assert defect.box == (60, 40, 72, 48)


def test_a_classifier_gives_one_defect_with_the_whole_picture_as_its_box() -> None:
    settings = ModelSettings(
        family="classifier", classes=["good", "scratch", "stain"], colour=False, scale=1.0, paired=False, size_px=(32, 32)
    )  # fmt: skip
    answering = Answering(settings, shape=(75, 97))
    (question,) = questions(np.zeros((75, 97, 1), np.uint8), settings)
    outputs = {"score": np.array([[0.8]], np.float32), "probabilities": np.array([[0.2, 0.1, 0.7]], np.float32)}
    answering.add(question, outputs)
    judgement = judged(answering.answer(), settings, (97, 75))
    (defect,) = judgement.defects
    assert (defect.class_name, defect.box, defect.area_px) == ("stain", (0, 0, 97, 75), 97 * 75)
    assert judgement.heat_map is None


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -0.1, 1.1])
def test_a_score_that_is_no_share_is_not_taken_for_good(score: float) -> None:
    answering = Answering(SETTINGS, shape=(16, 16))
    maps = np.zeros((1, 1, 8, 8), np.uint8)
    question = Question(image=np.zeros((1, 1, 16, 16), np.uint8), height=16, width=16)
    with pytest.raises(AnswerUnusable, match="from 0 to 1"):
        answering.add(question, {"score": np.array([[score]], np.float32), "defect": maps, "class": maps})


def test_answers_of_another_shape_or_an_unknown_class_are_refused() -> None:
    question = Question(image=np.zeros((1, 1, 16, 16), np.uint8), height=16, width=16)
    score, small, maps = (
        np.array([[0.9]], np.float32),
        np.zeros((1, 1, 4, 4), np.uint8),
        np.zeros((1, 1, 8, 8), np.uint8),
    )
    with pytest.raises(AnswerUnusable, match=r"`defect` of shape \(1, 1, 8, 8\), got \(1, 1, 4, 4\)"):
        Answering(SETTINGS, shape=(16, 16)).add(question, {"score": score, "defect": small, "class": maps})
    answering = Answering(SETTINGS, shape=(16, 16))
    answering.add(question, {"score": score, "defect": maps + 9, "class": maps + 2})
    with pytest.raises(AnswerUnusable, match="expected classes 0 to 1, got 2"):
        answering.answer()


@given(width=st.integers(1, 2600), height=st.integers(1, 2600))
def test_the_tiles_of_a_picture_cover_it_and_fit_the_model(width: int, height: int) -> None:
    picture = np.zeros((height, width, 1), np.uint8)
    seen = np.zeros((height, width), bool)
    for question in questions(picture, SETTINGS):
        seen[question.top : question.top + question.height, question.left : question.left + question.width] = True
        assert question.top % 2 == question.left % 2 == 0
        assert all(side % 16 == 0 for side in question.image.shape[2:])
    assert seen.all()


@given(width=st.integers(1, 700), height=st.integers(1, 700), seed=st.integers(0, 9))
def test_a_heat_map_is_small_and_keeps_the_strongest_place(width: int, height: int, seed: int) -> None:
    strength = np.random.default_rng(seed).integers(0, 200, (height, width)).astype(np.uint8)
    y, x = height * seed // 10, width * seed // 10
    strength[y, x] = 255
    png = heat_map(strength)
    assert len(png) <= 8192
    small = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert max(small.shape) <= HEAT_MAP_PX
    assert small.max() == 255
    step = -(-max(height, width) // HEAT_MAP_PX)
    assert small[y // step, x // step] == 255


def test_grey_and_colour_pictures_become_the_same_input_where_they_show_the_same() -> None:
    grey = np.random.default_rng(1).integers(0, 256, (33, 47)).astype(np.uint8)
    coloured = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    for form in (Form(colour=False, scale=0.7, paired=True), Form(colour=True, scale=1.0, paired=True)):
        assert form.joined(grey, grey).shape[2] == form.channels
        np.testing.assert_array_equal(form.joined(grey, coloured), form.joined(coloured, grey))


def test_a_recipe_may_ask_for_other_thresholds_than_the_model_has() -> None:
    recipe = SegmenterInspection(model=PIN, threshold=0.9, box_threshold=0.4)
    said = as_recipe_says(SETTINGS, recipe)
    assert (said.threshold, said.box_threshold, said.map_threshold) == (0.9, 0.4, SETTINGS.map_threshold)
    assert as_recipe_says(SETTINGS, SegmenterInspection(model=PIN)) == SETTINGS


def test_settings_that_nobody_can_work_by_are_refused() -> None:
    for changed in ({"family": "detector"}, {"classes": []}, {"scale": 0.0}):
        text = msgspec.json.encode(msgspec.structs.replace(SETTINGS, **changed))
        with pytest.raises(ValueError, match="expected a family of"):
            read_model_settings(text)
    for changed in ({"paired": True}, {"family": "classifier"}, {"size_px": (32, 32)}):
        text = msgspec.json.encode(msgspec.structs.replace(SETTINGS, **changed))
        with pytest.raises(ValueError, match="expected `paired` of"):
            read_model_settings(text)
    with pytest.raises(ValueError, match="missing required field"):
        read_model_settings("{}")


@given(classes=st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4))
def test_settings_come_out_of_the_served_configuration_as_they_went_in(classes: list[str]) -> None:
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    settings = msgspec.structs.replace(SETTINGS, classes=classes)
    config = model_config_pb2.ModelConfig()
    text_format.Parse(served_parameters(settings, version=3, digest="sha256:12"), config)
    assert read_model_settings(config.parameters["settings/3"].string_value) == settings
    assert config.parameters["digest/3"].string_value == "sha256:12"
