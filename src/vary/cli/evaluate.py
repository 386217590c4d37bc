"""`vary evaluate`: how well a checkpoint reads, measured on pages whose text is known."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vary.cli import calibration, console, reading
from vary.cli.writing import write_new_file

if TYPE_CHECKING:
    from vary.evaluation.runner import Prediction, Score
    from vary.evaluation.suites import SuitePage

__all__ = ["add_parser", "run"]

OCR_DESCRIPTION = """\
Reads every page of a suite, a folder with pages.json (a list of {"image", "lang", "kind", "text"}), and
prints the character error rate of each language and kind of page and of all pages.  A page that fails or is
missing counts as an empty text.
"""

OCR_EPILOG = """\
examples:
  vary evaluate ocr suite/
  vary evaluate ocr suite/ --predictions texts/
  vary evaluate ocr suite/ --model vary-toy --batch-size 8 --draft nano --verbose
  vary evaluate ocr suite/ --device cpu --json report.json --save-predictions texts/
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command and its suites."""
    parser = subparsers.add_parser("evaluate", help="measure a checkpoint on pages whose text is known")
    suites = parser.add_subparsers(dest="suite", metavar="SUITE", title="suites", required=True)
    ocr = console.add_command(
        suites,
        "ocr",
        help="character error rate of the plain text",
        description=OCR_DESCRIPTION,
        epilog=OCR_EPILOG,
    )
    ocr.add_argument("folder", type=Path, metavar="DIR", help="the folder of the suite, with pages.json")
    console.add_model_options(ocr)
    reading.add_reading_options(ocr)
    ocr.add_argument(
        "--predictions",
        type=Path,
        metavar="PRED_DIR",
        help="score the texts STEM.txt of this folder instead of reading; no model is loaded",
    )
    ocr.add_argument("--save-predictions", type=Path, metavar="OUT", help="store what was read as STEM.txt")
    ocr.add_argument(
        "--json", type=Path, metavar="FILE", help="store a report; a name that is taken gets a number"
    )
    calibration.add_parser(suites)


def run(args: argparse.Namespace) -> int:
    """Measure what was asked for; 1 if a page failed or had no prediction."""
    from vary.evaluation.suites import load_suite

    if args.suite == "calibration":
        return calibration.run(args, _provenance(args.folder), load_suite(args.folder))
    return _run_ocr(args)


def _run_ocr(args: argparse.Namespace) -> int:
    """Score a suite and print its rates."""
    from vary.evaluation.runner import load_predictions, score_suite
    from vary.evaluation.suites import load_suite

    if args.predictions is not None and args.save_predictions is not None:
        raise console.UsageError("--save-predictions has nothing to store where --predictions are scored")
    if args.predictions is not None and (args.draft is not None or args.batch_size or args.verbose):
        raise console.UsageError(
            "--draft, --batch-size and --verbose are for reading, and --predictions are read already"
        )
    suite = load_suite(args.folder)
    if args.predictions is not None:
        predictions = load_predictions(suite, args.predictions)
        origin: dict[str, Any] = {"predictions": str(args.predictions)}
    else:
        predictions, origin = _read(suite, args)
    score = score_suite(suite, predictions)
    _print(score)
    if args.json is not None:
        report = {**_provenance(args.folder), **origin, **score.as_dict()}
        write_new_file(args.json, json.dumps(report, ensure_ascii=False, indent=2) + "\n")
    unread = [page for page in score.pages if page.prediction.status in ("failed", "missing")]
    for page in unread:
        console.complain(f"{page.page.image}: {page.prediction.status}: {page.prediction.message}")
    return console.EXIT_FAILED if unread else console.EXIT_OK


def _read(suite: list[SuitePage], args: argparse.Namespace) -> tuple[dict[str, Prediction], dict[str, Any]]:
    """What the checkpoint reads of the suite, and what the report says of the checkpoint."""
    from vary.evaluation.runner import prediction_of

    if args.save_predictions is not None:
        _check_free(args.save_predictions, [page.stem for page in suite])
    results, origin = reading.read_whole_suite(suite, args)
    predictions = {page.stem: prediction_of(found) for page, found in results}
    if args.save_predictions is not None:
        args.save_predictions.mkdir(parents=True, exist_ok=True)
        for stem, prediction in predictions.items():
            write_new_file(args.save_predictions / f"{stem}.txt", prediction.text + "\n")
    return predictions, origin


def _check_free(folder: Path, stems: list[str]) -> None:
    """Raises UsageError if texts of another reading are there, which would be scored as this one's."""
    held = [stem for stem in stems if (folder / f"{stem}.txt").exists()]
    if held:
        raise console.UsageError(f"{folder} holds {held[0]}.txt already; choose an empty folder")


def _provenance(folder: Path) -> dict[str, Any]:
    """What a number needs to be repeated: the versions, and the suite by its index's hash."""
    import hashlib
    import platform

    from vary import __version__
    from vary.evaluation.suites import INDEX_NAME

    return {
        "vary_version": __version__,
        "python_version": platform.python_version(),
        "machine": platform.platform(),
        "suite": str(folder),
        "suite_sha256": hashlib.sha256((folder / INDEX_NAME).read_bytes()).hexdigest(),
    }


def _print(score: Score) -> None:
    """One line per group, then the line over all pages."""
    for name, rate in {**score.groups, "overall": score.overall}.items():
        print(f"{name:18s} CER {rate.rate:.4f}  ({rate.characters} characters)")
