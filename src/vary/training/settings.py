"""What every recipe has to say about its steps, whatever it trains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vary.errors import TrainingError

__all__ = ["MAY_CHANGE", "Clock", "Parallel", "Precision", "RunSettings", "Schedule", "learning_rate"]

Precision = Literal["no", "bf16", "fp16"]
Schedule = Literal["cosine", "trapezoid", "constant"]
Parallel = Literal["ddp", "fsdp2", "zero2"]

MAY_CHANGE = (
    *("steps", "workers", "log_every", "save_every", "keep", "evaluate_every", "compile", "tensorboard"),
    *("time_limit", "max_bad_share", "sampled_rows", "keep_examples"),
)
"""Settings that a resumed run may have otherwise than when it began.

`steps` may not come or go: without them the data ends with its last epoch.  `micro_batch` stays, for which
samples a step has depends on it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How a run steps.  The defaults are the papers' (arXiv 2312.06109 and 2401.12503) where they have one.

    Attributes:
        steps: optimizer steps of the whole run; None: as many as the data and the epochs give.
        time_limit: minutes after which the run ends if its steps have not ended it; 0: none.  Then the rate
            and the curriculum follow the steps or the clock, whichever is further: give more steps than there
            is time for, and the rate has fallen when the time is up.  A resumed run counts the time before.
        learning_rate: its peak.
        schedule: `cosine` falls from the peak to `final_fraction` of it; `trapezoid` stays at the peak and
            falls linearly in the last `decay_fraction` of the run; `constant` stays.
        warmup_fraction: the share of the run in which the rate rises linearly from 0.
        decay_fraction: see `schedule`.
        final_fraction: where the rate ends, as a share of its peak.
        betas, weight_decay: AdamW's.
        clip: the largest norm of the gradient.
        micro_batch: samples that one process computes at once; how many a step has is the recipe's.
        precision: of the arithmetic: `bf16` and `fp16` are mixed with float32 weights, `no` is float32.
        gradient_checkpointing: computes activations anew in the backward pass, for less memory.
        ema_decay: keeps an average of the weights over about 1 / (1 - decay) steps, and exports it; 0: none.
            With `ddp` alone.
        compile: compiles the layers; for long runs on a GPU: on a CPU it was slower than eager mode.
        parallel: how several processes share the model: `ddp` (each has the whole), `fsdp2`, `zero2`.
        seed: of new weights, of the data's order and of dropout.
        workers: processes that make batches; 0 makes them between the steps.
        log_every, save_every, evaluate_every: in steps; 0 switches saving or evaluating off.
        keep: how many checkpoints stay.
        tensorboard: writes the figures for TensorBoard too.
        max_bad_share: more samples than this share that cannot be learned from stop the run.
    """

    steps: int | None = None
    time_limit: float = 0.0
    learning_rate: float = 5e-5
    schedule: Schedule = "cosine"
    warmup_fraction: float = 0.03
    decay_fraction: float = 0.5
    final_fraction: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip: float = 1.0
    micro_batch: int = 8
    precision: Precision = "bf16"
    gradient_checkpointing: bool = False
    ema_decay: float = 0.0
    compile: bool = False
    parallel: Parallel = "ddp"
    seed: int = 0
    workers: int = 1
    log_every: int = 10
    save_every: int = 500
    evaluate_every: int = 500
    keep: int = 2
    tensorboard: bool = True
    max_bad_share: float = 0.01

    def __post_init__(self) -> None:
        _check(self.steps is None or self.steps >= 1, f"steps is {self.steps}, expected at least 1")
        _check(self.time_limit >= 0, f"time_limit is {self.time_limit}, expected minutes, 0 for none")
        _check(self.micro_batch >= 1, f"micro_batch is {self.micro_batch}, expected at least 1")
        for name in ("warmup_fraction", "decay_fraction", "final_fraction", "max_bad_share"):
            value = getattr(self, name)
            _check(0 <= value <= 1, f"{name} is {value}, expected 0 to 1")
        _check(0 <= self.ema_decay < 1, f"ema_decay is {self.ema_decay}, expected 0 to below 1")
        _check(self.learning_rate > 0, f"learning_rate is {self.learning_rate}, expected above 0")
        _check(self.clip > 0, f"clip is {self.clip}, expected above 0")
        _check(
            not self.ema_decay or self.parallel == "ddp",
            f"ema_decay is {self.ema_decay}, which needs parallel ddp: with {self.parallel} no process holds "
            "the weights to average",
        )


def _check(fine: bool, message: str) -> None:
    if not fine:
        raise TrainingError(message)


CLOCK_WARMUP = 100
"""Steps over which the rate rises at least in a run by the clock: the first ones take long, and by their time
the run would seem to have few."""


@dataclass(slots=True)
class Clock:
    """How far a run has come: by its steps, or by its time where that is limited.

    Attributes:
        steps: of the whole run, at most.
        limit: seconds of the whole run; 0: any number.
        seconds: spent so far.
    """

    steps: int
    limit: float = 0.0
    seconds: float = 0.0

    def share(self, step: int) -> float:
        """The share of the run that is over when `step` steps are done, 0 to 1."""
        by_time = self.seconds / self.limit if self.limit else 0.0
        return min(1.0, max(step / self.steps, by_time))

    def over(self, step: int) -> bool:
        """Whether step `step` was the last one."""
        return step >= self.steps or bool(self.limit and self.seconds >= self.limit)

    def learning_rate(self, step: int, settings: RunSettings) -> float:
        """The rate of the next step after `step` steps."""
        if not self.limit or (share := self.share(step)) <= step / self.steps:
            return learning_rate(step, self.steps, settings)
        rate = learning_rate(step, max(step + 1, round(step / share)), settings)
        return rate * min(1.0, (step + 1) / CLOCK_WARMUP)


def learning_rate(step: int, steps: int, settings: RunSettings) -> float:
    """The rate of step `step` of `steps`, counted from 0."""
    warmup = settings.warmup_fraction * steps
    rise = min(1.0, (step + 1) / max(1.0, warmup))
    if settings.schedule == "cosine":
        done = min(1.0, max(0.0, step - warmup) / max(1.0, steps - warmup))
        shape = 0.5 * (1 + math.cos(math.pi * done))
        shape = settings.final_fraction + (1 - settings.final_fraction) * shape
    elif settings.schedule == "trapezoid":
        left = (steps - step) / max(1.0, settings.decay_fraction * steps)
        shape = max(settings.final_fraction, min(1.0, left))
    else:
        shape = 1.0
    return settings.learning_rate * rise * shape
