"""Recipes: a run is a function of a typed description."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from vary.datagen.lines.engine import LineEngineConfig
from vary.errors import TrainingError
from vary.model.configuration import VaryConfig
from vary.model.image_processing import PUBLISHED_IMAGE_SETTINGS
from vary.model.loading import load_model
from vary.model.modeling import VaryForConditionalGeneration
from vary.model.presets import CHINESE_ROWS, nano_processor, preset_config
from vary.model.tokenization import read_tiktoken
from vary.training.checkpoints import Position, latest_checkpoint, load_training_state
from vary.training.data import LineBatch, LineFormat, LineSource, PaintedLines, PoolLoader, ShardLines, Stage
from vary.training.loop import Evaluate, LoopSettings, Progress, train
from vary.training.losses import vocabulary_losses

__all__ = ["VocabularyRecipe", "export_model", "line_format", "train_vocabulary"]

RECIPE_FILE = "recipe.json"
MAY_CHANGE = ("steps", "sampled_rows", "workers", "log_every", "save_every", "evaluate_every", "compile")
"""Settings that a resumed run may have otherwise than when it began."""
EMPTY_POOLS = 20


@dataclass(frozen=True, slots=True)
class VocabularyRecipe:
    """Stage 1: writing a vision vocabulary with a small decoder; everything is trained.

    The defaults are vary-nano's.  Characters have to be in the encoder's features before the decoder can look
    at them; so a CTC loss on the features stands beside the decoder's, steps are small and many, lines grow.

    Attributes:
        preset: the model to build, unless `init_from` names a checkpoint whose weights to start with.
        init_from: a model folder; its configuration wins over the preset.
        vocab_size: rows of the vocabulary's table; new ones are added behind those that are there.  None
            takes as many as there are, or `CHINESE_ROWS` if those are fewer and Chinese is painted.
        shards: folders written by `vary synth text`; or
        paint: an engine that paints the lines while the model trains.
        steps: optimizer steps.
        batch_pixels: pixel columns per batch, padding included.
        max_width: wider lines are left out, pixels.
        learning_rate, warmup_steps, decay_fraction, final_fraction: warm-up, constant, linear decay.
        betas, weight_decay, clip: AdamW's and the gradient's.
        ctc_weight: of the CTC loss beside the decoder's 1.
        sampled_rows: compare the characters of a batch with each other, with the Latin rows, and with so many
            drawn from the rest, instead of with the whole table; 0 for the whole.  A Chinese table costs
            almost as much as the rest of vary-nano; the last steps of a run should have the whole.
        stages: the curriculum, shares of the run with the longest line in characters.
        seed: of weights and data.
        precision: `bf16` or `no` (float32).
        compile: compile the layers; for GPUs: on a CPU it was slower than eager mode.
        workers: processes that paint or decode.
        log_every, save_every, evaluate_every: in steps.
    """

    preset: str = "vary-nano"
    init_from: Path | None = None
    vocab_size: int | None = None
    shards: tuple[Path, ...] = ()
    paint: LineEngineConfig | None = None
    steps: int = 10_000
    batch_pixels: int = 8192
    max_width: int = 1536
    learning_rate: float = 1.2e-3
    warmup_steps: int = 400
    decay_fraction: float = 0.5
    final_fraction: float = 0.02
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    clip: float = 1.0
    ctc_weight: float = 0.5
    sampled_rows: int = 0
    stages: tuple[Stage, ...] = (Stage(0.08, 12), Stage(0.25, 32), Stage(1.0, 200))
    seed: int = 0
    precision: str = "bf16"
    compile: bool = False
    workers: int = 1
    log_every: int = 50
    save_every: int = 500
    evaluate_every: int = 500

    def loop_settings(self) -> LoopSettings:
        return LoopSettings(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup_steps=min(self.warmup_steps, self.steps // 10),
            decay_fraction=self.decay_fraction,
            final_fraction=self.final_fraction,
            weights={"ctc": self.ctc_weight},
            clip=self.clip,
            log_every=self.log_every,
            save_every=self.save_every,
            evaluate_every=self.evaluate_every,
        )


def line_format(model: VaryForConditionalGeneration, vocabulary: Path, sampled_rows: int = 0) -> LineFormat:
    """How lines become tensors for this model; the pixel normalisation is the line processor's."""
    config = model.config
    settings: dict[str, Any] = PUBLISHED_IMAGE_SETTINGS["vary_nano"]
    return LineFormat(
        vocabulary=vocabulary,
        vocab_size=config.text_config.vocab_size,
        patch_size=config.vision_vocabulary_config.patch_size,
        mean=settings["image_mean"][0],
        std=settings["image_std"][0],
        image_ids=(config.image_token_id, config.image_start_token_id, config.image_end_token_id),
        eos_id=config.text_config.eos_token_id,
        pad_id=config.text_config.pad_token_id,
        ctc_frames=config.vision_vocabulary_config.ctc_frames,
        sampled_rows=sampled_rows,
    )


