"""The one training loop of all families: keeps its time, survives a kill, goes back when the loss is no number."""

import copy
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import nn

from schemas.errors import StageFailed
from training.checkpoints import load_checkpoint, save_checkpoint
from training.pace import Pace, most_threads

_PEAK_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 0.01
_WARM_STEPS = 30
_MOST_STEPS = 12_000
_MOST_AVERAGED_STEPS = 200
_AVERAGED_SHARE = 0.1  # of the steps so far: a short run must not average its beginning in
_CHECKPOINT_EVERY_S = 20.0
_MOST_RECOVERIES = 3

Batch = Callable[[np.random.Generator], tuple[torch.Tensor, torch.Tensor]]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def train(
    network: nn.Module,
    batch: Batch,
    loss_of: Loss,
    *,
    budget_s: float,
    checkpoint: Path,
    identity: str,
    seed: int,
    say: Callable[[str], None],
    checkpoint_every_s: float = _CHECKPOINT_EVERY_S,
) -> nn.Module:
    """Trains for `budget_s` (what an interrupted run used already counts) and returns the running mean of the weights.

    The learning rate falls with a cosine over the time, not over steps, so that any budget ends with a settled network. The seed of a batch
    is that of its step: a run that is taken up goes on with the batches it would have seen.

    Args:
        identity: of data and settings; a checkpoint of another identity is not taken up.

    Raises:
        StageFailed: the loss was no number again and again.
    """
    averaged = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_PEAK_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    parts = {"network": network, "averaged": averaged, "optimizer": optimizer}
    step, used_s, recoveries = 0, 0.0, 0
    found = load_checkpoint(checkpoint, identity, parts)
    if found is not None:
        step, used_s = found
        say(f"taken up from {checkpoint} at step {step}, after {used_s:.0f} s of training")
    else:
        save_checkpoint(checkpoint, identity, parts, step, used_s)
    batches, half_as_wide = _Ahead(batch, seed), _has_bfloat16()
    pace = Pace(most_threads(os.cpu_count() or 1, os.environ))
    last, saved_at = time.monotonic(), time.monotonic()
    network.train()
    while used_s < budget_s and step < _MOST_STEPS:
        progress = max(used_s / budget_s, step / _MOST_STEPS)
        rate = _PEAK_LEARNING_RATE * min(1.0, (step + 1) / _WARM_STEPS) * (1 + math.cos(math.pi * progress)) / 2
        for group in optimizer.param_groups:
            group["lr"] = max(rate, 1e-6) * 0.5**recoveries
        torch.set_num_threads(pace.threads(step))
        inputs, targets = batches(step, recoveries)
        with torch.autocast("cpu", torch.bfloat16, enabled=half_as_wide):
            answers = network(inputs)
        loss = loss_of(answers.float(), targets)
        if not torch.isfinite(loss):
            recoveries += 1
            if recoveries > _MOST_RECOVERIES:
                raise StageFailed(f"the loss is no number at step {step}, {recoveries} times; nothing is written")
            say(f"the loss is no number at step {step}: back to the last good checkpoint with half the learning rate")
            taken = load_checkpoint(checkpoint, identity, parts)
            if taken is None:
                raise StageFailed(f"{checkpoint}: the last good checkpoint is gone")
            step = taken[0]
            continue
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        _average(averaged, network, 1 - 1 / (1 + min((step + 1) * _AVERAGED_SHARE, _MOST_AVERAGED_STEPS)))
        now = time.monotonic()
        pace.took(step, now - last)
        step += 1
        used_s, last = used_s + now - last, now
        if now - saved_at >= checkpoint_every_s:
            # a network that is broken already must not become the last good one
            if all(bool(torch.isfinite(value).all()) for value in network.parameters()):
                save_checkpoint(checkpoint, identity, parts, step, used_s)
            saved_at = now
            say(f"step {step}, {used_s:.0f} of {budget_s:.0f} s, loss {loss.item():.4f}")
    save_checkpoint(checkpoint, identity, parts, step, used_s)
    say(f"trained {step} steps in {used_s:.0f} s")
    return averaged.eval()


class _Ahead:
    """Makes the next batch while the network learns from this one; which batch it is depends on nothing but the seed and the step."""

    def __init__(self, batch: Batch, seed: int) -> None:
        self._batch, self._seed = batch, seed
        self._maker = ThreadPoolExecutor(max_workers=1)
        self._next: tuple[tuple[int, int], Future[tuple[torch.Tensor, torch.Tensor]]] | None = None

    def __call__(self, step: int, recoveries: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The batch of a step; that of the step after it is begun."""
        made = self._next[1] if self._next and self._next[0] == (step, recoveries) else self._begun(step, recoveries)
        taken = made.result()
        self._next = (step + 1, recoveries), self._begun(step + 1, recoveries)
        return taken

    def _begun(self, step: int, recoveries: int) -> Future[tuple[torch.Tensor, torch.Tensor]]:
        return self._maker.submit(self._batch, np.random.default_rng((self._seed, step, recoveries)))


def _has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16; where it does not, it is emulated and slower than float32."""
    try:
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, keep: float) -> None:
    for mean, value in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - keep)
        else:
            mean.copy_(value)
