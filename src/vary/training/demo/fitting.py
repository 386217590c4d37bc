"""A plain loop for the parts that a Vary recipe does not train: CLIP, and a language model on text alone."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vary.errors import TrainingError
from vary.training.demo.sizes import BETAS
from vary.training.settings import RunSettings, learning_rate

__all__ = ["Progress", "fit"]

Progress = Callable[[Mapping[str, Any]], None]
"""Called with a row of a stage's log."""


def fit(
    module: nn.Module,
    loss_of: Callable[[int], Tensor],
    *,
    steps: int,
    rate: float,
    log: Path,
    progress: Progress,
) -> None:
    """Trains all of a module with AdamW and a cosine schedule; `loss_of` computes the loss of a step.

    Raises:
        TrainingError: on a loss that is not finite.
    """
    settings = RunSettings(learning_rate=rate, betas=BETAS)
    optimizer = torch.optim.AdamW(module.parameters(), rate, betas=BETAS, weight_decay=0.0)
    every = max(1, steps // 20)
    rows: list[dict[str, Any]] = []
    total = 0.0
    module.train()
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step - 1, steps, settings)
        loss = loss_of(step)
        if not math.isfinite(float(loss.detach())):
            raise TrainingError(f"{log.parent.name}, step {step}: the loss is {float(loss.detach())}")
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total += float(loss.detach())
        if step % every == 0 or step == steps:
            rows.append({"step": step, "loss": total / (step - (rows[-1]["step"] if rows else 0))})
            total = 0.0
            progress(rows[-1])
    module.eval()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("step", "loss"))
        writer.writeheader()
        writer.writerows(rows)
