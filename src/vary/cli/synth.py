"""`vary synth`: training data made from text and installed fonts, and contact sheets to look at it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vary.cli import console

__all__ = ["add_parser", "run"]

TEXT_DESCRIPTION = """\
Paints pages from a corpus with the installed fonts, finds and cuts their lines with the reader's own code and
writes them with their exact text as WebDataset shards and a manifest.  The same options give the same
samples, whatever the number of workers.  A run that was stopped goes on when the command is given again.
"""

TEXT_EPILOG = """\
examples:
  vary synth text --corpus en.txt.xz --out lines --lines 100000 --workers 8
  vary synth text --corpus en.txt.xz zh.txt.xz --languages en,zh --out lines --lines 50000 --seed 7
  vary synth preview lines -o contact.png
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command and its engines."""
    parser = subparsers.add_parser("synth", help="make training data from text and installed fonts")
    engines = parser.add_subparsers(dest="engine", metavar="ENGINE", title="engines", required=True)
    _add_text(engines)
    preview = engines.add_parser(
        "preview", help="a contact sheet of a shard: every line with its text below", allow_abbrev=False
    )
    preview.add_argument("shard", type=Path, metavar="SHARD", help="a shard (.tar) or a data set's folder")
    preview.add_argument(
        "-o", "--output", type=Path, required=True, metavar="PNG", help="where to write the sheet"
    )
    preview.add_argument(
        "--lines",
        type=console.positive_int,
        default=60,
        metavar="N",
        help="how many lines to show (default: 60)",
    )
    preview.add_argument(
        "--skip",
        type=console.whole_number,
        default=0,
        metavar="N",
        help="how many lines to pass over first (default: 0)",
    )


def _add_text(engines: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = console.add_command(
        engines,
        "text",
        help="text lines painted from a corpus",
        description=TEXT_DESCRIPTION,
        epilog=TEXT_EPILOG,
    )
    text.add_argument(
        "--corpus",
        nargs="+",
        required=True,
        metavar="FILE",
        help="text files, UTF-8, one paragraph a line (.txt or .txt.xz)",
    )
    text.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the data set")
    text.add_argument(
        "--lines", type=console.positive_int, required=True, metavar="N", help="how many lines to write"
    )
    text.add_argument("--seed", type=int, default=0, metavar="S", help="default: 0")
    text.add_argument(
        "--workers", type=console.positive_int, default=1, metavar="W", help="processes (default: 1)"
    )
    text.add_argument(
        "--split-name",
        default="train",
        metavar="NAME",
        help="recorded in the manifest; splits differ at the same seed (default: train)",
    )
    text.add_argument("--languages", default="en", metavar="A,B", help="some of en, zh (default: en)")
    text.add_argument(
        "--exclude-fonts",
        default="",
        metavar="A,B",
        help="font families to leave out, * for anything, besides those that evaluation pages are set in",
    )
    text.add_argument(
        "--font-dir",
        action="append",
        metavar="DIR",
        help="take fonts from this folder instead of the system's; may be repeated",
    )
    text.add_argument("--licence", default="see the corpus", metavar="TEXT", help="licence of the corpus")
    text.add_argument(
        "--lines-per-shard", type=console.positive_int, default=5000, metavar="N", help="default: 5000"
    )
    text.add_argument(
        "--max-width",
        type=console.positive_int,
        default=1024,
        metavar="PX",
        help="widest line (default: 1024)",
    )
    text.add_argument(
        "--max-chars", type=console.positive_int, default=120, metavar="N", help="longest line (default: 120)"
    )
    text.add_argument(
        "--clean-share",
        type=float,
        default=0.45,
        metavar="P",
        help="share of pages without any degradation, 0 to 1 (default: 0.45)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the chosen engine; returns the exit code."""
    return _preview(args) if args.engine == "preview" else _text(args)


def _text(args: argparse.Namespace) -> int:
    from vary.datagen.lines.engine import LineEngine, LineEngineConfig
    from vary.datagen.shards import write_shards

    config = LineEngineConfig(
        corpus=tuple(args.corpus),
        seed=args.seed,
        split=args.split_name,
        languages=tuple(_listed(args.languages)),
        licence=args.licence,
        exclude_fonts=tuple(_listed(args.exclude_fonts)),
        font_folders=tuple(args.font_dir) if args.font_dir else None,
        clean_share=args.clean_share,
        max_chars=args.max_chars,
        max_width_px=args.max_width,
    )
    engine = LineEngine(config)
    with console.progress_bar("painting", "line") as advance:
        manifest = write_shards(
            engine,
            args.out,
            lines=args.lines,
            lines_per_shard=args.lines_per_shard,
            workers=args.workers,
            progress=None if advance is None else lambda done: advance(done, args.lines),
        )
    counts = manifest["counts"]
    print(
        f"{counts['samples']} lines of {counts['pages']} pages in {len(manifest['shards'])} shards, "
        f"{len(counts['families'])} font families, {counts['painted_lines']} lines painted: {args.out}",
        file=sys.stderr,
    )
    return console.EXIT_OK


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _preview(args: argparse.Namespace) -> int:
    from itertools import islice

    from vary.datagen.fonts import covering_face
    from vary.datagen.preview import contact_sheet
    from vary.datagen.shards import read_shard, read_shards
    from vary.errors import DataError

    items = read_shards(args.shard) if args.shard.is_dir() else read_shard(args.shard)
    lines = [
        (item.image, str(item.record["answer"])) for item in islice(items, args.skip, args.skip + args.lines)
    ]
    if not lines:
        raise DataError(f"{args.shard}: no line after the first {args.skip}")
    characters = {character for _, text in lines for character in text}
    sheet = contact_sheet(
        lines, face=None if max(characters) < "\u0100" else covering_face("".join(characters))
    )
    try:
        sheet.save(args.output, format="PNG")
    except OSError as error:
        raise DataError(f"{args.output}: cannot be written, {error.strerror or error}") from error
    return console.EXIT_OK
