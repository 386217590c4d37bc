"""`vary train`: recipes that write, graft and tune; today stage 1, the vocabulary."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from vary.cli import console
from vary.errors import MissingDependencyError

__all__ = ["add_parser", "run"]

EPILOG = """\
examples:
  vary train vocabulary --paint corpus.txt --validation heldout.txt --out runs/nano --steps 10000
  vary train vocabulary --shards data/lines --out runs/nano --init-from runs/older/model
  vary train vocabulary --paint corpus.txt --validation heldout.txt --out runs/nano --steps 10000 --resume
  vary train vocabulary --paint en.txt zh.txt --languages en,zh --init-from runs/nano/model --out runs/zh
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "train", help="train a model", description="Trains models of the Vary family.", allow_abbrev=False
    )
    recipes = parser.add_subparsers(dest="recipe", required=True, metavar="RECIPE", title="recipes")
    vocabulary = console.add_command(
        recipes,
        "vocabulary",
        help="write a vision vocabulary with a small decoder (stage 1)",
        description="Stage 1: everything is trained, on lines from shards or painted on the fly.",
        epilog=EPILOG,
    )
    add = vocabulary.add_argument
    add("--preset", default="vary-nano", help="the model to build (default: %(default)s)")
    add("--init-from", type=Path, metavar="DIR", help="start with the weights of this model")
    add("--out", type=Path, required=True, metavar="DIR", help="the run's folder")
    add("--resume", action="store_true", help="go on from the newest checkpoint in --out")
    data = vocabulary.add_mutually_exclusive_group(required=True)
    data.add_argument("--shards", type=Path, nargs="+", metavar="DIR", help="folders of `vary synth text`")
    data.add_argument("--paint", nargs="+", metavar="CORPUS", help="paint lines from these text files")
    add("--languages", default="en", help="of the corpus to paint, such as en,zh (default: %(default)s)")
    add("--language-weights", metavar="N,N", help="how often each is painted (default: equally often)")
    add(
        "--validation",
        nargs="+",
        metavar="CORPUS",
        help="held-out text files, for error rates while training",
    )
    add(
        "--vocabulary",
        type=Path,
        metavar="FILE",
        help="a .tiktoken file of characters (default: vary-nano's)",
    )
    for name, kind, what in NUMBERS:
        add(f"--{name.replace('_', '-')}", type=kind, metavar="N", help=what)
    add("--precision", choices=("bf16", "no"), help="of the arithmetic (default: bf16)")
    add("--compile", action="store_true", help="compile the layers; for long runs on a GPU")


NUMBERS: tuple[tuple[str, Any, str], ...] = (
    ("steps", console.positive_int, "optimizer steps"),
    ("batch_pixels", console.positive_int, "pixel columns per batch"),
    ("max_width", console.positive_int, "leave out wider lines, pixels"),
    ("learning_rate", console.positive_number, "its peak"),
    ("warmup_steps", console.positive_int, "steps of linear rise, a tenth of the run at most"),
    ("decay_fraction", console.positive_number, "last share of the run in which the rate falls"),
    ("ctc_weight", console.positive_number, "weight of the CTC loss"),
    ("vocab_size", console.positive_int, "rows of the vocabulary; a checkpoint with fewer grows"),
    ("sampled_rows", console.whole_number, "compare with so many drawn rows, not with the whole vocabulary"),
    ("seed", console.whole_number, "of weights and data"),
    ("workers", console.whole_number, "processes that make data"),
    ("log_every", console.positive_int, "steps between rows of the log"),
    ("save_every", console.whole_number, "steps between checkpoints, 0 for none"),
    ("evaluate_every", console.whole_number, "steps between validations, 0 for none"),
)


def run(args: argparse.Namespace) -> int:
    """Trains; progress goes to stderr."""
    try:
        # Asked first, so that their absence is said before hours of training.
        import accelerate  # noqa: F401
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "training needs packages that are not installed: pip install 'vary-toy[train]'"
        ) from error
    console.quiet_libraries()
    from dataclasses import replace

    from vary.assets import nano_vocabulary
    from vary.datagen.lines.engine import LineEngineConfig
    from vary.evaluation.metrics import edit_distance
    from vary.model.modeling import VaryForConditionalGeneration
    from vary.training.plots import plot_log
    from vary.training.recipes import VocabularyRecipe, line_format, train_vocabulary
    from vary.training.validation import VALIDATION_FAMILIES, LineValidation, validation_lines

    languages = tuple(language.strip() for language in args.languages.split(","))
    if args.shards and args.language_weights is not None:
        raise console.UsageError("--language-weights is for --paint; shards hold what they hold")
    weights = _weights(args.language_weights, languages)
    numbers = {name: value for name, _, _ in NUMBERS if (value := getattr(args, name)) is not None}
    if args.precision:
        numbers["precision"] = args.precision
    recipe = VocabularyRecipe(
        preset=args.preset,
        init_from=args.init_from,
        shards=tuple(args.shards or ()),
        compile=args.compile,
        **numbers,
    )
    if args.paint:
        paint = LineEngineConfig(
            corpus=tuple(args.paint),
            languages=languages,
            language_weights=weights,
            seed=recipe.seed,
            exclude_fonts=VALIDATION_FAMILIES,
        )
        recipe = replace(recipe, paint=paint)
    vocabulary = args.vocabulary or nano_vocabulary()
    validate: Any = None
    if args.validation:
        lines = {
            language: validation_lines(
                LineEngineConfig(corpus=tuple(args.validation), languages=(language,)), 128 // len(languages)
            )
            for language in languages
        }

        def validate(model: VaryForConditionalGeneration) -> dict[str, float]:
            form = line_format(model, vocabulary)
            return {
                name if len(lines) == 1 else f"{name}_{language}": rate
                for language, some in lines.items()
                for name, rate in LineValidation(some, form, edit_distance)(model).items()
            }

    train_vocabulary(
        recipe,
        args.out,
        vocabulary,
        resume=args.resume,
        evaluate=validate,
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    plot_log(args.out / "log.csv", args.out / "loss.png")
    return 0


def _weights(text: str | None, languages: tuple[str, ...]) -> tuple[float, ...] | None:
    """The numbers of `--language-weights`, one for each language.  Raises console.UsageError."""
    if text is None:
        return None
    try:
        weights = tuple(map(float, text.split(",")))
    except ValueError:
        weights = ()
    if len(weights) != len(languages) or not all(0 <= w < float("inf") for w in weights) or not sum(weights):
        raise console.UsageError(
            f"--language-weights {text}: expected {len(languages)} numbers of 0 and more, not all 0, for the "
            f"languages {','.join(languages)}, such as {','.join('1' for _ in languages)}"
        )
    return weights
