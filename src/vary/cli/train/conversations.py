"""What the commands of the recipes for whole pages share: their options, and the run itself."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vary.cli import console
from vary.cli.checkpoints import find_checkpoint
from vary.cli.train.running import (
    add_run_options,
    changed_settings,
    check_packages,
    finish_run,
    shown_progress,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from vary.model.modeling import VaryForConditionalGeneration
    from vary.model.processing import VaryProcessor
    from vary.training.recipes import ConversationRecipe

    Load = Callable[[argparse.Namespace], tuple[VaryForConditionalGeneration, VaryProcessor]]

__all__ = ["PARTS", "add_conversation_options", "load_given", "run_conversations"]

PARTS = ("vision_vocabulary", "clip", "projector", "decoder")
"""As in `vary.training.recipes.conversations`, which is too heavy to ask here; a test compares them."""
NUMBERS: tuple[tuple[str, Any, str], ...] = (
    ("epochs", console.positive_number, "how often the data is shown"),
    ("batch", console.positive_int, "samples a step, over all processes"),
    ("micro_batch", console.positive_int, "samples that a process computes at once"),
    ("max_length", console.positive_int, "longest sample in tokens, its image's among them"),
    ("pool_steps", console.positive_int, "steps whose samples are sorted by length together"),
)


def add_conversation_options(parser: argparse.ArgumentParser, *, model_required: bool = True) -> None:
    """The options of a recipe for whole pages and conversations."""
    add = parser.add_argument
    add(
        "--model",
        required=model_required,
        metavar="CKPT",
        help="the checkpoint to begin from: a folder, a file of weights, or the name of a fetched one",
    )
    add(
        "--data",
        nargs="+",
        required=True,
        metavar="PATH[:WEIGHT]",
        help="folders of `vary synth`, LLaVA JSON files; a weight of 2 shows each sample twice an epoch",
    )
    add("--images", type=Path, metavar="DIR", help="where a JSON file's images are (default: beside it)")
    add("--validation", nargs="+", metavar="PATH", help="samples to answer while training")
    add(
        "--validation-samples",
        type=console.positive_int,
        default=16,
        metavar="N",
        help="how many (default: %(default)s)",
    )
    add(
        "--train",
        metavar="PARTS",
        help=f"parts to train, separated by commas: {', '.join(PARTS)} (default: the stage's)",
    )
    add(
        "--lora",
        nargs="?",
        type=console.positive_int,
        const=16,
        metavar="RANK",
        help="low-rank adapters on the decoder instead of training it whole (default rank: 16)",
    )
    add(
        "--cut",
        action=argparse.BooleanOptionalAction,
        help="cut samples that are too long (default), or count them as bad",
    )
    add("--layout", help="the prompt layout (default: the checkpoint's own)")
    add(
        "--keep-examples",
        action="store_true",
        default=None,
        help="keep built examples in memory: for few samples shown often",
    )
    add("--export-dtype", choices=console.DTYPES, help="of the trained model's weights (default: bfloat16)")
    add("--debug", action="store_true", help="try the whole way on 8 samples and 20 steps")
    add("--gradient-checkpointing", action="store_true", default=None, help="less memory, a third slower")
    add(
        "--parallel",
        choices=("ddp", "fsdp2", "zero2"),
        help="how several processes share the model (default: ddp)",
    )
    add_run_options(parser, numbers=NUMBERS)


def load_given(args: argparse.Namespace) -> tuple[VaryForConditionalGeneration, VaryProcessor]:
    """The checkpoint of `--model`, in float32."""
    from vary.weights.loading import load_checkpoint

    return load_checkpoint(find_checkpoint(args.model), dtype="float32")


def make_recipe(args: argparse.Namespace, kind: type[ConversationRecipe]) -> ConversationRecipe:
    """The recipe that the command line asks for."""
    from vary.training.adapters import LoraSettings
    from vary.training.data.sources import DataSource

    data = tuple(replace(DataSource.parse(text), images=args.images) for text in args.data)
    names = {field.name for field in fields(kind)} - {"data", "lora", "settings", "trained"}
    given = {name: value for name, value in vars(args).items() if name in names and value is not None}
    if args.train:
        given["trained"] = tuple(part.strip() for part in args.train.split(","))
    if args.lora:
        given["lora"] = LoraSettings(rank=args.lora, alpha=2 * args.lora)
    recipe = kind(data=data, **given)
    return replace(recipe, settings=changed_settings(args, recipe.settings))


def run_conversations(
    args: argparse.Namespace,
    kind: type[ConversationRecipe],
    load: Load = load_given,
) -> int:
    """Trains; progress goes to standard error."""
    check_packages()
    console.quiet_libraries()
    from vary.training.recipes.conversations import train_conversations

    recipe = make_recipe(args, kind)
    model, processor = load(args)
    validate = _validation(args, recipe, model, processor)
    with shown_progress(args.recipe) as progress:
        train_conversations(
            recipe,
            model,
            processor,
            args.out,
            resume=args.resume,
            evaluate=validate,
            progress=progress,
            cpu=args.cpu,
        )
    finish_run(args.out)
    return console.EXIT_OK


def _validation(
    args: argparse.Namespace,
    recipe: ConversationRecipe,
    model: VaryForConditionalGeneration,
    processor: VaryProcessor,
) -> Any:
    if not args.validation:
        return None
    from vary.evaluation.metrics import edit_distance
    from vary.training.answer_validation import AnswerValidation
    from vary.training.data.sources import DataSource, Mixture
    from vary.training.recipes.conversations import example_builder

    sources = [replace(DataSource.parse(text), images=args.images) for text in args.validation]
    return AnswerValidation(
        Mixture.open(sources, seed=0),
        example_builder(recipe, model, processor),
        args.out,
        edit_distance,
        samples=args.validation_samples,
    )
