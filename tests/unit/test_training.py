"""What is committed is what the training code makes: shape, size, digest, and the same answers in torch and ONNX."""

import hashlib

import msgspec
import numpy as np
import pytest

from processors.golden.classes import CLASSIFIER_OUTPUTS, NONE
from processors.golden.crops import CROP_PX
from training.local_inference import DEFECT_CLASSIFIER, Classification, Comparison, open_model
from training.model_card import ModelCard
from training.simulated_pairs import Pairs, draw_pairs


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return draw_pairs(artworks=6, seed=99, compare=Comparison())


def test_the_card_belongs_to_the_committed_weights() -> None:
    weights = DEFECT_CLASSIFIER.read_bytes()
    card = msgspec.json.decode((DEFECT_CLASSIFIER.parent.parent / "card.json").read_bytes(), type=ModelCard)
    assert card.digest == "sha256:" + hashlib.sha256(weights).hexdigest()
    assert card.size_bytes == len(weights) < 1_000_000
    assert card.outputs["probabilities"].endswith(", ".join(CLASSIFIER_OUTPUTS))


def test_the_served_tensors_are_the_ones_in_the_configuration() -> None:
    session = open_model(DEFECT_CLASSIFIER)
    (crops,), (probabilities,) = session.get_inputs(), session.get_outputs()
    assert (crops.name, crops.type, crops.shape[1:]) == ("crops", "tensor(uint8)", [2, CROP_PX, CROP_PX])
    assert (probabilities.name, probabilities.shape[1:]) == ("probabilities", [len(CLASSIFIER_OUTPUTS)])
    configuration = (DEFECT_CLASSIFIER.parent.parent / "config.pbtxt").read_text()
    assert f"dims: [ 2, {CROP_PX}, {CROP_PX} ]" in configuration
    assert f"dims: [ {len(CLASSIFIER_OUTPUTS)} ]" in configuration


def test_the_same_seed_draws_the_same_crops(pairs: Pairs) -> None:
    again = draw_pairs(artworks=6, seed=99, compare=Comparison())
    assert np.array_equal(pairs.crops, again.crops)
    assert np.array_equal(pairs.labels, again.labels)


def test_every_class_is_drawn(pairs: Pairs) -> None:
    assert set(pairs.labels.tolist()) == set(range(len(CLASSIFIER_OUTPUTS)))


def test_the_committed_classifier_names_boards_it_never_saw(pairs: Pairs) -> None:
    named = Classification()(pairs.crops).argmax(1)
    assert np.mean(named == pairs.labels) > 0.93


def test_each_crop_is_judged_for_itself(pairs: Pairs) -> None:
    classify = Classification()
    together = classify(pairs.crops[:9])
    alone = np.concatenate([classify(crop[None]) for crop in pairs.crops[:9]])
    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(together.sum(1), 1.0, atol=1e-5)


@pytest.mark.parametrize("gain", [0.6, 1.3])
def test_exposure_does_not_change_the_class(pairs: Pairs, gain: float) -> None:
    defects = pairs.crops[pairs.labels != CLASSIFIER_OUTPUTS.index(NONE)]
    defects = defects[defects.max((1, 2, 3)) * gain <= 255]
    relit = np.round(defects * gain).astype(np.uint8)
    same = Classification()(relit).argmax(1) == Classification()(defects).argmax(1)
    assert len(same) > 30
    assert same.mean() > 0.97


def test_torch_and_onnx_answer_alike(pairs: Pairs) -> None:
    torch = pytest.importorskip("torch", reason="torch comes with the `train` extra")
    from training.defect_classifier import PARITY_TOLERANCE, export, parity
    from training.defect_network import DefectNetwork

    torch.manual_seed(1)
    network = DefectNetwork()
    network.train()
    network(torch.from_numpy(pairs.crops[:64]))  # moves the running means of the normalisation off their start
    assert parity(network, export(network), pairs.crops[:64]) <= PARITY_TOLERANCE
