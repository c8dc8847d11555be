"""`linesight references capture`: what is in the folder and does not fit is named, and costs only itself."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from typer.testing import CliRunner

from cli.main import app
from schemas.errors import ConfigurationError
from simulation import boards, imaging


def capture(folder: Path) -> tuple[int, str, BaseException | None]:
    """Exit code, output and problem of the command on the demo's recipe; the pictures are in `folder`."""
    result = CliRunner().invoke(
        app,
        ["references", "capture", "--recipe", "board-a@1", "--view", "left", "--images", str(folder), "--json",
         "--out", str(folder.parent / "made.png")],
    )  # fmt: skip
    return result.exit_code, result.stdout, result.exception


def good_parts(folder: Path, count: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(7)
    scene = boards.draw_part(design="controller", defects=[], rng=rng)["left"].scene
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), imaging.capture(scene, rng=rng).image)


def test_a_file_that_is_no_picture_and_one_of_another_size_are_refused_by_name(tmp_path: Path) -> None:
    good_parts(tmp_path / "good", 3)
    (tmp_path / "good" / "a-note.png").write_text("no picture")
    cv2.imwrite(str(tmp_path / "good" / "small.png"), np.zeros((48, 64), np.uint8))
    code, out, _ = capture(tmp_path / "good")
    assert code == 0
    told = json.loads(out)
    assert told["pictures"] == 5
    assert told["reasons"] == {
        "a-note.png": "cannot be decoded",
        "small.png": "64x48 px, expected 640x640 px as most have",
    }
    assert (tmp_path / "made.png").exists()


def test_where_too_few_are_left_the_others_are_named(tmp_path: Path) -> None:
    good_parts(tmp_path / "good", 2)
    (tmp_path / "good" / "a-note.png").write_text("no picture")
    code, _, problem = capture(tmp_path / "good")
    assert code != 0
    assert isinstance(problem, ConfigurationError)
    assert "at least 3 pictures" in str(problem)
    assert "a-note.png: cannot be decoded" in str(problem)
    assert not (tmp_path / "made.png").exists()


def test_the_picture_of_a_cut_track_is_refused_by_name_and_where_too_few_are_left_too(tmp_path: Path) -> None:
    good_parts(tmp_path / "good", 4)
    cut = cv2.imread(str(tmp_path / "good" / "1.png"), cv2.IMREAD_GRAYSCALE)
    assert cut is not None
    cut[300:316, 300:316] = 240 - cut[300:316, 300:316]
    cv2.imwrite(str(tmp_path / "good" / "1.png"), cut)
    code, out, _ = capture(tmp_path / "good")
    assert code == 0
    reasons = json.loads(out)["reasons"]
    assert list(reasons) == ["1.png"]
    assert "differs in a place where no other picture does" in reasons["1.png"]
    (tmp_path / "good" / "0.png").unlink()
    code, _, problem = capture(tmp_path / "good")
    assert code != 0
    assert "only 2 of 3 pictures agree" in str(problem)
    assert "1.png: differs in a place where no other picture does" in str(problem)
