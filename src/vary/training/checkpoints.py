"""Training checkpoints: folders that are either whole or not there."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vary.errors import TrainingError
from vary.model.modeling import VaryForConditionalGeneration

__all__ = ["Position", "latest_checkpoint", "load_training_state", "save_checkpoint"]

STATE_FILE, OPTIMIZER_FILE, PREFIX = "training_state.json", "optimizer.pt", "checkpoint-"


@dataclass(slots=True)
class Position:
    """Where a run stands: steps done, the current pool, batches of it that are consumed, samples seen."""

    step: int = 0
    pool: int = 0
    batch: int = 0
    lines: int = 0
    characters: int = 0
    dropped: int = 0
    seconds: float = 0.0


def save_checkpoint(
    folder: Path,
    model: VaryForConditionalGeneration,
    optimizer: torch.optim.Optimizer,
    position: Position,
    *,
    keep: int = 2,
) -> Path:
    """Writes `folder/checkpoint-STEP` (renamed when whole) and removes all but the newest `keep`."""
    target = folder / f"{PREFIX}{position.step:07d}"
    temporary = folder / f".{target.name}.partial"
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary)
    state = {"optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}
    torch.save(state, temporary / OPTIMIZER_FILE)
    (temporary / STATE_FILE).write_text(json.dumps(asdict(position), indent=1), encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    for old in sorted(folder.glob(f"{PREFIX}*"))[:-keep]:
        shutil.rmtree(old)
    return target


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run, or None."""
    return max(folder.glob(f"{PREFIX}*"), default=None)


def load_training_state(checkpoint: Path) -> tuple[Position, dict[str, Any]]:
    """The position and the optimizer's state of a checkpoint; the weights are loaded by `from_pretrained`.

    Raises:
        TrainingError: if a file is missing or broken.
    """
    try:
        position = Position(**json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8")))
        state = torch.load(checkpoint / OPTIMIZER_FILE, weights_only=True, map_location="cpu")
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise TrainingError(
            f"{checkpoint}: not a training checkpoint that can be resumed ({error})"
        ) from error
    torch.set_rng_state(state["rng"])
    return position, state["optimizer"]
