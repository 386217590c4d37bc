"""`vary synth pdf`: pages of real PDF files with the text of their text layer."""

from __future__ import annotations

import argparse

from vary.cli import console
from vary.cli.synth.running import (
    add_clean_share,
    add_languages,
    add_licence,
    add_shared_options,
    configured,
    listed,
    write,
)

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
Takes the pages of PDF files, painted, with their text in reading order and boxes of lines and words.  Left
out and counted by reason are scans, with or without recognised text behind them, broken encodings, other
languages, turned text, and pages with too little or too much.  A document belongs to one split, by the hash
of its bytes, whatever it is called; copies are left out.  Files that are broken or encrypted are named in
the manifest.
"""

EPILOG = """\
examples:
  vary synth pdf papers --out pages --licence "CC BY 4.0"
  vary synth pdf papers --out check --split-name validation
  vary synth pdf papers more.pdf --out pages --dpi 90-160 --languages en --answer lines --workers 8
"""


def add_parser(engines: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the engine."""
    parser = console.add_command(
        engines, "pdf", help="pages of real PDF files", description=DESCRIPTION, epilog=EPILOG
    )
    add = parser.add_argument
    add("files", nargs="+", metavar="PATH", help="PDF files, and folders that are searched for them")
    add_shared_options(parser, endless=False)
    add_clean_share(parser, 0.5)
    add(
        "--split-shares",
        dest="shares",
        type=_shares,
        metavar="A=P,B=Q",
        help="the splits, of which --split-name is one (default: train=0.94,validation=0.03,test=0.03)",
    )
    add_languages(parser, "en,zh")
    add(
        "--dpi",
        type=_dpi,
        default=(72.0, 150.0),
        metavar="A-B",
        help="drawn for each page (default: 72-150)",
    )
    add(
        "--max-pages-per-document",
        type=console.positive_int,
        default=32,
        metavar="N",
        help="drawn from a longer document (default: 32)",
    )
    add(
        "--answer",
        choices=("paragraphs", "lines"),
        default="paragraphs",
        help="paragraphs joined and hyphenation undone, or lines as on the page (default: paragraphs)",
    )
    add(
        "--min-characters", type=console.positive_int, default=50, metavar="N", help="of a page (default: 50)"
    )
    add(
        "--max-characters",
        type=console.positive_int,
        default=8000,
        metavar="N",
        help="of a page (default: 8000)",
    )
    add_licence(parser, "documents")


def run(args: argparse.Namespace) -> int:
    """Make the engine and write its data set."""
    from vary.datagen.pdf.config import PdfConfig
    from vary.datagen.pdf.engine import PdfEngine

    engine = PdfEngine(configured(PdfConfig, args))
    for entry in engine.left_out:
        console.complain(f"left out: {entry.name}: {entry.reason}")
    return write(engine, args, label="reading", unit="page")


def _dpi(text: str) -> tuple[float, float]:
    low, dash, high = text.partition("-")
    try:
        return float(low), float(high if dash else low)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a number or two, such as 72-150, found {text!r}"
        ) from None


def _shares(text: str) -> tuple[tuple[str, float], ...]:
    found = []
    for part in listed(text):
        name, _, share = part.partition("=")
        try:
            found.append((name.strip(), float(share)))
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected NAME=SHARE, found {part!r}") from None
    return tuple(found)
