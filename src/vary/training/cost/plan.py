"""What a stage of training takes: memory in each GPU, floating point operations, steps and time.

Everything follows from the configuration, the description of the stage and a table of GPUs; nothing is loaded
or run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from vary.errors import TrainingError
from vary.model.configuration import VaryConfig
from vary.model.modeling import VaryForConditionalGeneration
from vary.training.cost.activations import Activations, Arithmetic, saved_activations
from vary.training.cost.flops import NOTHING, Flops, step_breakdown
from vary.training.cost.gpus import Gpu, known_gpus
from vary.training.cost.memory import Memory, ModelSize, static_memory
from vary.training.cost.shapes import DecoderShape, meta_model
from vary.training.cost.stages import Stage
from vary.training.settings import Parallel, Precision

__all__ = ["UTILISATION", "Choice", "Plan", "Setup", "plan_stage"]

UTILISATION = 0.35
"""Share of a GPU's peak speed at which products are computed, unless given: what transformers of this size
commonly reach (30 to 50%), and the lower end of it, since data, norms and exchange take time too."""
CONTEXT_BYTES = 1 << 30
"""What the driver, its libraries and the exchange between processes take besides tensors, about."""
FRAGMENTED = 0.05
"""Share of a GPU's memory that is lost between tensors, about."""
PARALLEL: tuple[Parallel, ...] = ("ddp", "fsdp2", "zero2")
LORA_RANK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Where and how a stage runs.

    Attributes:
        gpu: the kind of GPU.
        gpus: how many.
        parallel: how they share the model; with one there is nothing to share.
        micro_batch: samples that a GPU computes at once; None takes the largest that fits.
        precision, gradient_checkpointing: as in `RunSettings`.
        average: keeps a moving average of the weights.
        lora_rank: of adapters on the decoder; 0 trains it whole.
        utilisation: the share of the peak speed at which products are computed, recomputed ones too.
    """

    gpu: Gpu
    gpus: int = 8
    parallel: Parallel = "ddp"
    micro_batch: int | None = None
    precision: Precision = "bf16"
    gradient_checkpointing: bool = False
    average: bool = False
    lora_rank: int = 0
    utilisation: float = UTILISATION

    def __post_init__(self) -> None:
        if self.gpus < 1 or (self.micro_batch is not None and self.micro_batch < 1) or self.lora_rank < 0:
            raise TrainingError(
                f"gpus {self.gpus}, micro_batch {self.micro_batch}, lora_rank {self.lora_rank}: expected at "
                "least 1 GPU and 1 sample, and no negative rank"
            )
        if not 0 < self.utilisation <= 1:
            raise TrainingError(f"utilisation is {self.utilisation}, expected above 0 and at most 1")
        if self.parallel not in PARALLEL:
            raise TrainingError(f"no way {self.parallel!r} to share a model; there are {', '.join(PARALLEL)}")

    @property
    def usable(self) -> float:
        """Bytes of a GPU's memory that tensors may take."""
        return (1 - FRAGMENTED) * self.gpu.memory - CONTEXT_BYTES


