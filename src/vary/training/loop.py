"""The training loop: batches in, steps done, everything that happened written down."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from vary.errors import TrainingError
from vary.training.checkpoints import Position, write_checkpoint
from vary.training.data.batches import BadSample, Batch
from vary.training.ema import WeightAverage
from vary.training.logs import RunLog
from vary.training.settings import Clock, RunSettings

__all__ = ["Evaluate", "Losses", "Progress", "Stream", "Training", "train"]

SCALER_PATIENCE = 30
"""Steps that fp16's loss scaling may skip in a row before a run is given up."""
FEW_SAMPLES = 100
"""Bad samples are judged against at least so many, so that the first one does not stop a run."""


class Evaluate(Protocol):
    """Figures of a model under way; `names` are those that it returns."""

    names: tuple[str, ...]

    def __call__(self, model: nn.Module, step: int) -> dict[str, float]: ...


Losses = Callable[[nn.Module, Any, Mapping[str, int]], dict[str, Tensor]]
"""A batch's losses, each divided by what the counts of the whole step say."""
Stream = Iterator[tuple[Sequence[Batch], Position]]
"""This process' batches of a step, and the position after it."""
Progress = Callable[[Mapping[str, Any]], None]
"""Called by the main process with a row of the log, and `steps`, those of the whole run."""


