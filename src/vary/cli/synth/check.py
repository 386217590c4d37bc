"""`vary synth check`: every problem of an annotation file, with its line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vary.cli import console
from vary.cli.synth.annotations import add_format_options, format_fields

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
Looks through an annotation file and reports every problem on a line of its own: the file's line, the record
(counted from 0), the place in it as a JSON path ($ is the record), what was found and what was expected.
With --images every image is looked up and read too.  The exit code is 1 if there is any problem.
"""

EPILOG = """\
examples:
  vary synth check examples/llava/conversations.json --images examples/llava
  vary synth check train.jsonl --format llava --most 20
  vary synth check instances_train2017.json
"""


def add_parser(engines: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = console.add_command(
        engines,
        "check",
        help="every problem of an annotation file, with its line",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    add_format_options(parser)
    parser.add_argument(
        "--most",
        type=console.positive_int,
        default=1000,
        metavar="N",
        help="show so many problems, and count the others (default: 1000)",
    )


def run(args: argparse.Namespace) -> int:
    """Report the problems; returns the exit code."""
    from vary.datagen.readers.checks import FileCheck
    from vary.datagen.readers.formats import find_format
    from vary.errors import DataError

    format = find_format(args.format, args.file)
    paths = {name: Path(path) for name, path in format_fields(format, args).items()}
    if format.name == "openimages" and "classes" not in paths:
        raise console.UsageError("format openimages needs --classes")
    check = FileCheck(path=Path(args.file), format=format.name, **paths)
    problems = 0
    try:
        for fault in check:
            problems += 1
            if problems <= args.most:
                print(
                    console.without_controls(
                        f"{args.file}:{fault.line}: record {fault.number}: {fault.path}: {fault.reason}"
                    )
                )
    except DataError as error:
        problems += 1
        print(console.without_controls(str(error)))
    if problems > args.most:
        print(f"{problems - args.most} more problems are not shown; raise --most to see them")
    summary = f"{format.name}, {check.records} records, "
    summary += f"{problems} problems in {check.broken} of them" if problems else "no problems"
    if "image_folder" in format.options and "image_folder" not in paths:
        summary += " (images were not looked up; --images does)"
    print(f"{args.file}: {summary}", file=sys.stderr)
    return console.EXIT_FAILED if problems else console.EXIT_OK
