"""Training checkpoints: folders that are either whole or not there."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vary.errors import TrainingError

__all__ = ["Position", "latest_checkpoint", "load_checkpoint_weights", "read_position", "write_checkpoint"]

STATE_FILE, OPTIMIZER_FILE, WEIGHTS_FILE = "training_state.json", "optimizer.pt", "weights.safetensors"
PREFIX = "checkpoint-"


@dataclass(slots=True)
class Position:
    """Where a run stands.

    Attributes:
        step: steps done.
        pool, batch: of lines: the current pool and the batches of it that are consumed, by this process.
        ranks: in a checkpoint: (pool, batch) of every process, in order; each walks pools of its own.
        totals: what was counted over all processes: `samples`, `answer` (tokens learned), `bad`, ...
        seconds: spent in steps.
    """

    step: int = 0
    pool: int = 0
    batch: int = 0
    ranks: list[list[int]] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that are trained and all buffers, by name."""
    state = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    kept = {name for name in model.state_dict() if name not in dict(model.named_parameters())}
    return state | {name: buffer for name, buffer in model.named_buffers() if name in kept}


def write_checkpoint(
    folder: Path,
    model: nn.Module,
    state: dict[str, Any],
    position: Position,
    *,
    keep: int = 2,
) -> Path:
    """Writes `folder/checkpoint-STEP` (renamed when whole) and removes all but the newest `keep`.

    Args:
        folder: the run's.
        model: what is trained of it is written; the rest is where the run began from.
        state: what else is needed to go on: tensors, numbers and containers of them.
        position: where the run stands.
        keep: how many checkpoints stay.

    Raises:
        TrainingError: if it cannot be written, with what the system says; older checkpoints stay.
    """
    target = folder / f"{PREFIX}{position.step:07d}"
    temporary = folder / f".{target.name}.partial"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        tensors = {name: tensor.contiguous() for name, tensor in trained_state(model).items()}
        save_file(tensors, temporary / WEIGHTS_FILE)
        torch.save(state, temporary / OPTIMIZER_FILE)
        (temporary / STATE_FILE).write_text(json.dumps(asdict(position), indent=1), encoding="utf-8")
        _flush(temporary)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except (OSError, SafetensorError, RuntimeError) as error:  # torch.save raises RuntimeError on a full disk
        shutil.rmtree(temporary, ignore_errors=True)
        raise TrainingError(
            f"{target}: the checkpoint cannot be written ({error}); make room and resume"
        ) from error
    for old in sorted(folder.glob(f"{PREFIX}*"))[:-keep]:
        shutil.rmtree(old)
    return target


def _flush(folder: Path) -> None:
    """Has the system write a folder's files to the disk: a name must not outlive a power cut without them."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run, or None."""
    return max(folder.glob(f"{PREFIX}*"), default=None)


def read_position(checkpoint: Path, *, sharded: bool = False) -> tuple[Position, dict[str, Any]]:
    """The position of a checkpoint and what `write_checkpoint` was given as `state`; with `sharded` nothing,
    for Accelerate reads that itself.

    Raises:
        TrainingError: if a file is missing or broken.
    """
    try:
        position = Position(**json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8")))
        path = checkpoint / OPTIMIZER_FILE
        state = {} if sharded else torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise TrainingError(
            f"{checkpoint}: not a training checkpoint that can be resumed ({error})"
        ) from error
    return position, state


def load_checkpoint_weights(checkpoint: Path, model: nn.Module) -> None:
    """Puts a checkpoint's weights into the model that the run began with.

    Raises:
        TrainingError: if the file is broken or belongs to another model.
    """
    path = checkpoint / WEIGHTS_FILE
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path}: cannot be read ({error}); resume from an older checkpoint") from error
    wanted = trained_state(model)
    wrong = sorted(found.keys() ^ wanted.keys())
    wrong += [name for name in found if name in wanted and found[name].shape != wanted[name].shape]
    if wrong:
        raise TrainingError(
            f"{path}: the weights are not those of this run's model ({len(wrong)} differ, the first is "
            f"{wrong[0]}); resume with the settings and the model that the run began with"
        )
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(found[name])
