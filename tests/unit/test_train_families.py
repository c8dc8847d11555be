"""Each family learns a trivial defect, survives a kill and a loss that is no number, and refuses what it cannot learn.

Needs torch (`make setup-train`); skipped by name without it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is in the train extra (make setup-train)")

from schemas.errors import ConfigurationError, StageFailed  # noqa: E402  # after the skip
from training.checkpoints import load_checkpoint, save_checkpoint  # noqa: E402
from training.crops import Crops  # noqa: E402
from training.evaluation import figures, judge  # noqa: E402
from training.export import parity  # noqa: E402
from training.labels import read_samples  # noqa: E402
from training.loop import train  # noqa: E402
from training.pictures import Form  # noqa: E402
from training.prediction import Model  # noqa: E402
from training.resized import Resized  # noqa: E402
from training.settings import read_settings  # noqa: E402
from training.splits import split  # noqa: E402
from training.train import train_model  # noqa: E402

BUDGET_S = 30.0


def drawn(
    folder: Path,
    count: int,
    *,
    bad_every: int,
    seed: int,
    shape: tuple[int, ...] = (75, 97),
    group: str | None = "g{}",
) -> Path:
    """Noisy pictures of odd size; the bad ones have a bright square, marked with a box."""
    folder.mkdir()
    generator = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        reference = generator.normal(100, 6, shape).clip(0, 255).astype(np.uint8)
        picture = reference.copy()
        row: dict[str, Any] = {
            "image": f"{index}.png",
            "reference": f"{index}-good.png",
            **({} if group is None else {"group": group.format(index // 2)}),
            "boxes": [],
        }
        if index % bad_every == 0:
            side = min(14, shape[0] // 2)
            y, x = (int(generator.integers(1, most - side)) for most in shape[:2])
            picture[y : y + side, x : x + side] = 210
            row["boxes"] = [[x, y, x + side, y + side, "spot"]]
        cv2.imwrite(str(folder / f"{index}.png"), picture)
        cv2.imwrite(str(folder / f"{index}-good.png"), reference)
        rows.append(row)
    file = folder / "labels.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def trained(
    labels: Path,
    family: str,
    out: Path,
    budget_s: float = BUDGET_S,
    *,
    said: list[str] | None = None,
    simulate_copper: str | None = None,
) -> dict[str, Any]:
    return train_model(
        labels,
        family,
        out,
        budget_s=budget_s,
        escape_cost=10,
        overkill_cost=1,
        seed=1,
        say=([] if said is None else said).append,
        simulate_copper=simulate_copper,
    )


@pytest.mark.soak
@pytest.mark.parametrize("family", ["pair_segmenter", "segmenter", "anomaly", "classifier"])
def test_learns_a_bright_square(family: str, tmp_path: Path) -> None:
    card = trained(drawn(tmp_path / "train", 50, bad_every=3, seed=1), family, tmp_path / "model")
    model = Model(tmp_path / "model" / "1" / "model.onnx", read_settings(tmp_path / "model"))
    judged = list(judge(model, read_samples(drawn(tmp_path / "test", 30, bad_every=2, seed=2))))
    result = figures(judged)
    assert result["image_auroc"]["value"] > 0.95
    assert card["metrics"]["parity_torch_onnx"] <= 1e-3
    if family in {"segmenter", "pair_segmenter"}:
        assert result["f1_class_agnostic"]["value"] > 0.7


@pytest.mark.parametrize(
    ("family", "bad_every", "said"),
    [
        ("segmenter", 1000, "no training image has"),
        ("classifier", 1000, "at least one other"),
        ("anomaly", 1, "good part"),
    ],
)
def test_one_class_is_refused(family: str, bad_every: int, said: str, tmp_path: Path) -> None:
    labels = drawn(tmp_path / "train", 11, bad_every=bad_every, seed=1)
    if bad_every > 1:
        lines = labels.read_text().splitlines()[1:]
        labels.write_text("\n".join(lines))
    with pytest.raises(ConfigurationError, match=said):
        trained(labels, family, tmp_path / "model")


def test_a_model_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.onnx").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="never overwritten"):
        trained(tmp_path / "labels.jsonl", "segmenter", tmp_path)


class Line(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(1, 1)

    def forward(self, x: Any) -> Any:
        return self.inner(x)


def squared(answers: Any, targets: Any) -> Any:
    return ((answers - targets) ** 2).mean()


def loop(folder: Path, batch: Any, said: list[str], *, budget_s: float = 3.0, loss_of: Any = squared) -> Any:
    return train(
        Line(),
        batch,
        loss_of,
        budget_s=budget_s,
        checkpoint=folder / "checkpoint.pt",
        identity="data",
        seed=1,
        say=said.append,
        checkpoint_every_s=0.0,
    )


def fine(generator: np.random.Generator) -> tuple[Any, Any]:
    x = torch.tensor(generator.normal(size=(4, 1)), dtype=torch.float32)
    return x, 2 * x


def test_a_loss_that_is_no_number_goes_back_to_the_last_good_checkpoint(tmp_path: Path) -> None:
    calls = iter(range(10**9))

    def poisoned(generator: np.random.Generator) -> tuple[Any, Any]:
        x, y = fine(generator)
        return (x * float("nan"), y) if next(calls) == 1 else (x, y)

    said: list[str] = []
    network = loop(tmp_path, poisoned, said)
    assert sum("back to the last good checkpoint" in line for line in said) == 1
    assert all(bool(torch.isfinite(value).all()) for value in network.parameters())


def test_a_loss_that_stays_no_number_stops_with_a_message(tmp_path: Path) -> None:
    def poisoned(generator: np.random.Generator) -> tuple[Any, Any]:
        return torch.full((4, 1), float("nan")), torch.zeros((4, 1))

    with pytest.raises(StageFailed, match="no number"):
        loop(tmp_path, poisoned, [])


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    parts = {"network": Line()}
    save_checkpoint(path, "data", parts, 7, 1.5)

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("training.checkpoints.os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            save_checkpoint(path, "data", parts, 8, 2.0)
    assert load_checkpoint(path, "data", parts) == (7, 1.5)
    assert load_checkpoint(path, "other data", parts) is None
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.timeout(
    900
)  # two processes that load torch, on a machine that may be busy; conditions are awaited, not times
def test_a_killed_training_is_taken_up(tmp_path: Path) -> None:
    labels = drawn(tmp_path / "train", 12, bad_every=2, seed=1)
    arguments = ["train", "--labels", str(labels), "--family", "segmenter", "--out", str(tmp_path / "model")]
    command = [sys.executable, "-m", "cli.main", *arguments, "--budget-min", "60", "--seed", "1"]
    checkpoint = tmp_path / "model" / "checkpoint.pt"
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while not checkpoint.exists():
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    said: list[str] = []
    trained(labels, "segmenter", tmp_path / "model", 3.0, said=said)
    assert any(line.startswith(f"taken up from {checkpoint}") for line in said)
    assert (tmp_path / "model" / "1" / "model.onnx").exists()
    assert not checkpoint.exists()


def test_each_step_learns_from_its_own_batch_also_when_it_is_taken_up(tmp_path: Path) -> None:
    """Whichever batch is made ahead: seed and step alone decide, and a run that is taken up goes on with the next."""
    learned: list[float] = []

    def recorded(answers: Any, targets: Any) -> Any:
        learned.append(float(targets[0, 0]))
        if len(learned) in {7, 12}:
            raise InterruptedError
        return ((answers - targets) ** 2).mean()

    for _ in range(2):
        with pytest.raises(InterruptedError):
            loop(tmp_path, fine, [], budget_s=600.0, loss_of=recorded)
    expected = [float(fine(np.random.default_rng((1, step, 0)))[1][0, 0]) for step in range(11)]
    assert learned == expected[:7] + expected[6:]


ODD: dict[str, dict[str, Any]] = {
    "segmenter": {"shape": (32, 32), "count": 30, "bad_every": 2, "group": None},
    "anomaly": {"shape": (33, 32, 3), "count": 20, "bad_every": 100, "group": "one"},
    "pair_segmenter": {"shape": (48, 300), "count": 12, "bad_every": 3, "group": "one"},
    "classifier": {"shape": (20, 500), "count": 20, "bad_every": 4, "group": None},
}


@pytest.mark.parametrize("family", ODD)
def test_odd_pictures_give_a_model_that_answers(family: str, tmp_path: Path) -> None:
    """Tiny, long, colour; one group for all or none; one bad part or none: a threshold, a score and boxes inside the picture."""
    odd = ODD[family]
    shape = odd["shape"]
    labels = drawn(tmp_path / "train", seed=3, **odd)
    if family == "anomaly":
        labels.write_text("\n".join(labels.read_text().splitlines()[1:]))
    card = trained(labels, family, tmp_path / "model", 3.0)
    assert 0 <= card["metrics"]["threshold"]["value"] <= 1.05
    model = Model(tmp_path / "model" / "1" / "model.onnx", read_settings(tmp_path / "model"))
    for image in judge(model, read_samples(labels)):
        assert 0 <= image.row["score"] <= 1
        assert all(0 <= box[0] < box[2] <= shape[1] and 0 <= box[1] < box[3] <= shape[0] for box in image.row["boxes"])


def test_good_boards_alone_make_a_pair_segmenter_of_drawn_defects(tmp_path: Path) -> None:
    rows = []
    for index in range(3):
        picture = np.full((160, 160), 255, np.uint8)
        for line in range(10 + index, 150, 24):
            cv2.line(picture, (0, line), (159, line), 0, 9)
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture)
        rows.append({"image": f"{index}.png", "template": f"{index}.png", "group": index})
    labels = tmp_path / "labels.jsonl"
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows))
    card = trained(labels, "pair_segmenter", tmp_path / "model", 4.0, simulate_copper="dark")
    assert set(read_settings(tmp_path / "model").classes) <= {
        "open",
        "short",
        "mousebite",
        "spur",
        "copper",
        "pin-hole",
    }
    assert card["data"].startswith("20 boards with drawn defects, from the good ones among 3 images")
    assert "--simulate-defects dark" in card["rebuild"]
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "1",
        "card.json",
        "config.pbtxt",
        "model.json",
    ]
    with pytest.raises(ConfigurationError, match="expected --family pair_segmenter, got anomaly"):
        trained(labels, "anomaly", tmp_path / "other", 4.0, simulate_copper="dark")


def test_a_rare_class_is_seen_more_often_than_there_are_of_it(tmp_path: Path) -> None:
    """One dent beside 39 spots: about one crop in seven around a defect shows it, not one in forty."""
    labels = drawn(tmp_path / "train", 40, bad_every=1, seed=1)
    labels.write_text(labels.read_text().replace("spot", "dent", 1))
    samples = read_samples(labels)
    form = Form(colour=False, scale=1.0, paired=False)
    crops = Crops(samples, form, ["dent", "spot"], 1.0, None)
    seen = [int((targets == 1).flatten(1).any(1).sum()) for targets in batches(crops, 20)]
    of_crops = 20 * len(crops(np.random.default_rng(0))[0])
    assert 0.04 < sum(seen) / of_crops < 0.2


def test_a_moved_picture_of_a_classifier_has_no_edge_that_was_not_there(tmp_path: Path) -> None:
    """A ramp from dark to light, moved: px beside each other stay alike, or the edge would be learned as a defect."""
    rows = []
    for name in ("good", "dent"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.tile(np.arange(40, 168, dtype=np.uint8), (64, 1)))
        rows.append({"image": f"{name}.png", "label": name, "reference": f"{name}.png"})
    labels = tmp_path / "labels.jsonl"
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows))
    form = Form(colour=False, scale=1.0, paired=False)
    pictures = Resized(read_samples(labels), form, ["good", "dent"], (128, 64))(np.random.default_rng(1))[0].numpy()
    assert np.abs(np.diff(pictures.astype(int), axis=3)).max() < 40


def batches(crops: Crops, count: int) -> list[Any]:
    return [crops(np.random.default_rng(index))[1] for index in range(count)]


def test_a_reference_that_only_some_have_is_told_before_training(tmp_path: Path) -> None:
    """One row in five lacks it, so that it falls on the side of validation with some seed; none falls through to the network."""
    labels = drawn(tmp_path / "train", 12, bad_every=2, seed=1, group=None)
    rows = [json.loads(line) for line in labels.read_text().splitlines()]
    held = set(split(read_samples(labels), seed=1).validation)
    for index in held:
        del rows[index]["reference"]
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ConfigurationError, match="expected `reference` or `template`"):
        trained(labels, "anomaly", tmp_path / "model", 600.0)


def test_one_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="one image; expected at least two"):
        trained(drawn(tmp_path / "train", 1, bad_every=1, seed=1), "segmenter", tmp_path / "model")


def test_weights_that_answer_otherwise_are_refused(tmp_path: Path) -> None:
    card = trained(drawn(tmp_path / "train", 12, bad_every=2, seed=1), "segmenter", tmp_path / "model", 4.0)
    weights = (tmp_path / "model" / "1" / "model.onnx").read_bytes()
    assert card["size_bytes"] == len(weights)

    class Other(torch.nn.Module):
        def forward(self, image: Any) -> Any:
            return torch.full((len(image), 1), 0.987), torch.zeros((len(image), 1, 32, 32), dtype=torch.uint8)

    with pytest.raises(StageFailed, match="torch and ONNX differ"):
        parity(Other(), weights, np.full((2, 1, 64, 64), 100, np.uint8), 0.5)
