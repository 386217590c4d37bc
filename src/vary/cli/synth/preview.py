"""`vary synth preview`: a contact sheet of a shard."""

from __future__ import annotations

import argparse
from pathlib import Path

from vary.cli import console

__all__ = ["add_parser", "run"]

LINES, OTHERS = 60, 12
"""How many samples a sheet shows without --samples: of lines, and of anything larger."""

DESCRIPTION = """\
Draws samples of a shard, or of a data set, on one sheet: text lines with their text below; pages with their
boxes in a colour for each level, their prompt and the beginning of the answer; conversations without an image
as texts.
"""

EPILOG = """\
examples:
  vary synth preview lines -o contact.png
  vary synth preview pages/shard-000003.tar -o contact.png --samples 4 --skip 20
  vary synth preview pages -o contact.png --no-boxes
"""


def add_parser(engines: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = console.add_command(
        engines, "preview", help="a contact sheet of a shard", description=DESCRIPTION, epilog=EPILOG
    )
    add = parser.add_argument
    add("shard", type=Path, metavar="SHARD", help="a shard (.tar) or a data set's folder")
    add("-o", "--output", type=Path, required=True, metavar="PNG", help="where to write the sheet")
    add(
        "--samples",
        type=console.positive_int,
        metavar="N",
        help=f"how many to show (default: {LINES} lines, or {OTHERS} of anything else)",
    )
    add(
        "--skip",
        type=console.whole_number,
        default=0,
        metavar="N",
        help="how many to pass over first (default: 0)",
    )
    add(
        "--boxes",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="draw the boxes of lines, words, objects, cells and formulas (default: yes)",
    )


def run(args: argparse.Namespace) -> int:
    """Draw and store the sheet."""
    from itertools import islice

    from vary.datagen.preview import caption_face, contact_sheet, is_line
    from vary.datagen.shards import read_shard, read_shards
    from vary.errors import DataError, OutputError

    stored = read_shards(args.shard) if args.shard.is_dir() else read_shard(args.shard)
    rest = islice(stored, args.skip, None)
    first = next(rest, None)
    if first is None:
        raise DataError(f"{args.shard}: no sample after the first {args.skip}; give a smaller --skip")
    count = args.samples or (LINES if is_line(first) else OTHERS)
    samples = [first, *islice(rest, count - 1)]
    sheet = contact_sheet(samples, face=caption_face(samples), boxes=args.boxes)
    try:
        sheet.save(args.output, format="PNG")
    except OSError as error:
        raise OutputError(f"{args.output}: cannot be written, {error.strerror or error}") from error
    return console.EXIT_OK
