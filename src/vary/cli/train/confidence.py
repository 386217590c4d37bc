"""`vary train confidence`: fits what a line model's confidence means, and stores it in the checkpoint."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from vary.cli import console
from vary.cli.train.running import check_packages

if TYPE_CHECKING:
    from vary.training.confidence import JudgedLine

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
Reads painted lines of held-out text in the validation families, about half of them degraded, and fits two
numbers with which the confidence of a line is the probability that the whole line is read exactly.  They are
written into the checkpoint's config.json.  What they are worth is measured on every third page by a fit that
does not see it; the figures are printed.
"""
EPILOG = """\
examples:
  vary train confidence runs/nano/model --validation en.heldout.txt zh.heldout.txt --languages en,zh
  vary train confidence runs/nano/model --validation heldout.txt --lines 500 --dry-run
"""
EVERY = 3
"""One page in so many is kept for the measurement."""


def add_parser(recipes: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Registers the command."""
    parser = console.add_command(
        recipes,
        "confidence",
        help="make a line model's confidence the probability that a line is exact",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("model", type=Path, metavar="DIR", help="the checkpoint, in our format; its config.json is changed")
    add("--validation", nargs="+", required=True, metavar="CORPUS", help="held-out text files")
    add("--languages", default="en", help="of the texts, such as en,zh (default: %(default)s)")
    add(
        "--lines",
        type=console.positive_int,
        default=2000,
        metavar="N",
        help="lines of each language (default: %(default)s)",
    )
    add("--dry-run", action="store_true", help="print the numbers, and change nothing")


def run(args: argparse.Namespace) -> int:
    """Fits, prints what the fit is worth, and writes it."""
    check_packages()
    console.quiet_libraries()
    from vary.engine.confidence import LineConfidence, fit_confidence
    from vary.errors import TrainingError

    config = args.model / "config.json"
    if not config.is_file():
        raise console.UsageError(
            f"{args.model}: no config.json; expected the folder of a checkpoint in our format"
        )
    lines = _judged(args)
    seen = [line for line in lines if line.page % EVERY]
    kept = [line for line in lines if not line.page % EVERY]
    try:
        trial = fit_confidence([line.reading for line in seen], [line.exact for line in seen])
        final = fit_confidence([line.reading for line in lines], [line.exact for line in lines])
    except ValueError as error:
        raise TrainingError(f"nothing to fit: {error}; read more lines (--lines)") from error
    _print(trial, kept)
    print(", ".join(f"{name} {value}" for name, value in final.as_dict().items()))
    assert LineConfidence.of(final.as_dict()) == final
    if not args.dry_run:
        values = json.loads(config.read_text(encoding="utf-8")) | {"confidence": final.as_dict()}
        text = json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        fresh = config.with_suffix(".json.new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(config)
    return console.EXIT_OK


def _judged(args: argparse.Namespace) -> list[JudgedLine]:
    """The lines of all languages; pages of different languages have different numbers."""
    from dataclasses import replace

    from vary.datagen.lines.engine import LineEngineConfig
    from vary.evaluation.metrics import canonical_text
    from vary.training.confidence import read_judged_lines
    from vary.weights.loading import load_checkpoint

    def same(text: str, truth: str, language: str) -> bool:
        return canonical_text(text, language) == canonical_text(truth, language)

    import torch

    model, processor = load_checkpoint(args.model, dtype=torch.float32)
    model.eval()
    judged: list[JudgedLine] = []
    for language in (name.strip() for name in args.languages.split(",")):
        paint = LineEngineConfig(corpus=tuple(args.validation), languages=(language,))
        first = max((line.page for line in judged), default=-1) + 1
        with console.progress_bar(f"lines {language}", "line") as progress:
            lines = read_judged_lines(model, processor, paint, args.lines, same, progress=progress)
        judged += [replace(line, page=line.page + first) for line in lines]
    return judged


def _print(confidence: object, lines: list[JudgedLine]) -> None:
    """What a fit is worth on lines that it has not seen."""
    from vary.engine.confidence import LineConfidence
    from vary.evaluation.calibration import calibration

    assert isinstance(confidence, LineConfidence)
    if not lines:
        return
    found = calibration([confidence(line.reading) for line in lines], [line.exact for line in lines])
    area = "none" if found.area is None else f"{found.area:.3f}"
    print(
        f"{found.lines} unseen lines: {found.exact:.3f} exact, mean confidence {found.confidence:.3f}, "
        f"calibration error {found.ece:.3f} (bins of equal mass: {found.ece_mass:.3f}), area {area}"
    )
