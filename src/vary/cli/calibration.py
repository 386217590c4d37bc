"""`vary evaluate calibration`: whether the confidence of lines is the share of them that is exact."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vary.cli import console, reading
from vary.cli.writing import write_new_file

if TYPE_CHECKING:
    from vary.evaluation.calibration import Calibration
    from vary.evaluation.suites import SuitePage

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
Reads every page of a suite, as `vary evaluate ocr` does, and compares the confidence of each line with
whether exactly that text stands on the page: the expected calibration error over 15 bins of equal width and
of equally many lines, and the area under the ROC curve (how well confidence tells exact lines from others).
For checkpoints that read lines.
"""

EPILOG = """\
examples:
  vary evaluate calibration suite/
  vary evaluate calibration suite/ --model runs/nano/model --plot confidence.png --json report.json
"""


def add_parser(suites: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = console.add_command(
        suites,
        "calibration",
        help="whether confidence is the share of lines that are read exactly",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of the suite, with pages.json")
    console.add_model_options(parser)
    reading.add_reading_options(parser)
    parser.add_argument(
        "--plot", type=Path, metavar="PNG", help="draw the bins; a file that is there is replaced"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="store a report; a name that is taken gets a number"
    )


def run(args: argparse.Namespace, provenance: dict[str, Any], suite: list[SuitePage]) -> int:
    """Reads, judges and prints; 1 if a page could not be read."""
    console.quiet_libraries()
    from vary.errors import DataError
    from vary.evaluation.calibration import calibration

    judged, origin, failed = _judged(suite, args)
    if not judged:
        raise DataError(
            f"{args.folder}: no line with a confidence was read; expected a suite of pages with text, and a "
            "checkpoint that reads lines"
        )
    languages = sorted({line["lang"] for line in judged})
    groups = {name: [line for line in judged if line["lang"] == name] for name in languages}
    if len(languages) > 1:
        groups = {"all": judged, **groups}
    found = {
        name: calibration([line["confidence"] for line in lines], [line["exact"] for line in lines])
        for name, lines in groups.items()
    }
    _print(found)
    if args.plot is not None:
        from vary.evaluation.reliability_plot import plot_calibrations

        plot_calibrations(found, args.plot)
    if args.json is not None:
        results = {name: one.as_dict() for name, one in found.items()}
        report = {**provenance, **origin, "calibration": results, "lines": judged}
        write_new_file(args.json, json.dumps(report, ensure_ascii=False, indent=2) + "\n")
    for message in failed:
        console.complain(message)
    return console.EXIT_FAILED if failed else console.EXIT_OK


def _judged(
    suite: list[SuitePage], args: argparse.Namespace
) -> tuple[list[dict[str, Any]], dict[str, Any], list[str]]:
    """Every line with text, what the report says of the checkpoint, and the pages that could not be read."""
    from vary.errors import InputError
    from vary.evaluation.calibration import exact_lines

    results, origin = reading.read_whole_suite(suite, args)
    judged: list[dict[str, Any]] = []
    failed = []
    for page, found in results:
        if isinstance(found, InputError):
            failed.append(str(found))
            continue
        lines = [line for part in found.pages for line in part.lines if line.text]
        flags = exact_lines([line.text for line in lines], page.text, page.language)
        judged += [
            {
                "image": page.image.name,
                "lang": page.language,
                "text": line.text,
                "confidence": line.confidence,
                "exact": flag,
            }
            for line, flag in zip(lines, flags, strict=True)
            if line.confidence is not None
        ]
    return judged, origin, failed


def _print(found: dict[str, Calibration]) -> None:
    """A line for each group, then the bins of the first: of the whole suite."""
    for name, one in found.items():
        area = "none" if one.area is None else f"{one.area:.3f}"
        print(
            f"{name:4s} {one.lines} lines, {one.exact:.4f} exact, mean confidence {one.confidence:.4f}, "
            f"calibration error {one.ece:.4f} (bins of equal mass: {one.ece_mass:.4f}), area {area}"
        )
    first = next(iter(found.values()))
    print("\nconfidence  exact   lines")
    for each in first.bins:
        print(f"{each.confidence:10.3f}  {each.exact:.3f}  {each.lines:6d}")
