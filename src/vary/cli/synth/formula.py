"""`vary synth formula`: pages and tables with formulas, typeset by LaTeX, with their Markdown."""

from __future__ import annotations

import argparse

from vary.cli import console
from vary.cli.synth.running import (
    add_clean_share,
    add_corpus_options,
    add_font_options,
    add_languages,
    add_shared_options,
    configured,
    write,
)

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
Writes documents with formulas and tables from a corpus and templates, typesets them with pdfLaTeX (English)
and XeLaTeX (English, Chinese, both mixed) and stores each page with its text in Mathpix's Markdown, task
markdown, and each table with its LaTeX or HTML, task table.  Without LaTeX it says which packages to install.
"""

EPILOG = """\
examples:
  vary synth formula --corpus en.txt.xz --out formulas --samples 20000 --workers 8
  vary synth formula --corpus en.txt.xz zh.txt.xz --languages en,zh,mixed --out formulas --samples 20000
  vary synth formula --corpus en.txt --out tables --samples 5000 --table-form html --blocks 1,4 --tables 20,30
"""


def add_parser(engines: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the engine."""
    parser = console.add_command(
        engines,
        "formula",
        help="pages and tables with formulas, typeset by LaTeX",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    add_shared_options(parser)
    add_clean_share(parser, 0.45)
    add_corpus_options(parser)
    add_languages(parser, "en", "en, zh, mixed")
    add_font_options(parser, "XeLaTeX's text fonts")
    add = parser.add_argument
    add(
        "--table-form",
        choices=("latex", "html", "both"),
        default="latex",
        help="form of the answers to task table; both: one in two each (default: latex)",
    )
    add(
        "--delimiters",
        choices=("brackets", "dollars"),
        default="brackets",
        help=r"what stands around formulas: \( \) and \[ \], or $ and $$ (default: brackets)",
    )
    add(
        "--blocks",
        type=_bounds,
        default=(14, 30),
        metavar="LOW,HIGH",
        help="paragraphs, formulas, tables of a document; about seven fill a page (default: 14,30)",
    )
    add(
        "--tables",
        type=_bounds,
        default=(1, 4),
        metavar="LOW,HIGH",
        help="tables after a document, for task table alone (default: 1,4)",
    )
    add(
        "--dpi",
        type=_bounds,
        default=(72, 200),
        metavar="LOW,HIGH",
        help="resolution of the pages; low ones come with large type (default: 72,200)",
    )
    add(
        "--computer-modern",
        action="store_true",
        help="set half of pdfLaTeX's documents in LaTeX's own fonts, which are held out for evaluation",
    )


def _bounds(text: str) -> tuple[int, int]:
    """An argument of two whole numbers."""
    parts = text.split(",")
    if len(parts) != 2:
        raise argparse.ArgumentTypeError(f"expected two whole numbers, LOW,HIGH, found {text!r}")
    low, high = (console.whole_number(part) for part in parts)
    return low, high


def run(args: argparse.Namespace) -> int:
    """Make the engine and write its data set."""
    from vary.datagen.formula import FormulaEngine, FormulaEngineConfig

    return write(
        FormulaEngine(configured(FormulaEngineConfig, args)), args, label="typesetting", unit="sample"
    )
