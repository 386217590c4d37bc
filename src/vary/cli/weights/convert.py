"""`vary weights convert`: a checkpoint of another format into ours, and back."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vary.cli import console
from vary.cli.checkpoints import find_checkpoint

if TYPE_CHECKING:
    from vary.weights.conversion import Report

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
Writes a checkpoint in another format.  Read are the authors' folders of Vary-toy, Vary-base, Vary-tiny and
Vary-tiny-600k, MindOCR's .ckpt, GOT-OCR2.0 of Transformers, and our own folders.  Every tensor must have its
place and every place its tensor: all that do not are listed, and nothing is written.  DST is whole at the
end, or it is not there.
"""

EPILOG = """\
examples:
  vary weights convert Vary-toy vary-toy
  vary weights convert vary_toy.ckpt vary-toy --tokenizer qwen.tiktoken
  vary weights convert vary-toy theirs --to authors
  vary weights convert vary-toy mindspore --to mindspore --dtype float16
"""

TARGETS = ("vary", "authors", "mindspore", "got-ocr2")
"""As in `vary.weights.conversion`, which is too heavy to ask here; a test compares them."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = console.add_command(
        subparsers,
        "convert",
        help="write a checkpoint in another format",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    add = parser.add_argument
    add(
        "source", metavar="SRC", help="a checkpoint's folder or file of weights, or the name of a fetched one"
    )
    add("target", metavar="DST", help="the folder to write; it must be new or empty")
    add("--to", choices=TARGETS, default="vary", help="the format to write (default: vary, our own)")
    add("--dtype", choices=console.DTYPES, help="of the weights (default: as they are)")
    add(
        "--tokenizer",
        metavar="FILE",
        help="the tokenizer's file or folder, where it does not lie beside the weights (qwen.tiktoken)",
    )
    add(
        "--shard-size",
        type=console.positive_number,
        default=1.0,
        metavar="GB",
        help="largest file of weights, in 10^9 bytes; three times as much memory is needed (default: 1)",
    )


def run(args: argparse.Namespace) -> int:
    """Convert, and say what was done."""
    console.quiet_libraries()
    from vary.weights.conversion import convert
    from vary.weights.folders import leftovers

    target = Path(args.target)
    for leftover in leftovers(target):
        console.complain(
            f"{leftover} is left over from a conversion that was killed, or still runs; delete it"
        )
    with console.terminated_as_interrupt(), console.progress_bar(target.name, "B") as progress:
        report = convert(
            find_checkpoint(args.source),
            target,
            to=args.to,
            dtype=args.dtype,
            tokenizer=args.tokenizer,
            shard_bytes=round(args.shard_size * 1e9),
            progress=progress,
        )
    _print(target, report)
    return console.EXIT_OK


def _print(target: Path, report: Report) -> None:
    """What was written on standard output, what a user should know on standard error."""
    before, after = report.dtypes
    kind = after if before == after else f"{before} -> {after}"
    lines = [
        f"{report.source} -> {report.target}: {report.parameters:,} parameters, {kind}",
        *(f"  {size:>14,}  {target / name}" for name, size in report.files.items()),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    if report.left_out:
        console.complain(f"left out, since the model computes or repeats them: {', '.join(report.left_out)}")
    if report.rounded:
        console.complain(f"{report.rounded:,} of the numbers were rounded: {after} cannot hold them exactly")
    for note in report.notes:
        console.complain(note)
