"""`vary synth lines`: text lines painted from a corpus, for models that read line by line."""

from __future__ import annotations

import argparse

from vary.cli import console
from vary.cli.synth.running import (
    add_clean_share,
    add_corpus_options,
    add_font_options,
    add_languages,
    add_rare_options,
    add_share,
    add_shared_options,
    configured,
    write,
)

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
Paints pages from a corpus with the installed fonts, finds and cuts their lines with the reader's own code and
writes them with their exact text as WebDataset shards and a manifest.  The same options give the same
samples, whatever the number of workers.  A run that was stopped goes on when the command is given again.
"""

EPILOG = """\
examples:
  vary synth lines --corpus en.txt.xz --out lines --samples 100000 --workers 8
  vary synth lines --corpus en.txt.xz zh.txt.xz --languages en,zh --out lines --samples 50000 --seed 7
  vary synth preview lines -o contact.png
"""


def add_parser(engines: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the engine."""
    parser = console.add_command(
        engines, "lines", help="text lines painted from a corpus", description=DESCRIPTION, epilog=EPILOG
    )
    add_shared_options(parser, samples_per_shard=5000)
    add_clean_share(parser, 0.45)
    add_corpus_options(parser)
    add_languages(parser, "en")
    add_font_options(parser)
    add_share(parser, "typeset", 0.0, "pages that Typst sets instead of the painter")
    add_rare_options(parser)
    add = parser.add_argument
    add(
        "--max-width",
        dest="max_width_px",
        type=console.positive_int,
        default=1024,
        metavar="PX",
        help="widest line (default: 1024)",
    )
    add(
        "--max-chars", type=console.positive_int, default=120, metavar="N", help="longest line (default: 120)"
    )


def run(args: argparse.Namespace) -> int:
    """Make the engine and write its data set."""
    from vary.datagen.lines.engine import LineEngine, LineEngineConfig

    return write(LineEngine(configured(LineEngineConfig, args)), args, label="painting", unit="line")
