"""From a label file to a model folder: read, split, train, export, choose thresholds, prove, write."""

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn

from schemas.errors import ConfigurationError
from schemas.object_store import digest_of
from training.evaluation import figures, judged
from training.export import WEIGHTS, onnx_bytes, parity, write_model
from training.families.task import Task
from training.labels import Sample, read_samples
from training.loop import train
from training.model_card import ModelCard, write_card
from training.networks import MULTIPLE_PX
from training.pictures import Form
from training.prediction import Model
from training.settings import FAMILIES, ModelSettings
from training.simulated_boards import draw_boards
from training.splits import split
from training.thresholds import Threshold
from training.validation import MOST_IMAGES, Answered, answers, part_threshold, tuned

CHECKPOINT = "checkpoint.pt"
_LEAST_TRAINING_SHARE = 0.25
"""Of the budget, however long reading took."""
_MOST_CLOSING_SHARE = 0.4
"""Of the budget; what does not fit into it, of many and large pictures, is not validated on."""
_TUNING_SHARE = 0.04
"""Of the budget, for thresholds and figures."""
_DRAWING_SHARE = 0.15
_PARITY_IMAGES = 4
_PARITY_PX = 256


def train_model(
    labels: Path,
    family: str,
    out: Path,
    *,
    budget_s: float,
    escape_cost: float,
    overkill_cost: float,
    seed: int,
    say: Callable[[str], None],
    begun_at_s: float | None = None,
    simulate_copper: str | None = None,
) -> dict[str, Any]:
    """Trains and writes the folder; returns what the card says. An interrupted call with the same arguments is taken up.

    Args:
        begun_at_s: `time.monotonic()` at which the budget begins, where that was before the call. All that is done counts: reading,
            training, export, validation. Where reading leaves too little, a quarter of the budget is trained all the same.
        simulate_copper: `dark` or `light`: learn from good boards with drawn defects only (`training.simulated_boards`).

    Raises:
        ConfigurationError: labels that cannot be learned from, an unknown family, a folder that has a model already.
        StageFailed: the loss was no number again and again, or ONNX does not answer as torch does.
    """
    started = time.monotonic() if begun_at_s is None else begun_at_s
    if family not in FAMILIES:
        raise ConfigurationError(f"family: expected one of {', '.join(FAMILIES)}, got {family!r}")
    if (out / WEIGHTS).exists():
        raise ConfigurationError(f"{out}: has a model already, which is never overwritten; name another folder")
    samples = read_samples(labels)
    data = f"{len(samples)} images of {labels.name}, {data_digest(samples)}"
    drawn = None
    if simulate_copper is not None:
        _refuse_simulation(family)
        drawn = out / f"simulated-{simulate_copper}-{seed}-{digest_of(data.encode())[-12:]}"
        until = started + budget_s * _DRAWING_SHARE
        samples = read_samples(draw_boards(samples, drawn, copper=simulate_copper, until=until, seed=seed))
        data = f"{len(samples)} boards with drawn defects, from the good ones among {data}"
    parts = split(samples, seed=seed)
    if not parts.validation:
        raise ConfigurationError(f"{labels}: one image; expected at least two, to learn from and to validate on")
    for line in parts.lines():
        say(line)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    task: Task = import_module(f"training.families.{family}").task([samples[index] for index in parts.train])
    say(f"{family}: classes {', '.join(task.settings.classes)}; pictures at scale {task.settings.scale:.2f}")
    held = [samples[index] for index in parts.validation]
    form = Form(colour=task.settings.colour, scale=task.settings.scale, paired=task.settings.paired)
    form.refuse_unpaired(held)
    inputs = task.batch(np.random.default_rng((seed, 0)))[0].contiguous()
    closing_s = min(_rehearsed_s(task, inputs, held), budget_s * _MOST_CLOSING_SHARE)
    validated_at_s = started + budget_s * (1 - _TUNING_SHARE)
    left_s = validated_at_s - closing_s - time.monotonic()
    network = train(
        task.network,
        task.batch,
        task.loss,
        budget_s=max(left_s, budget_s * _LEAST_TRAINING_SHARE),
        checkpoint=out / CHECKPOINT,
        identity=f"{data_digest(samples)} {family} {seed} {msgspec.json.encode(task.settings).decode()}",
        seed=seed,
        say=say,
    )
    exported = task.exported(network)
    weights = _onnx(exported, inputs, task.settings)
    model = Model(weights, task.settings)
    answered = answers(model, held, until=validated_at_s, seed=seed)
    model.settings = tuned(model, answered)
    threshold = part_threshold(model.settings, answered, held, escape_cost=escape_cost, overkill_cost=overkill_cost)
    model.settings = msgspec.structs.replace(model.settings, threshold=threshold.value)
    difference = parity(exported, weights, inputs[:_PARITY_IMAGES].numpy(), threshold.value)
    metrics = _metrics(model, answered, threshold, difference, parts.lines())
    card = _card(
        out.name,
        weights,
        model.settings,
        metrics=metrics,
        data=data,
        seed=seed,
        rebuild=f"linesight train --family {family} --seed {seed} --budget-min {budget_s / 60:g} --escape-cost {escape_cost:g} "
        f"--overkill-cost {overkill_cost:g}" + (f" --simulate-defects {simulate_copper}" if simulate_copper else ""),
    )
    write_card(card, out)
    write_model(out, weights, model.settings, model.form.channels)
    (out / CHECKPOINT).unlink(missing_ok=True)
    if drawn is not None:
        shutil.rmtree(drawn)
    say(f"{out}: written after {time.monotonic() - started:.0f} s")
    result: dict[str, Any] = msgspec.to_builtins(card)
    return result


