"""`vary synth text`: whole pages typeset from a corpus, with their exact text and its boxes."""

from __future__ import annotations

import argparse

from vary.cli import console
from vary.cli.synth.running import (
    add_clean_share,
    add_corpus_options,
    add_font_options,
    add_languages,
    add_share,
    add_shared_options,
    configured,
    listed,
    write,
)

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
Draws documents of many layouts from a corpus, typesets them with Typst and Chromium (and paints a few),
checks every page against its own text, and writes the pages with their text, or as Markdown, and the boxes of
their lines and words.  A page that does not show exactly its text is left out and counted.
"""

EPILOG = """\
examples:
  vary synth text --corpus en.txt.xz zh.txt.xz --out pages --samples 20000 --workers 8
  vary synth text --corpus zh.txt.xz --languages zh --layouts "newspaper,two columns" --out news --samples 500
  vary synth text --corpus en.txt --languages en --browser-share 0 --answer lines --out pages --samples 100
  vary synth preview pages -o contact.png
"""


def add_parser(engines: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the engine."""
    parser = console.add_command(
        engines, "text", help="whole pages typeset from a corpus", description=DESCRIPTION, epilog=EPILOG
    )
    add_shared_options(parser, samples_per_shard=500)
    add_clean_share(parser, 0.45)
    add_corpus_options(parser)
    add_languages(parser, "en,zh")
    add_share(parser, "mixed", 0.1, "documents in both languages, where both are asked for")
    add = parser.add_argument
    add("--layouts", type=listed, metavar="A,B", help="names of layouts (default: all)")
    add_share(parser, "browser", 0.25, "the pages that Chromium typesets")
    add_share(parser, "painted", 0.05, "the pages that no typesetter makes; Typst has the rest")
    add(
        "--answer",
        choices=("paragraphs", "lines"),
        default="paragraphs",
        help="the text with the lines of a paragraph joined, or line by line (default: paragraphs)",
    )
    add_share(parser, "markdown", 0.25, "the pages whose answer is Markdown")
    add(
        "--no-marginals",
        dest="marginals_in_ocr",
        action="store_false",
        help="leave headers, footers and page numbers out of the text as they are out of the Markdown",
    )
    add_font_options(parser)


def run(args: argparse.Namespace) -> int:
    """Make the engine and write its data set."""
    from vary.datagen.text import TextEngine, TextEngineConfig

    return write(TextEngine(configured(TextEngineConfig, args)), args, label="typesetting", unit="page")