@dataclass(frozen=True, slots=True)
class Choice:
    """A way to run the stage.

    Attributes:
        parallel, gradient_checkpointing, lora_rank: the way.
        largest: samples that a GPU can compute at once; 0 where not even one fits.
        memory: bytes at that, or with one sample.
        hours: of the whole stage.
    """

    parallel: Parallel
    gradient_checkpointing: bool
    lora_rank: int
    largest: int
    memory: float
    hours: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What a stage takes.

    Attributes:
        stage, setup: what was planned.
        size: of the model, by part.
        micro_batch: samples a GPU computes at once.
        accumulation: micro-batches that it computes for a step.
        memory: of a GPU, by what holds it, with a micro-batch of the longest samples.
        largest: the largest micro-batch that fits and divides a step; 0 for none.
        flops: floating point operations of an average step, by part and pass.
        tokens: of the whole stage.
        choices: the ways to run it, this one among them.
        remedies: what would fit, if this does not; otherwise empty.
    """

    stage: Stage
    setup: Setup
    size: ModelSize
    micro_batch: int
    accumulation: int
    memory: Memory
    largest: int
    flops: dict[str, Flops]
    tokens: float
    choices: tuple[Choice, ...]
    remedies: tuple[str, ...]

    @property
    def fits(self) -> bool:
        return self.memory.total <= self.setup.usable

    @property
    def step_flops(self) -> float:
        return sum(part.total for part in self.flops.values())

    @property
    def total_flops(self) -> float:
        return self.step_flops * self.stage.samples / self.stage.batch

    @property
    def step_seconds(self) -> float:
        return _seconds(self.step_flops, self.setup)

    @property
    def hours(self) -> float:
        """Of the whole stage on all GPUs."""
        return _seconds(self.total_flops, self.setup) / 3600

    @property
    def mfu(self) -> float:
        """The share of the peak speed without what is computed a second time (arXiv 2204.02311)."""
        again = sum(part.recomputed for part in self.flops.values())
        return self.setup.utilisation * (1 - again / self.step_flops)

    def record(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            **asdict(self),
            "fits": self.fits,
            "usable": self.setup.usable,
            "total_memory": self.memory.total,
            "steps": self.stage.steps,
            "samples": self.stage.samples,
            "step_flops": self.step_flops,
            "total_flops": self.total_flops,
            "step_seconds": self.step_seconds,
            "hours": self.hours,
            "gpu_hours": self.hours * self.setup.gpus,
            "mfu": self.mfu,
        }


def plan_stage(config: VaryConfig, stage: Stage, setup: Setup) -> Plan:
    """What `stage` takes on the GPUs of `setup`, and what would fit if it does not.

    Communication between GPUs, the making of batches and evaluation are not in the time.

    Raises:
        TrainingError: for a model that reads lines, a step that cannot be shared among the GPUs, samples
            longer than the model's positions, or a decoder whose cost cannot be told.
    """
    planner = _Planner(config, stage)
    share = _share(stage, setup)
    if setup.micro_batch is not None and share % setup.micro_batch:
        raise TrainingError(
            f"a step has {share} samples for each of {setup.gpus} GPUs, which micro-batches of "
            f"{setup.micro_batch} do not divide; choose one of {', '.join(map(str, _divisors(share)))}"
        )
    largest = planner.largest(setup)
    micro = setup.micro_batch or largest or 1
    plan = Plan(
        stage=stage,
        setup=setup,
        size=planner.size(setup.lora_rank),
        micro_batch=micro,
        accumulation=share // micro,
        memory=planner.memory(setup, micro),
        largest=largest,
        flops=planner.step(setup),
        tokens=planner.sample_tokens * stage.samples,
        choices=tuple(planner.choice(way) for way in _ways(setup)),
        remedies=(),
    )
    return plan if plan.fits else replace(plan, remedies=tuple(planner.remedies(setup, micro)))


def _seconds(flops: float, setup: Setup) -> float:
    return flops / (setup.gpus * setup.utilisation * setup.gpu.speed(setup.precision))


def _share(stage: Stage, setup: Setup) -> int:
    """A GPU's samples of a step."""
    if stage.batch % setup.gpus:
        raise TrainingError(
            f"a step of {stage.batch} samples cannot be shared among {setup.gpus} GPUs; choose a batch that "
            f"is a multiple of {setup.gpus}"
        )
    return stage.batch // setup.gpus


def _divisors(number: int) -> list[int]:
    return [part for part in range(1, number + 1) if number % part == 0]


def _ways(setup: Setup) -> Iterator[Setup]:
    """The ways to share a model, each without and with gradient checkpointing."""
    for parallel in PARALLEL if setup.gpus > 1 else (setup.parallel,):
        for again in (False, True):
            yield replace(setup, parallel=parallel, gradient_checkpointing=again)