@dataclass(slots=True)
class Training:
    """What a run consists of, besides its settings.

    Attributes:
        model: in training it is wrapped and moved by the accelerator.
        optimizer: over the parameters that are trained.
        stream: the batches.
        losses: what is minimised.
        names: the losses' names, for the log.
        weights: the share of each loss in the sum; 1 where not named.
        steps: of the whole run.
        frozen: modules that stay in evaluation mode.
        cost: floating point operations of a batch, forward and backward, for the log's `mfu`; None without.
        scaler: the state of fp16's loss scaling to go on with.
        average: the moving average of the weights, or None.
        restore: called when the model is prepared: loads shares of a checkpoint, where each process has one.
        clock: how far the run has come, where the stream asks it too; None: the loop has one of its own.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    stream: Stream
    losses: Losses
    names: tuple[str, ...]
    weights: Mapping[str, float]
    steps: int
    frozen: Sequence[nn.Module] = ()
    cost: Callable[[Any], float] | None = None
    scaler: dict[str, Any] | None = None
    average: WeightAverage | None = None
    restore: Callable[[], None] | None = None
    clock: Clock | None = None


def train(
    run: Training,
    settings: RunSettings,
    accelerator: Accelerator,
    folder: Path,
    *,
    position: Position,
    evaluate: Evaluate | None = None,
    progress: Progress = lambda _: None,
) -> Position:
    """Steps through the stream until `run.steps` are done, or `settings.time_limit` is over.

    Writes the log and checkpoints into `folder`.  Returns the last position.

    Raises:
        TrainingError: on a loss or gradient that is not finite, on too many bad samples, on a stream that
            ends early, or if a checkpoint cannot be written.
    """
    clock = run.clock or Clock(run.steps, 60 * settings.time_limit)
    clock.seconds = position.seconds
    if clock.over(position.step):  # a run that was finished is resumed
        return position
    prepared, optimizer = accelerator.prepare(run.model, run.optimizer)
    if run.scaler is not None and accelerator.scaler is not None:
        accelerator.scaler.load_state_dict(run.scaler)
    if run.restore is not None:
        run.restore()
    if run.average is not None:
        run.average.to(accelerator.device)
    show = progress if accelerator.is_main_process else _unseen
    names = (*run.names, *(evaluate.names if evaluate else ()))
    with RunLog(folder, names, settings, accelerator, position) as log:
        started, before, skipped = time.monotonic(), position.seconds, 0
        for batches, place in run.stream:
            step = place.step
            clock.seconds = _agreed(before + time.monotonic() - started, clock, accelerator)
            rate = clock.learning_rate(step - 1, settings)
            _set_rate(optimizer, rate)
            counts = _counted(batches, accelerator)
            log.note_bad(batches, step)
            totals = {name: position.totals.get(name, 0) + value for name, value in counts.items()}
            _check_bad(totals, settings.max_bad_share, log.newest_bad)
            _seed(settings.seed, step, accelerator.process_index)
            _train_mode(prepared, run.frozen)
            losses, norm = _one_step(run, prepared, optimizer, batches, counts, accelerator, settings, step)
            skipped = skipped + 1 if accelerator.optimizer_step_was_skipped else 0
            _check_finite(losses, norm, batches, step, skipped, scaled=accelerator.scaler is not None)
            if run.average is not None:
                run.average.update(accelerator.unwrap_model(prepared), step)
            clock.seconds = _agreed(before + time.monotonic() - started, clock, accelerator)
            position = replace(place, totals=totals, seconds=clock.seconds)
            last = clock.over(step)
            log.add(losses, counts, sum(map(run.cost, batches)) if run.cost else 0.0)
            judged = bool(evaluate and settings.evaluate_every) and (
                last or step % settings.evaluate_every == 0
            )
            if last or judged or step % settings.log_every == 0:
                figures = _judge(run, accelerator.unwrap_model(prepared), evaluate, step) if judged else {}
                show(log.write(position, rate, norm, figures) | {"steps": run.steps})
            if settings.save_every and (last or step % settings.save_every == 0):
                _save(run, prepared, optimizer, accelerator, folder, position, settings.keep)
            if last:
                return position
    raise TrainingError(
        f"the data ended after step {position.step} of {run.steps}; give more, or fewer steps"
    )


def _agreed(seconds: float, clock: Clock, accelerator: Accelerator) -> float:
    """The time of the run; one that ends by it ends at the same step in every process."""
    if not clock.limit or accelerator.num_processes == 1:
        return seconds
    return float(accelerator.reduce(torch.tensor(seconds, device=accelerator.device), "mean"))


def _unseen(row: Mapping[str, Any]) -> None:
    """What a process shows that is not the main one."""


def _one_step(
    run: Training,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch],
    counts: Mapping[str, int],
    accelerator: Accelerator,
    settings: RunSettings,
    step: int,
) -> tuple[dict[str, float], float]:
    """Forward, backward and a step of the optimizer; the step's losses over all processes, and the norm.

    The process waits for the device once, where it reads these; the optimizer's step is under way while the
    next batch is fetched.
    """
    parts_of: dict[str, list[Tensor]] = {name: [] for name in run.names}
    sums, norm = dict.fromkeys(run.names, 0.0), 0.0
    for batch in batches:
        with accelerator.accumulate(model):
            parts = run.losses(model, batch.to(accelerator.device), counts)
            total = sum((run.weights.get(name, 1.0) * part for name, part in parts.items()), torch.zeros(()))
            # Gradients are averaged over processes and accumulations, but these losses are parts of a sum.
            scale = accelerator.num_processes * accelerator.gradient_accumulation_steps
            accelerator.backward(total * scale)
            for name, part in parts.items():
                parts_of[name].append(part.detach())
            if accelerator.sync_gradients:
                found = accelerator.clip_grad_norm_(model.parameters(), settings.clip)
                sums, norm = _read(parts_of, found)
                # A step with a gradient that is not a number would spoil the weights: it is looked at first.
                if accelerator.scaler is None and not math.isfinite(norm):
                    break
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return _summed(sums, accelerator), norm


def _read(
    parts: Mapping[str, Sequence[Tensor]], norm: Tensor | float | None
) -> tuple[dict[str, float], float]:
    """The losses, added up over the batches, and the norm, in one transfer from the device."""
    flat = [part for found in parts.values() for part in found]
    reference = flat[0]
    last = torch.as_tensor(0.0 if norm is None else norm, dtype=reference.dtype, device=reference.device)
    *values, size = torch.stack([*flat, last.reshape(())]).tolist()
    sums, begin = {}, 0
    for name, found in parts.items():
        sums[name] = sum(values[begin : begin + len(found)])
        begin += len(found)
    return sums, size


def _summed(values: dict[str, Any], accelerator: Accelerator) -> dict[str, Any]:
    """Numbers added over all processes; of a single one they stay off the device."""
    alone = accelerator.num_processes == 1
    numbers = torch.tensor(list(values.values()), device="cpu" if alone else accelerator.device)
    together = numbers if alone else accelerator.reduce(numbers, "sum")
    return dict(zip(values, together.tolist(), strict=True))


def _counted(batches: Sequence[Batch], accelerator: Accelerator) -> dict[str, int]:
    """What a step holds, over all batches and processes."""
    names = sorted({name for batch in batches for name in batch.counts})
    local = {name: sum(batch.counts[name] for batch in batches) for name in names}
    counts = _summed(local | {"bad": sum(len(batch.bad) for batch in batches)}, accelerator)
    return counts | {"answer": max(1, counts["answer"]), "samples": max(1, counts["samples"])}


def _check_bad(totals: Mapping[str, int], share: float, newest: BadSample | None) -> None:
    """Raises TrainingError if more than a share of all samples could not be learned from."""
    bad, seen = totals.get("bad", 0), totals.get("bad", 0) + totals.get("samples", 0)
    if bad > share * max(seen, FEW_SAMPLES):
        example = f", such as {newest.name}: {newest.reason}" if newest else ""
        raise TrainingError(
            f"{bad} of {seen} samples cannot be learned from{example}; bad_samples.csv lists them: mend the "
            f"data, or allow a larger share than {share:g} (max_bad_share)"
        )


def _check_finite(
    losses: Mapping[str, float],
    norm: float,
    batches: Sequence[Batch],
    step: int,
    skipped: int,
    *,
    scaled: bool,
) -> None:
    """Raises TrainingError, naming the batches, if the loss or the gradient is not finite.

    Loss scaling meets gradients beyond fp16's range as it looks for its scale, and skips such steps: only
    many in a row are an error.
    """
    finite = all(map(math.isfinite, losses.values()))
    if finite and (math.isfinite(norm) or (scaled and skipped < SCALER_PATIENCE)):
        return
    parts = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
    raise TrainingError(
        f"step {step}: the loss or its gradient is not finite ({parts}, gradient norm {norm:.4g}) at "
        f"{'; '.join(batch.name for batch in batches)}; resume from the last checkpoint with a lower rate, "
        "or look at that batch"
    )


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _seed(seed: int, step: int, rank: int) -> None:
    """Makes dropout depend on the step alone, so that a resumed run does as one that was not cut."""
    torch.manual_seed((seed * 1_000_003 + step) * 4099 + rank)


def _train_mode(model: nn.Module, frozen: Sequence[nn.Module]) -> None:
    model.train()
    for module in frozen:
        module.eval()


def _judge(run: Training, model: nn.Module, evaluate: Evaluate | None, step: int) -> dict[str, float]:
    """The figures of the model as it would be exported."""
    assert evaluate is not None
    model.eval()
    if run.average is None:
        return evaluate(model, step)
    with run.average.applied(model):
        return evaluate(model, step)


def _save(
    run: Training,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
    folder: Path,
    position: Position,
    keep: int,
) -> None:
    """Writes a checkpoint, by the first process where the others hold the same, and where each stands."""
    from vary.training.parallel import is_sharded, save_sharded

    position = replace(position, ranks=gather_object([[position.pool, position.batch]]))
    if is_sharded(accelerator):
        save_sharded(accelerator, folder, position, keep=keep)
    elif accelerator.is_main_process:
        scaler = accelerator.scaler
        state = {
            "optimizer": optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "average": None if run.average is None else run.average.weights,
        }
        write_checkpoint(folder, accelerator.unwrap_model(model), state, position, keep=keep)
    accelerator.wait_for_everyone()