def build_model(
    recipe: VocabularyRecipe, resume_from: Path | None, device: torch.device, vocabulary: Path
) -> VaryForConditionalGeneration:
    """The model of a run: from its own checkpoint, from other weights, or new; with the rows that it needs.

    Its languages are those that it had, if it comes from a checkpoint, and those that are painted.

    The CPU's fused attention is slow backwards: on sequences as short as a line's it trains several times
    faster written out (`benchmarks/README.md`).
    """
    attention = "eager" if device.type == "cpu" else "sdpa"
    source = resume_from or recipe.init_from
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
    recipe: VocabularyRecipe, source: LineSource, form: LineFormat, position: Position, rank: int, world: int
) -> Iterator[tuple[LineBatch, Position]]:
    """All batches from `position` on, each with the position after it; the curriculum follows the steps."""
    for stage in recipe.stages:
        last_step = recipe.steps if stage is recipe.stages[-1] else round(stage.until * recipe.steps)
        if position.step >= last_step:
            continue
        loader = PoolLoader(source, form, recipe.batch_pixels, recipe.max_width, recipe.seed, stage.max_chars)
        pools = loader.iterate(position.pool * world + rank, world, recipe.workers)
        empty = 0
        for number, batches, dropped in pools:
            fresh = position.batch == 0
            empty = 0 if batches else empty + 1
            if empty == EMPTY_POOLS:
                raise TrainingError(
                    f"{empty} pools without a line to learn, {dropped} samples left out of the last; "
                    f"wider than {recipe.max_width} pixels, or with characters beyond the first "
                    f"{form.vocab_size} ids, which are all that this model has (vocab_size adds some); "
                    "look at the data"
                )
            for index, batch in itertools.islice(enumerate(batches), position.batch, None):
                stage_ends = position.step + 1 >= last_step  # the next stage begins with a pool of its own
                position = replace(
                    position,
                    step=position.step + 1,
                    pool=number // world + stage_ends,
                    batch=0 if stage_ends else index + 1,
                    lines=position.lines + len(batch.target_lengths),
                    characters=position.characters + len(batch.targets),
                    dropped=position.dropped + (dropped if fresh and index == 0 else 0),
                )
                yield batch, position
                if stage_ends:
                    break
            if position.step >= last_step:
                break
            position = replace(position, pool=number // world + 1, batch=0)


def train_vocabulary(
    recipe: VocabularyRecipe,
    folder: Path,
    vocabulary: Path,
    *,
    resume: bool = False,
    evaluate: Evaluate | None = None,
    progress: Progress = lambda _: None,
) -> VaryForConditionalGeneration:
    """Runs stage 1 in `folder` and returns the trained model; `folder/model` holds it, ready to be read with.

    Args:
        recipe: what to do.
        folder: for the log, the checkpoints, the model, and what they came from: recipe.json, data.json.
        vocabulary: the `.tiktoken` file of the characters.
        resume: go on from the newest checkpoint of `folder`, or start if there is none.
        evaluate: called with the model every `evaluate_every` steps; its figures go into the log.
        progress: called with a line of figures.

    Raises:
        TrainingError: without data, on a folder that holds another run, on a vocabulary that does not fit the
            rows asked for, or on a non-finite loss.
    """
    if (recipe.paint is None) == (not recipe.shards):
        raise TrainingError("a run needs either shards or a corpus to paint from, and not both")
    folder.mkdir(parents=True, exist_ok=True)
    found = latest_checkpoint(folder)
    held = [name for name in (RECIPE_FILE, "log.csv", "model") if (folder / name).exists()]
    if held and not resume:
        raise TrainingError(f"{folder} holds a run already ({held[0]}); resume it, or choose another folder")
    if resume:
        _check_same(folder, recipe)
    accelerator = Accelerator(mixed_precision=recipe.precision)
    set_seed(recipe.seed)
    model = build_model(recipe, found, accelerator.device, vocabulary)
    position, optimizer_state = load_training_state(found) if found else (Position(), None)
    optimizer = torch.optim.AdamW(
        model.parameters(), recipe.learning_rate, recipe.betas, weight_decay=recipe.weight_decay, fused=True
    )
    if optimizer_state is not None:
        optimizer.load_state_dict(optimizer_state)
    if recipe.compile:
        for layer in (*model.model.vision_vocabulary.blocks, *model.model.language_model.layers):
            layer.forward = torch.compile(layer.forward, dynamic=True)
    source: LineSource = (
        PaintedLines(recipe.paint) if recipe.paint else ShardLines(recipe.shards, seed=recipe.seed)
    )
    source.prepare()
    if accelerator.is_main_process:
        _write_json(folder / RECIPE_FILE, asdict(recipe))
        _write_json(folder / "data.json", source.describe())
    blank = model.config.text_config.pad_token_id
    form = line_format(model, vocabulary, recipe.sampled_rows)
    train(
        model,
        optimizer,
        stage_batches(recipe, source, form, position, accelerator.process_index, accelerator.num_processes),
        lambda network, batch: vocabulary_losses(network, batch, blank),
        recipe.loop_settings(),
        accelerator,
        folder,
        position=position,
        evaluate=evaluate,
        progress=progress,
    )
    trained: VaryForConditionalGeneration = accelerator.unwrap_model(model)
    if accelerator.is_main_process:
        version = f"{time.strftime('%Y.%m.%d')}, seed {recipe.seed}, step {recipe.steps}"
        export_model(trained, vocabulary, folder / "model", version=version)
    return trained


def export_model(
    model: VaryForConditionalGeneration, vocabulary: Path, target: Path, *, version: str
) -> None:
    """Writes a folder that `Reader.load` takes: bfloat16 weights, configuration, tokenizer, processor.

    `version` names these weights in every document that is read with them.
    """
    temporary = target.with_name(f".{target.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    plain = VaryForConditionalGeneration(model.config)  # without what compiling or a wrapper added
    plain.load_state_dict(model.state_dict())
    plain.config.checkpoint_version = version
    plain.to(torch.bfloat16).save_pretrained(temporary)
    nano_processor(vocabulary).save_pretrained(temporary)
    for file in temporary.iterdir():
        file.chmod(0o644)  # safetensors writes for its owner alone
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)


def _check_same(folder: Path, recipe: VocabularyRecipe) -> None:
    """Raises TrainingError if the run in `folder` was begun with other settings, `MAY_CHANGE` apart."""
    path = folder / RECIPE_FILE
    if not path.exists():
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    now = json.loads(_json(asdict(recipe)))
    if different := [name for name in now if name not in MAY_CHANGE and before.get(name) != now[name]]:
        was = ", ".join(f"{name} {before.get(name)}" for name in different)
        raise TrainingError(
            f"{folder} holds a run with other settings ({was}); resume with those, or choose another folder"
        )


def _json(value: Any) -> str:
    return json.dumps(value, default=str, indent=1, ensure_ascii=False) + "\n"


def _write_json(path: Path, value: Any) -> None:
    path.write_text(_json(value), encoding="utf-8")
