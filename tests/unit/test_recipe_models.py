"""What a recipe asks of the inference server, and what its parameters say of one version."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from processors.learned.settings import ModelSettings, served_parameters
from schemas.recipes import ClassifierInspection, GoldenInspection, ModelPin, Recipe, SegmenterInspection, View
from topologies.recipe_models import models_of
from topologies.served_config import empty_input, folder_settings, parameters_of, weights_digest

SPOTS, LABELS = ModelPin(name="spots", version=2), ModelPin(name="labels", version=1)


def test_a_recipe_asks_for_the_models_of_its_views_each_once() -> None:
    recipe = Recipe(
        name="r",
        views=(
            View(name="a"),
            View(name="b", inspection=ClassifierInspection(model=LABELS)),
            View(name="c", inspection=SegmenterInspection(model=SPOTS, threshold=0.9)),
        ),
        inspection=SegmenterInspection(model=SPOTS),
        classes=(),
    )
    assert [(model.pin, model.outputs) for model in models_of(recipe)] == [
        (SPOTS, ("score", "defect", "class")),
        (LABELS, ("score", "probabilities")),
    ]
    assert recipe.inspection_of(recipe.views[1]) == ClassifierInspection(model=LABELS)


def test_the_inspection_that_no_view_takes_loads_nothing() -> None:
    views = (View(name="a", inspection=SegmenterInspection(model=SPOTS)),)
    recipe = Recipe(name="r", views=views, inspection=GoldenInspection(), classes=())
    assert [model.pin for model in models_of(recipe)] == [SPOTS]


def config(text: str) -> object:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_each_version_has_its_own_parameters_and_shares_the_others() -> None:
    settings = ModelSettings(family="segmenter", classes=["a"], colour=False, scale=1.0, paired=False)
    told = "".join(served_parameters(settings, version=version, digest=f"sha256:{version}") for version in (1, 2, 12))
    found = config(told + 'parameters { key: "intra_op_thread_count" value { string_value: "1" } }')
    for version in (1, 2, 12):
        own = parameters_of(found, ModelPin(name="m", version=version))
        assert own["digest"] == f"sha256:{version}"
        assert own["intra_op_thread_count"] == "1"
        assert set(own) == {"digest", "settings", "intra_op_thread_count"}
    assert "settings" not in parameters_of(found, ModelPin(name="m", version=3))


def test_a_model_is_tried_on_nothing_in_the_shape_that_it_asks_for() -> None:
    found = empty_input(config('input { name: "image" data_type: TYPE_UINT8 dims: [ 3, -1, -1 ] }'))
    assert {name: (array.shape, str(array.dtype)) for name, array in found.items()} == {
        "image": ((1, 3, 64, 64), "uint8")
    }


def test_the_digest_is_that_of_the_first_repository_that_has_the_version(tmp_path: Path) -> None:
    own, trained = tmp_path / "own", tmp_path / "trained"
    (trained / "spots" / "2").mkdir(parents=True)
    (trained / "spots" / "2" / "model.onnx").write_bytes(b"weights")
    assert str(weights_digest((own, trained), SPOTS)).startswith("sha256:")
    assert weights_digest((own, trained), LABELS) is None


def test_the_settings_are_those_of_the_first_folder_that_has_them(tmp_path: Path) -> None:
    own, trained = tmp_path / "own", tmp_path / "trained"
    (trained / "spots" / "2").mkdir(parents=True)
    (trained / "spots" / "2" / "model.json").write_text("{}")
    assert folder_settings((own, trained), SPOTS) == {"settings": "{}"}
    assert folder_settings((own, trained), LABELS) == {}
