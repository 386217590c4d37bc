"""The training loop: batches in, steps done, everything that happened written down."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from vary.datagen.corpus import LANGUAGES
from vary.errors import TrainingError
from vary.model.modeling import VaryForConditionalGeneration
from vary.training.checkpoints import Position, save_checkpoint
from vary.training.data import LineBatch

__all__ = ["LoopSettings", "TrainingLog", "learning_rate", "train"]

Losses = Callable[[torch.nn.Module, LineBatch], dict[str, Tensor]]
Evaluate = Callable[[VaryForConditionalGeneration], dict[str, float]]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How to step.

    Attributes:
        steps: optimizer steps of the whole run.
        learning_rate: its peak.
        warmup_steps: linear rise from 0.
        decay_fraction: the last share of the run, in which the rate falls to `final_fraction` of its peak.
        weights: the share of each loss in the sum that is minimised; 1 where not named.
        clip: the largest norm of the gradient.
        log_every, save_every, evaluate_every: in steps; 0 switches saving or evaluating off.
    """

    steps: int
    learning_rate: float
    warmup_steps: int
    decay_fraction: float
    final_fraction: float
    weights: dict[str, float]
    clip: float
    log_every: int
    save_every: int
    evaluate_every: int


def learning_rate(step: int, settings: LoopSettings) -> float:
    """Warm-up, constant, linear decay; `step` counts from 0."""
    rise = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    left = (settings.steps - step) / max(1.0, settings.decay_fraction * settings.steps)
    return settings.learning_rate * rise * max(settings.final_fraction, min(1.0, left))


@dataclass
class TrainingLog:
    """Rows of figures, appended to a CSV file; a resumed run goes on in the same file."""

    path: Path
    columns: tuple[str, ...]
    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0

    def add(self, losses: dict[str, Tensor]) -> None:
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())
        self.count += 1

    def means(self) -> dict[str, float]:
        """The means since the last call."""
        means = {name: total / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means

    def rewind(self, step: int) -> None:
        """Drops the rows after `step`: a resumed run writes them anew."""
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        self.path.unlink()
        for row in rows:
            self.write(row)

    def write(self, row: dict[str, Any]) -> None:
        new = not self.path.exists()
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            if new:
                writer.writeheader()
            writer.writerow({key: f"{v:.6g}" if isinstance(v, float) else v for key, v in row.items()})


def check_finite(total: Tensor, norm: Tensor, losses: dict[str, Tensor], batch: LineBatch, step: int) -> None:
    """Raises TrainingError, naming the batch, if the loss or the gradient is not finite."""
    if math.isfinite(float(total.detach())) and math.isfinite(float(norm)):
        return
    parts = ", ".join(f"{name} {float(value.detach()):.4g}" for name, value in losses.items())
    raise TrainingError(
        f"step {step}: the loss or its gradient is not finite ({parts}, gradient norm {float(norm):.4g}) at "
        f"{batch.name}; resume from the last checkpoint with a lower learning rate, or look at that batch"
    )


def train(
    model: VaryForConditionalGeneration,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[tuple[LineBatch, Position]],
    losses: Losses,
    settings: LoopSettings,
    accelerator: Accelerator,
    folder: Path,
    *,
    position: Position,
    evaluate: Evaluate | None = None,
    progress: Progress = lambda _: None,
) -> Position:
    """Steps through `batches` until `settings.steps` are done; they come with the position after them.

    Writes `folder/log.csv` and checkpoints.  Returns the last position.

    Raises:
        TrainingError: on a loss or gradient that is not finite.
    """
    log = TrainingLog(folder / "log.csv", LOG_COLUMNS)
    if accelerator.is_main_process:
        log.rewind(position.step)
    prepared, optimizer = accelerator.prepare(model, optimizer)
    prepared.train()
    start, base = time.monotonic(), position
    mark = (time.monotonic(), base.lines, base.characters)
    for batch, after in batches:
        rate = learning_rate(after.step - 1, settings)
        for group in optimizer.param_groups:
            group["lr"] = rate
        parts = losses(prepared, batch.to(accelerator.device))
        total = sum((settings.weights.get(name, 1.0) * part for name, part in parts.items()), torch.zeros(()))
        accelerator.backward(total)
        norm = accelerator.clip_grad_norm_(prepared.parameters(), settings.clip)
        check_finite(total, torch.as_tensor(norm), parts, batch, after.step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        log.add(parts)
        after.seconds = base.seconds + time.monotonic() - start
        position = after
        last = after.step >= settings.steps
        judged = evaluate and settings.evaluate_every and (last or after.step % settings.evaluate_every == 0)
        if accelerator.is_main_process and (last or judged or after.step % settings.log_every == 0):
            now = time.monotonic()
            spent, lines, characters = now - mark[0], after.lines - mark[1], after.characters - mark[2]
            row = {"step": after.step, "learning_rate": rate, **log.means(), "lines": after.lines}
            row |= {"lines_per_second": lines / spent, "characters_per_second": characters / spent}
            row["seconds"] = after.seconds
            if evaluate and judged:
                model.eval()
                row |= evaluate(model)
                prepared.train()
            log.write(row)
            mark = (time.monotonic(), after.lines, after.characters)
            progress(
                "  ".join(
                    f"{key} {v:.4g}" if isinstance(v, float) else f"{key} {v}" for key, v in row.items()
                )
            )
        if (
            accelerator.is_main_process
            and settings.save_every
            and (last or after.step % settings.save_every == 0)
        ):
            save_checkpoint(folder, accelerator.unwrap_model(prepared), optimizer, position)
        if last:
            break
    return position


LOG_COLUMNS = (
    *(
        "step",
        "learning_rate",
        "decoder",
        "ctc",
        "lines",
        "lines_per_second",
        "characters_per_second",
        "seconds",
    ),
    *("cer_decoder", "cer_ctc"),
    *(f"{name}_{language}" for language in LANGUAGES for name in ("cer_decoder", "cer_ctc")),
)
