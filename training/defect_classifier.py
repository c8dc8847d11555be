"""Trains the `defect_classifier` model on drawn boards and writes it into the model repository.

`python -m training.defect_classifier` rebuilds the committed model: about 8 minutes on two cores. The seed fixes the
data and the order; sums of floats differ between processors, so another machine gives weights that are close, not equal.
"""

import io
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import typer
from torch import nn

from processors.golden.classes import CLASSIFIER_OUTPUTS
from processors.golden.crops import CROP_PX
from schemas.object_store import digest_of
from training.defect_network import DefectNetwork, Probabilities
from training.local_inference import Classification, Comparison
from training.model_card import ModelCard, write_card
from training.simulated_pairs import Pairs, draw_pairs

MODEL = Path("triton_models/defect_classifier")
PARITY_TOLERANCE = 1e-3
_ARTWORKS_PER_TASK = 25
_BATCH = 256
_THREADS = 2
_WEIGHT_DECAY = 0.02
_PEAK_LEARNING_RATE = 3e-3


def main(
    *,
    artworks: Annotated[
        int, typer.Option(help="boards drawn for training; a tenth more are drawn for validation")
    ] = 1100,
    epochs: Annotated[int, typer.Option(help="passes over the training crops")] = 14,
    seed: Annotated[int, typer.Option(help="of the boards, of the weights at the start, and of the order")] = 3,
    out: Annotated[Path, typer.Option(help="model folder to write")] = MODEL,
) -> None:
    """Draws the boards, trains, checks that torch and ONNX agree, writes model and card."""
    started = time.monotonic()
    train = _draw(artworks, seed)
    validation = _draw(max(_ARTWORKS_PER_TASK, artworks // 10), seed + 1)
    print(
        f"{len(train.labels)} crops to train, {len(validation.labels)} to validate, {time.monotonic() - started:.0f} s"
    )
    network = _train(train, validation, epochs=epochs, seed=seed)
    weights = export(network)
    difference = parity(network, weights, validation.crops[:512])
    if difference > PARITY_TOLERANCE:
        raise SystemExit(
            f"torch and ONNX differ by {difference:.2g}, at most {PARITY_TOLERANCE:g} is allowed; not written"
        )
    path = out / "1" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(weights)
    metrics = _metrics(Classification(weights)(validation.crops), validation.labels)
    metrics["parity_torch_onnx"] = difference
    write_card(_card(weights, metrics, train, validation, seed), out)
    print(f"{path}: {len(weights)} bytes, accuracy {metrics['accuracy']:.4f}, {time.monotonic() - started:.0f} s")


def export(network: DefectNetwork) -> bytes:
    """The network with its softmax as ONNX, opset 17, any batch size."""
    network.eval()
    example = torch.zeros((2, 2, CROP_PX, CROP_PX), dtype=torch.uint8)
    file = io.BytesIO()
    torch.onnx.export(
        Probabilities(network).eval(),
        (example,),
        file,
        input_names=["crops"],
        output_names=["probabilities"],
        dynamic_axes={"crops": {0: "count"}, "probabilities": {0: "count"}},
        opset_version=17,
        dynamo=False,
    )
    return file.getvalue()


def parity(network: DefectNetwork, weights: bytes, crops: npt.NDArray[np.uint8]) -> float:
    """Largest difference between the probabilities of torch and of ONNX on these crops."""
    network.eval()
    with torch.inference_mode():
        expected = torch.softmax(network(torch.from_numpy(crops)), 1).numpy()
    return float(np.abs(Classification(weights)(crops) - expected).max())


def _draw(artworks: int, seed: int) -> Pairs:
    """Draws in two processes; every task has its own seed, so the result does not depend on their number."""
    tasks = -(-artworks // _ARTWORKS_PER_TASK)
    with ProcessPoolExecutor(_THREADS, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(_draw_task, [seed * 1_000_003 + task for task in range(tasks)]))
    return Pairs(np.concatenate([p.crops for p in parts]), np.concatenate([p.labels for p in parts]))


def _draw_task(seed: int) -> Pairs:
    cv2.setNumThreads(1)
    return draw_pairs(artworks=_ARTWORKS_PER_TASK, seed=seed, compare=Comparison())


def _train(train: Pairs, validation: Pairs, *, epochs: int, seed: int) -> DefectNetwork:
    torch.set_num_threads(_THREADS)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = DefectNetwork()
    network.to(memory_format=torch.channels_last)
    steps = epochs * (len(train.labels) // _BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _PEAK_LEARNING_RATE, total_steps=steps, pct_start=0.2)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.03)
    crops, labels = torch.from_numpy(train.crops), torch.from_numpy(train.labels)
    for epoch in range(epochs):
        network.train()
        order = torch.randperm(len(labels), generator=generator)[: len(labels) // _BATCH * _BATCH]
        for batch in order.view(-1, _BATCH):
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(_varied(crops[batch], generator))
            loss = loss_of(logits.float(), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(
            f"epoch {epoch + 1}/{epochs}: loss {loss.item():.4f}, validation accuracy {_accuracy(network, validation):.4f}"
        )
    return network


def _varied(crops: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One of the eight symmetries of the square for the whole batch: boards have no up or down."""
    turns, mirror = (int(v) for v in torch.randint(0, 4, (2,), generator=generator))
    turned = torch.rot90(crops, turns, (2, 3))
    return turned.flip(3) if mirror % 2 else turned


def _accuracy(network: DefectNetwork, pairs: Pairs) -> float:
    network.eval()
    with torch.inference_mode():
        named = torch.cat([network(part).argmax(1) for part in torch.from_numpy(pairs.crops).split(1024)])
    return float((named.numpy() == pairs.labels).mean())


def _metrics(probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> dict[str, Any]:
    named = probabilities.argmax(1)
    by_class = {}
    for index, name in enumerate(CLASSIFIER_OUTPUTS):
        hits = int(np.sum((named == index) & (labels == index)))
        by_class[name] = {
            "precision": round(hits / max(int(np.sum(named == index)), 1), 4),
            "recall": round(hits / max(int(np.sum(labels == index)), 1), 4),
        }
    return {
        "measured_on": "simulated validation crops",
        "accuracy": float(np.mean(named == labels)),
        "by_class": by_class,
    }


def _card(weights: bytes, metrics: dict[str, Any], train: Pairs, validation: Pairs, seed: int) -> ModelCard:
    return ModelCard(
        model="defect_classifier",
        version=1,
        digest=digest_of(weights),
        size_bytes=len(weights),
        summary="Names what a difference between a bare board and its reference is: one of six defects, or none.",
        intended_use="Candidates of golden comparison on bare boards, copper shown light (processors.golden.crops).",
        limits="Trained on drawn boards only; assembled boards, other products and other defects are outside its data.",
        inputs={"crops": f"uint8 [N, 2, {CROP_PX}, {CROP_PX}]: frame laid over its reference, reference"},
        outputs={"probabilities": f"float32 [N, {len(CLASSIFIER_OUTPUTS)}]: {', '.join(CLASSIFIER_OUTPUTS)}"},
        data=f"{len(train.labels)} training and {len(validation.labels)} validation crops drawn by training.simulated_pairs",
        seed=seed,
        rebuild="python -m training.defect_classifier",
        metrics=metrics,
    )


if __name__ == "__main__":
    typer.run(main)
