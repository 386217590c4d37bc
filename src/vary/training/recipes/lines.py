"""Stage 1 for models that read text lines: everything is trained, with a CTC branch beside the decoder."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from accelerate.utils import set_seed

from vary.datagen.lines.engine import LineEngineConfig
from vary.errors import TrainingError
from vary.model.configuration import VaryConfig
from vary.model.loading import load_model
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.presets import CHINESE_ROWS, nano_processor, preset_config
from vary.model.tokenization import read_tiktoken
from vary.training.checkpoints import Position
from vary.training.cost.flops import batch_cost
from vary.training.data.batches import BadSample
from vary.training.data.line_sources import LineSource, PaintedLines, ShardLines
from vary.training.data.lines import LineBatch, LineFormat, PoolLoader, Stage, line_format
from vary.training.ema import WeightAverage
from vary.training.loop import Evaluate, Progress, Training, train
from vary.training.losses import line_losses
from vary.training.parallel import make_accelerator
from vary.training.running import (
    MODEL_FOLDER,
    RunFolder,
    compile_layers,
    export_model,
    finish_state,
    make_optimizer,
)
from vary.training.settings import Clock, RunSettings

__all__ = ["LinesRecipe", "build_model", "train_lines"]

EMPTY_POOLS = 20
PAGES, PIXELS = 16, 16384
"""Painted pages of a pool for so many columns of a batch: a pool's lines are sorted into several batches."""