class _Planner:
    """What a stage takes in any setup; what does not depend on that is computed once."""

    def __init__(self, config: VaryConfig, stage: Stage, like: _Planner | None = None) -> None:
        """`like` is a planner for the same model and parts, from which what it has computed is taken."""
        if config.window == "lines":
            raise TrainingError(
                "this model reads text lines, whose width varies; stages are planned for models that read "
                "whole pages"
            )
        positions: int = config.text_config.max_position_embeddings
        if stage.longest > positions:
            raise TrainingError(
                f"the longest sample has {stage.longest} tokens, but the decoder has {positions} positions"
            )
        self.config, self.stage = config, stage
        self.model: VaryForConditionalGeneration = like.model if like else meta_model(config)
        self.decoder: DecoderShape = like.decoder if like else DecoderShape.of(config, self.model)
        self.lengths = {share: stage.length(share, config.image_seq_length) for share in stage.data}
        self._sizes: dict[int, ModelSize] = like._sizes if like else {}

    @property
    def sample_tokens(self) -> float:
        """Of an average sample."""
        together = sum(length * share.samples for share, length in self.lengths.items())
        return together / self.stage.epoch_samples

    def size(self, lora_rank: int) -> ModelSize:
        if lora_rank not in self._sizes:
            self._sizes[lora_rank] = ModelSize.of(self.config, self.stage.trained, lora_rank, self.model)
        return self._sizes[lora_rank]

    def step(self, setup: Setup) -> dict[str, Flops]:
        """Floating point operations of an average step, by part."""
        total: dict[str, Flops] = {}
        for share, length in self.lengths.items():
            sample = step_breakdown(
                self.config,
                sequences=1,
                length=length,
                images=int(share.image),
                trained=self.stage.trained,
                gradient_checkpointing=setup.gradient_checkpointing,
                lora_rank=setup.lora_rank,
                decoder=self.decoder,
            )
            times = self.stage.batch * share.samples / self.stage.epoch_samples
            for part, flops in sample.by_part().items():
                total[part] = total.get(part, NOTHING) + times * flops
        return total

    def activations(self, setup: Setup, micro_batch: int) -> Activations:
        """Of the longest samples, which the order of samples by length puts together."""
        images = any(share.image for share in self.stage.data)
        return saved_activations(
            self.config,
            sequences=micro_batch,
            length=self.stage.longest,
            images=micro_batch if images else 0,
            trained=self.stage.trained,
            arithmetic=Arithmetic(setup.precision),
            gradient_checkpointing=setup.gradient_checkpointing,
            lora_rank=setup.lora_rank,
            decoder=self.decoder,
        )

    def memory(self, setup: Setup, micro_batch: int) -> Memory:
        return static_memory(
            self.size(setup.lora_rank),
            gpus=setup.gpus,
            parallel=setup.parallel,
            precision=setup.precision,
            average=setup.average,
            activations=self.activations(setup, micro_batch),
        )

    def largest(self, setup: Setup) -> int:
        """The largest micro-batch that fits and divides a GPU's share of a step; 0 if none does."""
        fitting = (
            micro
            for micro in reversed(_divisors(_share(self.stage, setup)))
            if self.memory(setup, micro).total <= setup.usable
        )
        return next(fitting, 0)

    def choice(self, setup: Setup) -> Choice:
        largest = self.largest(setup)
        flops = sum(part.total for part in self.step(setup).values())
        return Choice(
            parallel=setup.parallel,
            gradient_checkpointing=setup.gradient_checkpointing,
            lora_rank=setup.lora_rank,
            largest=largest,
            memory=self.memory(setup, largest or 1).total,
            hours=_seconds(flops * self.stage.samples / self.stage.batch, setup) / 3600,
        )

    def remedies(self, setup: Setup, micro_batch: int) -> Iterator[str]:
        """What makes a setup fit that does not, the cheapest first; each is computed, not guessed."""
        if 0 < (largest := self.largest(setup)) < micro_batch:
            yield f"--micro-batch {largest}"
        for way in self._other_ways(replace(setup, micro_batch=None)):
            if largest := self.largest(way):
                yield f"{_options(way, setup)}, with micro-batches of {largest}"
        half = _Planner(self.config, replace(self.stage, longest=max(1, self.stage.longest // 2)), self)
        again = replace(setup, micro_batch=None, gradient_checkpointing=True)
        if largest := half.largest(again):
            options = f"{_options(again, setup)} --max-length {half.stage.longest}".strip()
            yield f"{options}, with micro-batches of {largest}"
        larger = sorted(
            (gpu for gpu in known_gpus().values() if gpu.memory > setup.gpu.memory), key=lambda g: g.memory
        )
        fitting = [gpu.key for gpu in larger if self.largest(replace(setup, gpu=gpu, micro_batch=None))]
        if fitting:
            yield f"--gpu {fitting[0]}" + (f" (or {', '.join(fitting[1:])})" if fitting[1:] else "")

    def _other_ways(self, setup: Setup) -> Iterator[Setup]:
        """The other ways to share the model, without and with checkpointing; then the same with adapters."""
        ways = [way for way in _ways(setup) if way != setup]
        yield from ways
        if "decoder" in self.stage.trained and not setup.lora_rank:
            for way in (setup, *ways):
                if way.parallel == setup.parallel:
                    yield replace(way, lora_rank=LORA_RANK)


def _options(way: Setup, given: Setup) -> str:
    """The options of a command line that lead from a setup to another."""
    options = []
    if way.parallel != given.parallel:
        options.append(f"--parallel {way.parallel}")
    if way.gradient_checkpointing != given.gradient_checkpointing:
        options.append(f"--{'' if way.gradient_checkpointing else 'no-'}gradient-checkpointing")
    if way.lora_rank != given.lora_rank:
        options.append(f"--lora {way.lora_rank}")
    return " ".join(options)
