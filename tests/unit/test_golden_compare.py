"""The comparison graph sees what changed and nothing else."""

import hashlib
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.golden.reduction import reduced
from processors.golden.tolerance import difference
from simulation.boards import reference
from training.golden_compare import MODEL, VERSION, build
from training.local_inference import Comparison, open_model

Compare = Callable[[np.ndarray, np.ndarray], np.ndarray]
GRAPH = Comparison()


@pytest.fixture(scope="module")
def compare() -> Compare:
    """The model on pictures at full size, as the line uses it."""
    model = Comparison()
    return lambda frame, golden: model(reduced(frame), reduced(golden))


@pytest.fixture(scope="module")
def board() -> np.ndarray:
    return reference("controller", "centre")


def test_the_committed_model_is_the_one_the_code_builds() -> None:
    committed = (MODEL / str(VERSION) / "model.onnx").read_bytes()
    assert committed == build().SerializeToString()
    card = msgspec.json.decode((MODEL / "card.json").read_bytes())
    assert card["digest"] == "sha256:" + hashlib.sha256(committed).hexdigest()


def test_a_frame_equal_to_its_reference_has_no_difference(compare: Compare, board: np.ndarray) -> None:
    assert compare(board, board).max() == 0


@pytest.mark.parametrize("gain", [0.7, 0.9, 1.2])
def test_light_is_no_difference(compare: Compare, board: np.ndarray, gain: float) -> None:
    slope = 1 + 0.12 * np.linspace(-0.5, 0.5, 640)[None, :]
    lit = np.clip(board * gain * slope, 0, 255).astype(np.uint8)
    assert compare(lit, board).max() < 30


def test_an_edge_within_the_tolerance_is_no_difference(compare: Compare, board: np.ndarray) -> None:
    moved = np.roll(board, 1, axis=1)
    assert compare(moved, board)[:, 4:-4].max() < 60
    far = np.roll(board, 5, axis=1)
    assert compare(far, board)[:, 4:-4].max() > 150


@pytest.mark.parametrize(("on_board", "on_copper"), [(178, 178), (62, 62)], ids=["added", "lost"])
def test_a_fine_line_is_seen_when_added_and_when_lost(compare: Compare, on_board: int, on_copper: int) -> None:
    ground = 62 if on_board == 178 else 178
    plain = np.full((640, 640), ground, np.uint8)
    plain[600:, :] = 240 - ground  # the reference needs both tones
    lined = plain.copy()
    lined[100:300, 200:203] = on_copper
    for frame, golden in ((lined, plain), (plain, lined)):
        difference = compare(frame, golden)
        assert difference[60:140, 99:103].max() > 120
        assert difference[:40].max() < 10


def test_each_frame_of_a_batch_is_compared_with_its_own_reference(compare: Compare, board: np.ndarray) -> None:
    other = reference("power", "left")
    session = open_model(MODEL / str(VERSION) / "model.onnx")
    frames = np.stack([reduced(board), reduced(board)])[:, None]
    references = np.stack([reduced(board), reduced(other)])[:, None]
    (together,) = session.run(["difference"], {"image": frames, "reference": references})
    assert np.array_equal(together[0, 0], compare(board, board))
    assert np.array_equal(together[1, 0], compare(board, other))
    assert together[1].max() == 255


@pytest.mark.parametrize("shape", [(64, 64), (333, 641), (1080, 1920)])
def test_any_size_is_compared(compare: Compare, shape: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    difference = compare(frame, frame)
    assert difference.shape == (shape[0] // 2, shape[1] // 2)
    assert difference.max() == 0


def test_black_frames_do_not_divide_by_nothing(compare: Compare) -> None:
    black = np.zeros((640, 640), np.uint8)
    assert compare(black, black).max() == 0


PICTURES = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@given(
    seeded=PICTURES,
    height=st.integers(32, 150),
    width=st.integers(32, 150),
    gain=st.floats(0.3, 1.5),
    patches=st.integers(0, 6),
)
@settings(max_examples=60, deadline=None)
def test_what_processors_recompute_is_what_the_graph_says(
    seeded: np.random.Generator, height: int, width: int, gain: float, patches: int
) -> None:
    """A tolerance map is subtracted from the graph's difference: both have to be in the same levels, at every size and light."""
    golden = np.kron(seeded.integers(20, 230, (1 + height // 7, 1 + width // 7)), np.ones((7, 7)))[:height, :width]
    slope = gain * (1 + 0.3 * np.linspace(-0.5, 0.5, width)[None, :])
    picture = golden * slope + seeded.normal(0, 4, golden.shape)
    for _ in range(patches):
        top, left = seeded.integers(0, height), seeded.integers(0, width)
        picture[top : top + 9, left : left + 9] = seeded.integers(0, 256)
    picture, golden = (np.clip(each, 0, 255).astype(np.uint8) for each in (picture, golden))
    graph, ours = GRAPH(picture, golden).astype(int), difference(picture, golden).astype(int)
    assert np.abs(graph - ours).max() <= 1, "rounding alone"