def _refuse_simulation(family: str) -> None:
    if family != "pair_segmenter":
        raise ConfigurationError(
            f"--simulate-defects: expected --family pair_segmenter, got {family}; defects are drawn into bare boards, which are "
            "compared with their references; other parts: `anomaly` learns from good ones"
        )


def _rehearsed_s(task: Task, inputs: torch.Tensor, held: Sequence[Sample]) -> float:
    """Seconds that export and validation will take, from doing them once before training: what cannot be exported is told now."""
    begun = time.monotonic()
    weights = _onnx(task.exported(task.network), inputs, task.settings)
    model = Model(weights, task.settings)
    model(held[0])
    exported_s, begun = time.monotonic() - begun, time.monotonic()
    model(held[-1])
    return 1.5 * exported_s + 2.0 * min(len(held), MOST_IMAGES) * (time.monotonic() - begun)


def data_digest(samples: Sequence[Sample]) -> str:
    """`sha256:<hex>` of the pictures' bytes and of what is said about them, in order."""
    whole = hashlib.sha256()
    for sample in samples:
        marks = [(region.class_name, region.points.tolist()) for region in sample.regions or ()]
        whole.update(repr((sample.name, sample.group, sample.label, sample.regions is None, marks)).encode())
        for path in (sample.image, sample.reference):
            if path is not None:
                whole.update(hashlib.sha256(path.read_bytes()).digest())
    return "sha256:" + whole.hexdigest()


def _onnx(exported: nn.Module, inputs: torch.Tensor, settings: ModelSettings) -> bytes:
    classifier = settings.size_px is not None
    return onnx_bytes(exported, _example(inputs, classifier=classifier), classifier=classifier)


def _example(inputs: torch.Tensor, *, classifier: bool) -> torch.Tensor:
    """Two inputs; of a segmenter in a size that nothing in the graph may be bound to, of a classifier in the one it has."""
    if classifier:
        return inputs[:2]
    height, width = (min(side, _PARITY_PX) // MULTIPLE_PX * MULTIPLE_PX for side in inputs.shape[2:])
    return inputs[:2, :, :height, :width]


def _metrics(
    model: Model, answered: Answered, threshold: Threshold, difference: float, check: Sequence[str]
) -> dict[str, Any]:
    return {
        "measured_on": "validation images, on which the thresholds were chosen: better than other images will be",
        **figures([judged(model, sample, answer) for sample, answer in answered]),
        "threshold": threshold.as_json(),
        "parity_torch_onnx": difference,
        "split": list(check),
    }


def _card(
    name: str, weights: bytes, settings: ModelSettings, *, metrics: dict[str, Any], data: str, seed: int, rebuild: str
) -> ModelCard:
    size = "x".join(str(side) for side in reversed(settings.size_px)) if settings.size_px else "h, w: multiples of 16"
    maps = {"defect": "uint8 [N, 1, h / 2, w / 2]: strength", "class": "uint8 [N, 1, h / 2, w / 2]: index of the class"}
    named = {"probabilities": f"float32 [N, {len(settings.classes)}]: {', '.join(settings.classes)}"}
    colours = "blue, green, red" if settings.colour else "grey"
    return ModelCard(
        model=name,
        version=1,
        digest=digest_of(weights),
        size_bytes=len(weights),
        summary=f"{settings.family}: {', '.join(settings.classes)}",
        intended_use="Pictures of the same product, camera and light as the training images.",
        limits="Defects unlike the marked ones are outside its data; thresholds hold for the given costs and share of bad parts.",
        inputs={"image": f"uint8 [N, c, {size}]: {colours}" + (", then the reference's" if settings.paired else "")},
        outputs={"score": "float32 [N, 1]: 0 to 1, how bad", **(named if settings.size_px else maps)},
        data=data,
        seed=seed,
        rebuild=rebuild,
        metrics=metrics,
    )