def _line_settings() -> RunSettings:
    return RunSettings(
        steps=10_000,
        learning_rate=1.2e-3,
        schedule="trapezoid",
        warmup_fraction=0.04,
        final_fraction=0.02,
        betas=(0.9, 0.98),
        weight_decay=0.01,
        log_every=50,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinesRecipe:
    """Stage 1 for models that read lines.  The defaults are vary-nano's.

    Characters have to be in the encoder's features before the decoder can look at them; so a CTC loss on the
    features stands beside the decoder's, steps are small and many, lines grow.

    Attributes:
        preset: the model to build, unless `init_from` names a checkpoint whose weights to start with.
        init_from: a model folder; its configuration wins over the preset.
        vocab_size: rows of the vocabulary's table; new ones are added behind those that are there.  None
            takes as many as there are, or `CHINESE_ROWS` if those are fewer and Chinese is painted.
        shards: folders written by `vary synth lines`; or
        paint: an engine that paints the lines while the model trains.
        batch_pixels: pixel columns per batch, padding included; a step has one batch for each process.
        max_width: wider lines are left out, pixels.
        ctc_weight: of the CTC loss beside the decoder's 1.
        sampled_rows: compare the characters of a batch with each other, with the Latin rows, and with so many
            drawn from the rest, instead of with the whole table; 0 for the whole.  A Chinese table costs
            almost as much as the rest of vary-nano; the last steps of a run should have the whole.
        stages: the curriculum, shares of the run with the longest line in characters.
        settings: how to step; `micro_batch` has no effect, since batches are counted in pixels.
    """

    preset: str = "vary-nano"
    init_from: Path | None = None
    vocab_size: int | None = None
    shards: tuple[Path, ...] = ()
    paint: LineEngineConfig | None = None
    batch_pixels: int = 8192
    max_width: int = 1536
    ctc_weight: float = 0.5
    sampled_rows: int = 0
    stages: tuple[Stage, ...] = (Stage(0.08, 12), Stage(0.25, 32), Stage(1.0, 200))
    settings: RunSettings = field(default_factory=_line_settings)

    @property
    def steps(self) -> int:
        """Steps of the whole run.

        Raises:
            TrainingError: if the settings have none: painted lines have no end.
        """
        if self.settings.steps is None:
            raise TrainingError("lines are painted without end; say how many steps to train (steps)")
        return self.settings.steps


def build_model(recipe: LinesRecipe, device: torch.device, vocabulary: Path) -> VaryForConditionalGeneration:
    """The model that a run begins with: from other weights, or new; with the rows that it needs.

    Its languages are those that it had, if it comes from a checkpoint, and those that are painted; lines that
    are wider than those of the run it will split when it reads.

    The CPU's fused attention is slow backwards: on sequences as short as a line's it trains several times
    faster written out (`benchmarks/README.md`).
    """
    attention = "eager" if device.type == "cpu" else "sdpa"
    source = recipe.init_from
    if source is not None:
        model = load_model(source, dtype=torch.float32, attention=attention)
        _check_lines(model.config, str(source))
    else:
        config = preset_config(recipe.preset)
        _check_lines(config, recipe.preset)
        config._attn_implementation = attention
        model = VaryForConditionalGeneration(config)
    painted = recipe.paint.languages if recipe.paint else ()
    before = model.config.text_config.vocab_size
    rows = recipe.vocab_size or (max(before, CHINESE_ROWS) if "zh" in painted else before)
    grow_vocabulary(model, rows, vocabulary)
    vision = model.config.vision_vocabulary_config
    widest = min(recipe.max_width, recipe.paint.max_width_px if recipe.paint else vision.width, vision.width)
    model.config.line_width = max(vision.height, widest)
    learned = model.config.languages if source is not None else ()
    model.config.languages = tuple(dict.fromkeys((*learned, *painted))) or model.config.languages
    return model


def grow_vocabulary(model: VaryForConditionalGeneration, rows: int, vocabulary: Path) -> None:
    """Adds rows to the table of embedding, head and CTC classifier up to `rows`; the first stay as they are.

    New rows are drawn as those of a new model are.  `vocabulary` is the `.tiktoken` file of their characters.

    Raises:
        TrainingError: if the table has more rows: taking some away would forget characters; or if the
            vocabulary has too few ids for the new ones.
    """
    before = model.config.text_config.vocab_size
    if rows < before:
        raise TrainingError(
            f"the model has {before} rows of vocabulary, more than the {rows} asked for; "
            f"set vocab_size to {before} or more"
        )
    if rows > before:
        ids = max(read_tiktoken(vocabulary).values()) + 1
        if rows > ids:
            raise TrainingError(
                f"{vocabulary} has {ids} ids, fewer than the {rows} rows that the model would grow to; take "
                f"a larger vocabulary, or set vocab_size to {max(before, ids)} at most"
            )
        # The library's own choice is a normal distribution about the old rows' mean, which is not a row that
        # says nothing: each new character would begin as likely as the old ones are on average.
        model.resize_token_embeddings(rows, mean_resizing=False)


def _check_lines(config: VaryConfig, name: str) -> None:
    if config.window != "lines":
        raise TrainingError(
            f"{name} reads whole pages; this recipe trains models that read lines (vary-nano)"
        )


def stage_batches(
    recipe: LinesRecipe,
    source: LineSource,
    form: LineFormat,
    position: Position,
    rank: int,
    world: int,
    *,
    clock: Clock | None = None,
    pin: bool = False,
) -> Iterator[tuple[list[LineBatch], Position]]:
    """All batches from `position` on, each with the position after it; the curriculum follows the steps, or
    the `clock` of a run by time.

    The pools are shared among the processes, `pool * world + rank`, and hold different numbers of batches: so
    `position` is this process' own.  With `pin` batches lie where a GPU fetches them without waiting.

    Raises:
        TrainingError: after many pools without a line to learn.
    """
    for stage in recipe.stages:
        final = stage is recipe.stages[-1]
        last_step = recipe.steps if final else round(stage.until * recipe.steps)

        def over(done: int, *, until: float = 2.0 if final else stage.until, steps: int = last_step) -> bool:
            return done >= steps or (clock is not None and clock.share(done) >= until)

        if over(position.step):
            continue
        loader = PoolLoader(
            source, form, recipe.batch_pixels, recipe.max_width, recipe.settings.seed, stage.max_chars
        )
        pools = loader.iterate(position.pool * world + rank, world, recipe.settings.workers, pin=pin)
        empty, left_out = 0, 0
        bad: tuple[BadSample, ...] = ()
        for number, (batches, left_out_here, bad_here) in pools:
            empty = 0 if batches else empty + 1
            if empty == EMPTY_POOLS:
                example = f", such as {bad_here[-1].name}: {bad_here[-1].reason}" if bad_here else ""
                raise TrainingError(
                    f"{empty} pools without a line to learn, "
                    f"{left_out_here + len(bad_here)} samples left out of the last{example}; "
                    f"wider than {recipe.max_width} pixels, or with characters beyond the first "
                    f"{form.vocab_size} ids, which are all that this model has (vocab_size adds some); "
                    "look at the data"
                )
            left_out += left_out_here
            if batches:  # what pools without a batch left out comes with the next batch that there is
                batches[0].counts["left_out"] = left_out
                batches[0].bad = (*bad, *batches[0].bad)
                left_out, bad = 0, ()
            else:
                bad += bad_here
            for index, batch in itertools.islice(enumerate(batches), position.batch, None):
                stage_ends = over(position.step + 1)  # the next stage begins with a pool of its own
                position = replace(
                    position,
                    step=position.step + 1,
                    pool=number // world + stage_ends,
                    batch=0 if stage_ends else index + 1,
                )
                yield [batch], position
                if stage_ends:
                    break
            if over(position.step):
                break
            position = replace(position, pool=number // world + 1, batch=0)


def own_position(saved: Position, rank: int, world: int) -> Position:
    """Where a process goes on: its own pool and batch of a checkpoint's position.

    Raises:
        TrainingError: if the checkpoint was written by another number of processes: which pool comes next
            depends on it.
    """
    if saved.step == 0:
        return saved
    places = saved.ranks or [[saved.pool, saved.batch]]  # of a run by one process, before there were ranks
    if len(places) != world:
        raise TrainingError(
            f"the run was begun on {len(places)} process(es), and these are {world}; resume it on "
            f"{len(places)}, or begin another run with init_from"
        )
    pool, batch = places[rank]
    return replace(saved, pool=pool, batch=batch, ranks=[])


def train_lines(
    recipe: LinesRecipe,
    folder: Path,
    vocabulary: Path,
    *,
    resume: bool = False,
    evaluate: Evaluate | None = None,
    progress: Progress = lambda _: None,
    cpu: bool = False,
) -> VaryForConditionalGeneration:
    """Runs stage 1 in `folder` and returns the trained model; `folder/model` holds it, ready to be read with.

    Args:
        recipe: what to do.
        folder: for the log, the checkpoints, the model, and what they came from: recipe.json, data.json.
        vocabulary: the `.tiktoken` file of the characters.
        resume: go on from the newest checkpoint of `folder`, or start if there is none.
        evaluate: called with the model every `evaluate_every` steps; its figures go into the log.
        progress: called with every row of the log.
        cpu: keep off a GPU that is there.

    Raises:
        TrainingError: without data, on a folder that holds another run, or one of another number of
            processes, on a vocabulary that does not fit the rows asked for, on too many bad samples, or on a
            non-finite loss.
    """
    settings = recipe.settings
    if (recipe.paint is None) == (not recipe.shards):
        raise TrainingError("a run needs either shards or a corpus to paint from, and not both")
    if settings.parallel != "ddp":
        raise TrainingError(f"{settings.parallel} is for large models; line models train with ddp")
    cpu = cpu or not torch.cuda.is_available()
    recorded = asdict(recipe)
    steps = recipe.steps
    run = RunFolder.open(folder, recorded, resume=resume)
    accelerator = make_accelerator(settings, accumulation=1, cpu=cpu)
    rank, world = accelerator.process_index, accelerator.num_processes
    begin = own_position(run.position, rank, world)
    set_seed(settings.seed)
    model = build_model(recipe, accelerator.device, vocabulary)
    optimizer = make_optimizer(model, settings)
    average = WeightAverage(model, settings.ema_decay) if settings.ema_decay else None
    run.restore(model, optimizer, average)
    if settings.compile:
        compile_layers(model)
    source: LineSource = (
        PaintedLines(recipe.paint, PAGES * max(1, round(recipe.batch_pixels / PIXELS)))
        if recipe.paint
        else ShardLines(recipe.shards, seed=settings.seed, longest=max(s.max_chars for s in recipe.stages))
    )
    source.prepare()
    described = source.describe()
    run.check_start(described)
    if accelerator.is_main_process:
        run.write(recorded, described)
    blank = model.config.text_config.pad_token_id
    form = line_format(model, vocabulary, recipe.sampled_rows)
    spelled = model.model.vision_vocabulary.ctc is not None
    clock = Clock(steps, 60 * settings.time_limit, begin.seconds)
    training = Training(
        model=model,
        optimizer=optimizer,
        stream=stage_batches(
            *(recipe, source, form, begin, rank, world),
            clock=clock if clock.limit else None,
            pin=accelerator.device.type == "cuda",
        ),
        clock=clock,
        losses=lambda network, batch, counts: line_losses(network, batch, counts, blank),
        names=("decoder", "ctc") if spelled else ("decoder",),
        weights={"ctc": recipe.ctc_weight},
        steps=steps,
        cost=batch_cost(model.config, ("vision_vocabulary", "projector", "decoder")),
        scaler=run.state.get("scaler"),
        average=average,
    )
    position = train(
        training, settings, accelerator, folder, position=begin, evaluate=evaluate, progress=progress
    )
    state = finish_state(accelerator, model, average)
    if accelerator.is_main_process:
        model.load_state_dict(state)
        version = f"{time.strftime('%Y.%m.%d')}, seed {settings.seed}, step {position.step}"
        export_model(model, nano_processor(vocabulary), folder / MODEL_FOLDER, version=version)
    return model
