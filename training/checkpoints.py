"""Checkpoints of the training loop: written whole or not at all."""

import os
from pathlib import Path
from typing import Any

import torch


def save_checkpoint(path: Path, identity: str, parts: dict[str, Any], step: int, used_s: float) -> None:
    """Writes beside the file and renames, so that a kill or a full disk leaves the last good one.

    Raises:
        OSError: it cannot be written; the checkpoint before it is still there.
    """
    new = path.with_suffix(".new")
    state = {name: part.state_dict() for name, part in parts.items()}
    try:
        with new.open("wb") as file:
            torch.save({"identity": identity, "step": step, "used_s": used_s, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except RuntimeError as error:  # how torch tells of a write that failed
        new.unlink(missing_ok=True)
        raise OSError(f"{path}: checkpoint cannot be written: {error}") from error
    except OSError:
        new.unlink(missing_ok=True)
        raise


def load_checkpoint(path: Path, identity: str, parts: dict[str, Any]) -> tuple[int, float] | None:
    """Puts the state back into the parts; (step, seconds used), or None where there is no checkpoint of this identity."""
    if not path.exists():
        return None
    try:
        state = torch.load(path, weights_only=True)
    except Exception:  # torch raises many kinds for a file that is no checkpoint; training starts anew
        return None
    if state.get("identity") != identity:
        return None
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"]), float(state["used_s"])
