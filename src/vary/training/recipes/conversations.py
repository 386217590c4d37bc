"""The common part of all recipes that learn from whole pages and conversations."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import PartialState
from accelerate.utils import set_seed
from torch import nn

from vary.errors import TrainingError
from vary.inputs.tasks import LANGUAGES, TASKS
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.processing import VaryProcessor
from vary.training.adapters import LoraSettings, add_lora, merge_lora, save_adapter
from vary.training.checkpoints import Position
from vary.training.cost.flops import batch_cost
from vary.training.cost.shapes import layers_used
from vary.training.data.batches import BatchPlan, ConversationBatch, MicroBatches
from vary.training.data.examples import ExampleBuilder
from vary.training.data.sources import DataSource, Mixture
from vary.training.ema import WeightAverage
from vary.training.loop import Evaluate, Progress, Training, train
from vary.training.losses import conversation_losses
from vary.training.parallel import is_sharded, load_sharded, make_accelerator
from vary.training.running import (
    MODEL_FOLDER,
    RunFolder,
    checkpoint_activations,
    compile_layers,
    export_model,
    finish_state,
    frozen_mark,
    make_optimizer,
    stop_ids,
)
from vary.training.settings import RunSettings

__all__ = ["DEBUG_SAMPLES", "PARTS", "ConversationRecipe", "Part", "example_builder", "train_conversations"]

Part = Literal["vision_vocabulary", "clip", "projector", "decoder"]
PARTS: tuple[Part, ...] = ("vision_vocabulary", "clip", "projector", "decoder")
DEBUG_SAMPLES = 8
ADAPTER_FOLDER = "adapter"
CLIP_LAYER = re.compile(r"model\.clip\..*layers\.(\d+)\.")
CLIP_END = re.compile(r"model\.clip\..*post_layernorm\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationRecipe:
    """A stage of training on pages and conversations.

    Attributes:
        data: the sources, each with its weight.
        trained: the parts of the model that are trained; the others are frozen.
        epochs: how often the data is shown; with `settings.steps` given, that counts.
        batch: samples a step, over all processes and accumulations.
        pool_steps: steps whose samples are sorted by length together, so that a batch has like lengths.
        max_length: the longest sample in tokens, the image's among them; None: the model's positions.
        cut: cuts longer samples off, and learns what is left without an end; else they count as bad.
        layout: the prompt layout; None for the checkpoint's own.
        keep_examples: keeps every example once it is built, pixels and all: for few samples shown often.
        lora: adapters on the decoder instead of training it whole; None trains it whole.
        export_dtype: of the weights of the model that comes out.
        debug: the whole way in little: the first samples only, a few steps, every step in the log.
        settings: how to step.
    """

    data: tuple[DataSource, ...]
    trained: tuple[Part, ...]
    epochs: float
    batch: int = 512
    pool_steps: int = 16
    max_length: int | None = None
    cut: bool = True
    layout: str | None = None
    keep_examples: bool = False
    lora: LoraSettings | None = None
    export_dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    debug: bool = False
    settings: RunSettings = field(default_factory=RunSettings)

    def __post_init__(self) -> None:
        if unknown := [part for part in self.trained if part not in PARTS]:
            raise TrainingError(f"no part {unknown[0]!r} to train; there are {', '.join(PARTS)}")
        if not self.data:
            raise TrainingError("no data to learn from; give at least one source")
        if self.batch < 1 or self.pool_steps < 1 or not self.epochs > 0:
            raise TrainingError(
                f"batch {self.batch}, pool_steps {self.pool_steps}, epochs {self.epochs}: expected above 0"
            )

    def for_debugging(self) -> ConversationRecipe:
        """The same recipe in little, where `debug` asks for it."""
        if not self.debug:
            return self
        settings = replace(
            self.settings,
            steps=min(self.settings.steps or 20, 20),
            micro_batch=min(self.settings.micro_batch, 2),
            workers=0,
            log_every=1,
            save_every=10,
            evaluate_every=10,
        )
        return replace(self, batch=min(self.batch, 4), settings=settings)


def train_conversations(
    recipe: ConversationRecipe,
    model: VaryForConditionalGeneration,
    processor: VaryProcessor,
    folder: Path,
    *,
    resume: bool = False,
    evaluate: Evaluate | None = None,
    progress: Progress = lambda _: None,
    cpu: bool = False,
) -> VaryForConditionalGeneration:
    """Runs a stage in `folder` and returns the trained model; `folder/model` holds it, ready to be read with.

    Args:
        recipe: what to do.
        model: with the weights to begin from; it is trained in place.
        processor: the model's.
        folder: for the log, the checkpoints, the model, and what they came from.
        resume: go on from the newest checkpoint of `folder`, or start if there is none.
        evaluate: called with the model every `evaluate_every` steps; its figures go into the log.
        progress: called with every row of the log.
        cpu: keep off a GPU that is there.

    Raises:
        TrainingError: on settings that do not fit the model or the processes, a folder that holds another
            run, data that cannot be learned from, or a loss that is not finite.
        DataError: for data that is not there.
    """
    recipe = recipe.for_debugging()
    settings = recipe.settings
    _check_model(model, recipe)
    cpu = cpu or not torch.cuda.is_available()
    world = _world_size(cpu)
    per_step = _per_step(recipe, world)
    accelerator = make_accelerator(settings, accumulation=per_step // world, cpu=cpu)
    recorded = asdict(recipe)
    run = RunFolder.open(folder, recorded, resume=resume, sharded=is_sharded(accelerator))
    accelerator.wait_for_everyone()
    set_seed(settings.seed)
    frozen = freeze(model, recipe.trained)
    handle = None if recipe.lora is None else add_lora(model, recipe.lora)
    model.float()
    if settings.gradient_checkpointing:
        checkpoint_activations(model)
    optimizer = make_optimizer(model, settings)
    average = WeightAverage(model, settings.ema_decay) if settings.ema_decay else None
    if not is_sharded(accelerator):
        run.restore(model, optimizer, average)
    if settings.compile:
        compile_layers(model)
    mixture = Mixture.open(recipe.data, seed=settings.seed)
    if recipe.debug:
        mixture = mixture.first(DEBUG_SAMPLES)
    plan = _plan(recipe, mixture, per_step)
    builder = example_builder(recipe, model, processor)
    batches = MicroBatches(
        mixture,
        builder,
        plan,
        pad_id=model.config.text_config.pad_token_id or 0,
        keep_examples=recipe.keep_examples,
    )
    sources, mark = mixture.describe(), frozen_mark(model)
    run.check_start(sources, mark)
    if accelerator.is_main_process:
        run.write(recorded, sources, mark)
    training = Training(
        model=model,
        optimizer=optimizer,
        stream=_stream(batches, run.position, accelerator.process_index, world, settings.workers),
        losses=conversation_losses,
        names=("loss",),
        weights={},
        steps=plan.steps,
        frozen=frozen,
        cost=batch_cost(
            model.config, recipe.trained, lora_rank=0 if recipe.lora is None else recipe.lora.rank
        ),
        scaler=run.state.get("scaler"),
        average=average,
        restore=partial(load_sharded, accelerator, run.checkpoint)
        if run.checkpoint is not None and is_sharded(accelerator)
        else None,
    )
    position = train(
        training, settings, accelerator, folder, position=run.position, evaluate=evaluate, progress=progress
    )
    state = finish_state(accelerator, model, average)
    if accelerator.is_main_process:
        model.load_state_dict(state)
        if handle is not None:
            save_adapter(handle, folder / ADAPTER_FOLDER)
            model = merge_lora(handle)
        export_model(
            model,
            processor,
            folder / MODEL_FOLDER,
            version=f"{time.strftime('%Y.%m.%d')}, seed {settings.seed}, step {position.step}",
            dtype=recipe.export_dtype,
            changes=_learned(model, builder, position),
        )
    accelerator.wait_for_everyone()
    return model


def freeze(model: VaryForConditionalGeneration, trained: Sequence[Part]) -> list[nn.Module]:
    """Freezes all parts but those named, and returns the vision networks among the frozen."""
    parts: dict[str, list[nn.Module]] = {
        "vision_vocabulary": [model.model.vision_vocabulary],
        "clip": [] if model.model.clip is None else [model.model.clip],
        "projector": [model.model.projector],
        "decoder": [model.model.language_model, model.lm_head],
    }
    frozen = []
    for name, modules in parts.items():
        for module in modules:
            module.requires_grad_(name in trained)
            if name in {"vision_vocabulary", "clip"} and name not in trained:
                frozen.append(module)
    _freeze_unused(model)
    return frozen


def _freeze_unused(model: VaryForConditionalGeneration) -> None:
    """Freezes what of CLIP lies behind the layer that is read: it has no gradient, which processes would wait
    for."""
    used = layers_used(model.config)
    for name, parameter in model.named_parameters():
        layer = CLIP_LAYER.match(name)
        if (layer and int(layer[1]) >= used) or CLIP_END.match(name):
            parameter.requires_grad_(False)


def example_builder(
    recipe: ConversationRecipe, model: VaryForConditionalGeneration, processor: VaryProcessor
) -> ExampleBuilder:
    """What turns samples into examples for a model, as a recipe has them."""
    return ExampleBuilder(
        processor,
        stop_ids(model),
        max_length=_max_length(recipe, model),
        cut=recipe.cut,
        layout=recipe.layout,
    )


def _check_model(model: VaryForConditionalGeneration, recipe: ConversationRecipe) -> None:
    if model.config.window == "lines":
        raise TrainingError(
            "this model reads text lines; `vary train lines` trains it, this recipe trains models that read "
            "whole pages"
        )
    if model.model.vision_vocabulary.ctc is not None and "vision_vocabulary" in recipe.trained:
        raise TrainingError(
            "this model has a CTC branch, which only `vary train lines` trains; take it out, "
            "or freeze the vision vocabulary"
        )


def _world_size(cpu: bool) -> int:
    """How many processes were launched together; the first to ask also says where they compute."""
    return int(PartialState(cpu=cpu).num_processes)


def _per_step(recipe: ConversationRecipe, world: int) -> int:
    """How many micro-batches a step has, over all processes."""
    micro = recipe.settings.micro_batch
    if recipe.batch % (micro * world):
        raise TrainingError(
            f"a step of {recipe.batch} samples cannot be cut into micro-batches of {micro} on {world} "
            f"process(es); choose a batch that is a multiple of {micro * world}, or another micro_batch"
        )
    return recipe.batch // micro


def _plan(recipe: ConversationRecipe, mixture: Mixture, per_step: int) -> BatchPlan:
    """How the samples of the mixture are put into steps: as many steps as asked for, or as epochs have."""
    settings = recipe.settings
    samples = None if settings.steps else max(1, round(recipe.epochs * mixture.epoch_size))
    return BatchPlan(
        micro_batch=settings.micro_batch,
        per_step=per_step,
        steps=settings.steps or -(-(samples or 0) // recipe.batch),
        samples=samples,
        pool_steps=recipe.pool_steps,
        seed=settings.seed,
    )


def _max_length(recipe: ConversationRecipe, model: VaryForConditionalGeneration) -> int:
    positions: int = model.config.text_config.max_position_embeddings
    if recipe.max_length is not None and recipe.max_length > positions:
        raise TrainingError(f"max_length is {recipe.max_length}, but the decoder has {positions} positions")
    return recipe.max_length or positions


def _stream(
    batches: MicroBatches, position: Position, rank: int, world: int, workers: int
) -> Iterator[tuple[list[ConversationBatch], Position]]:
    """This process' micro-batches, step after step, with the position after each."""
    per_rank = batches.plan.per_step // world
    found = batches.iterate(position.step, rank, world, workers)
    for step in range(position.step + 1, batches.plan.steps + 1):
        yield [next(found) for _ in range(per_rank)], Position(step=step)


def _learned(
    model: VaryForConditionalGeneration, builder: ExampleBuilder, position: Position
) -> dict[str, Any]:
    """The tasks and languages of a model after a run: those that it had, and those that it has seen."""
    seen = [task for task in TASKS if position.totals.get(f"task {task}")]
    languages = [name for name in LANGUAGES if position.totals.get(f"language {name}")]
    changes: dict[str, Any] = {
        "tasks": tuple(dict.fromkeys([*(model.config.tasks or ()), *seen])),
        "languages": tuple(dict.fromkeys([*(model.config.languages or ()), *languages])),
    }
    if not builder.takes_prompt:  # it is shown the page and nothing else
        changes["prompts"] = dict.fromkeys(changes["tasks"], "")
    return changes
