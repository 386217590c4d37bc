"""`vary train lines`: stage 1 for models that read text lines, such as vary-nano."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vary.cli import console
from vary.cli.synth.running import add_rare_options, add_share
from vary.cli.train.running import (
    add_run_options,
    changed_settings,
    check_packages,
    finish_run,
    shown_progress,
)

if TYPE_CHECKING:
    from vary.training.recipes.lines import LinesRecipe

__all__ = ["add_parser", "run"]

EPILOG = """\
examples:
  vary train lines --paint corpus.txt --validation heldout.txt --out runs/nano --steps 10000
  vary train lines --shards data/lines --out runs/nano --init-from runs/older/model
  vary train lines --paint corpus.txt --validation heldout.txt --out runs/nano --steps 10000 --resume
  vary train lines --paint en.txt zh.txt --languages en,zh --init-from runs/nano/model --out runs/zh
"""
NUMBERS: tuple[tuple[str, Any, str], ...] = (
    ("batch_pixels", console.positive_int, "pixel columns per batch"),
    ("max_width", console.positive_int, "leave out wider lines, pixels"),
    ("ctc_weight", console.positive_number, "weight of the CTC loss"),
    ("vocab_size", console.positive_int, "rows of the vocabulary; a checkpoint with fewer grows"),
    ("sampled_rows", console.whole_number, "compare with so many drawn rows, not with the whole vocabulary"),
)


def add_parser(recipes: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Registers the command."""
    parser = console.add_command(
        recipes,
        "lines",
        help="write the vision vocabulary of a model that reads text lines (stage 1)",
        description="Stage 1: everything is trained, on lines from shards or painted on the fly.",
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("--preset", default="vary-nano", help="the model to build (default: %(default)s)")
    add("--init-from", type=Path, metavar="DIR", help="start with the weights of this model")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--shards", type=Path, nargs="+", metavar="DIR", help="folders of `vary synth lines`")
    data.add_argument("--paint", nargs="+", metavar="CORPUS", help="paint lines from these text files")
    add("--languages", default="en", help="of the corpus to paint, such as en,zh (default: %(default)s)")
    add("--language-weights", metavar="N,N", help="how often each is painted (default: equally often)")
    add_share(parser, "typeset", 0.0, "painted pages that Typst sets")
    add_rare_options(parser)
    add(
        "--stages",
        type=_stages,
        metavar="UNTIL:CHARS,...",
        help="the curriculum: until this share of the run, lines of at most so many characters "
        "(default: 0.08:12,0.25:32,1:200)",
    )
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
    add_run_options(parser, numbers=NUMBERS)


def _stages(text: str) -> tuple[tuple[float, int], ...]:
    """The stages of `--stages` as (until, characters)."""
    try:
        stages = tuple((float(until), int(chars)) for until, chars in (p.split(":") for p in text.split(",")))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: expected such as 0.1:12,1:200") from error
    shares = [until for until, _ in stages]
    if shares != sorted(shares) or shares[-1] != 1 or min(shares) <= 0 or min(c for _, c in stages) < 1:
        raise argparse.ArgumentTypeError(
            f"{text}: expected rising shares that end with 1, and at least 1 character each"
        )
    return stages


def run(args: argparse.Namespace) -> int:
    """Trains; progress goes to standard error."""
    check_packages()
    console.quiet_libraries()
    from vary.assets import nano_vocabulary
    from vary.training.recipes.lines import train_lines

    recipe = make_recipe(args)
    vocabulary = args.vocabulary or nano_vocabulary()
    with shown_progress("lines") as progress:
        train_lines(
            recipe,
            args.out,
            vocabulary,
            resume=args.resume,
            evaluate=_validation(args, _languages(args), vocabulary),
            progress=progress,
            cpu=args.cpu,
        )
    finish_run(args.out)
    return console.EXIT_OK


def make_recipe(args: argparse.Namespace) -> LinesRecipe:
    """The recipe that the command line asks for.  Raises console.UsageError."""
    from dataclasses import replace

    from vary.datagen.lines.engine import LineEngineConfig
    from vary.training.data.lines import Stage
    from vary.training.line_validation import VALIDATION_FAMILIES
    from vary.training.recipes.lines import LinesRecipe

    languages = _languages(args)
    for option, given in {
        "--language-weights": args.language_weights is not None,
        "--typeset-share": bool(args.typeset_share),
        "--rare-share": bool(args.rare_share),
        "--characters": args.characters is not None,
    }.items():
        if args.shards and given:
            raise console.UsageError(f"{option} is for --paint; shards hold what they hold")
    weights = _weights(args.language_weights, languages)
    numbers = {name: value for name, _, _ in NUMBERS if (value := getattr(args, name)) is not None}
    if args.stages:
        numbers["stages"] = tuple(Stage(until, chars) for until, chars in args.stages)
    recipe = LinesRecipe(
        preset=args.preset, init_from=args.init_from, shards=tuple(args.shards or ()), **numbers
    )
    recipe = replace(recipe, settings=changed_settings(args, recipe.settings))
    if args.paint:
        paint = LineEngineConfig(
            corpus=tuple(args.paint),
            languages=languages,
            language_weights=weights,
            typeset_share=args.typeset_share,
            rare_share=args.rare_share,
            characters=args.characters or "",
            seed=recipe.settings.seed,
            exclude_fonts=VALIDATION_FAMILIES,
        )
        recipe = replace(recipe, paint=paint)
    return recipe


def _languages(args: argparse.Namespace) -> tuple[str, ...]:
    return tuple(language.strip() for language in args.languages.split(","))


def _validation(args: argparse.Namespace, languages: tuple[str, ...], vocabulary: Path) -> Any:
    if not args.validation:
        return None
    from vary.datagen.lines.engine import LineEngineConfig
    from vary.evaluation.metrics import edit_distance
    from vary.training.line_validation import LineValidation, validation_lines

    corpus = tuple(args.validation)
    lines = {
        language: validation_lines(
            LineEngineConfig(corpus=corpus, languages=(language,)), 128 // len(languages)
        )
        for language in languages
    }
    return LineValidation(lines, vocabulary, edit_distance)


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
