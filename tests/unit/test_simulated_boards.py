"""Defects drawn into good boards: what the label file says is what was drawn, in black and white and in photographs."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from schemas.errors import ConfigurationError
from simulation.defects import DefectKind
from simulation.drawing import ArtworkStyle, coverage, draw_artwork
from training.labels import Sample, read_samples
from training.pictures import Picture
from training.simulated_boards import draw_boards, drawn_into

SIDE_PX = 256


def board(seed: int, *, copper_grey: int = 0, board_grey: int = 255) -> Picture:
    style = ArtworkStyle(
        track_px=(7, 12), gap_px=(9, 14), pad_px=(16, 26), pours=2, buses=5, nets=8, pad_rows=3, via_grids=1, dots=4
    )
    share = coverage(draw_artwork(style, size_px=SIDE_PX, rng=np.random.default_rng(seed))).astype(float) / 255
    grey = np.round(board_grey + (copper_grey - board_grey) * np.round(share)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def good(folder: Path, count: int) -> list[Sample]:
    samples = []
    for index in range(count):
        path = folder / f"board-{index}.png"
        cv2.imwrite(str(path), board(index))
        samples.append(
            Sample(line=index, name=path.name, image=path, reference=None, group=f"g{index}", regions=(), label="good")
        )
    return samples


@pytest.mark.parametrize(("copper", "copper_grey", "board_grey"), [("dark", 0, 255), ("light", 190, 60)])
def test_every_labelled_box_holds_a_change_of_its_kind(copper: str, copper_grey: int, board_grey: int) -> None:
    """A short, spur or spurious copper brings copper; an open, mousebite or pin-hole takes it away."""
    adds = {DefectKind.SHORT.value, DefectKind.SPUR.value, DefectKind.COPPER.value}
    seen: set[str] = set()
    for seed in range(12):
        before = board(seed, copper_grey=copper_grey, board_grey=board_grey)
        drawn = drawn_into(before, copper=copper, generator=np.random.default_rng(seed))
        towards_copper = np.sign(copper_grey - board_grey) * (drawn.picture.astype(int) - before).mean(2)
        for x1, y1, x2, y2, kind in drawn.boxes:
            assert 0 <= x1 < x2 <= SIDE_PX
            assert 0 <= y1 < y2 <= SIDE_PX
            inside = towards_copper[y1 + 8 : y2 - 8, x1 + 8 : x2 - 8]
            strongest = inside.ravel()[np.abs(inside).argmax()]
            assert abs(strongest) > 0.4 * abs(copper_grey - board_grey)
            assert (inside.sum() > 0) == (kind in adds), kind
            seen.add(kind)
    assert len(seen) >= 5


def test_a_black_and_white_board_stays_one_and_a_good_one_is_among_many() -> None:
    drawn = [drawn_into(board(3), copper="dark", generator=np.random.default_rng(seed)) for seed in range(40)]
    assert {int(value) for one in drawn for value in np.unique(one.picture)} == {0, 255}
    assert 0 < sum(not one.boxes for one in drawn) < 20


def test_the_label_file_is_read_as_any_other_and_drawn_once(tmp_path: Path) -> None:
    labels = draw_boards(good(tmp_path, 3), tmp_path / "drawn", copper="dark", until=time.monotonic(), seed=1)
    samples = read_samples(labels)
    assert len(samples) == 20
    assert {sample.group for sample in samples} == {"g0", "g1", "g2"}
    assert all(sample.reference is not None and sample.regions is not None for sample in samples)
    written = labels.read_bytes()
    assert draw_boards([], tmp_path / "drawn", copper="dark", until=0.0, seed=2) == labels
    assert labels.read_bytes() == written
    again = draw_boards(good(tmp_path, 3), tmp_path / "again", copper="dark", until=time.monotonic(), seed=1)
    assert again.read_bytes() == written


def test_a_mistake_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected one of dark, light, got 'copper'"):
        draw_boards(good(tmp_path, 1), tmp_path / "a", copper="copper", until=0.0, seed=1)
    with pytest.raises(ConfigurationError, match="no picture is of a good board"):
        draw_boards([], tmp_path / "b", copper="dark", until=0.0, seed=1)
    cv2.imwrite(str(tmp_path / "board-0.png"), np.full((80, 80, 3), 200, np.uint8))
    empty = [Sample(line=1, name="x", image=tmp_path / "board-0.png", reference=None, group="", regions=(), label=None)]
    with pytest.raises(ConfigurationError, match="no board has room"):
        draw_boards(empty, tmp_path / "c", copper="dark", until=0.0, seed=1)
