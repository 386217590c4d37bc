"""`vary synth text`: whole pages typeset from a corpus, with their exact text and its boxes."""

from __future__ import annotations

import argparse

from vary.cli import console
from vary.cli.synth.running import (
    add_clean_share,
    add_corpus_options,
    add_font_options,
    add_shared_options,
    listed,
    probability,
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
    add = parser.add_argument
    add("--languages", default="en,zh", metavar="A,B", help="some of en, zh (default: en,zh)")
    add(
        "--mixed-share",
        type=probability,
        default=0.1,
        metavar="P",
        help="share of documents in both languages, where both are asked for (default: 0.1)",
    )
    add("--layouts", default="", metavar="A,B", help="names of layouts (default: all)")
    add(
        "--browser-share",
        type=probability,
        default=0.25,
        metavar="P",
        help="share of the pages that Chromium typesets (default: 0.25)",
    )
    add(
        "--painted-share",
        type=probability,
        default=0.05,
        metavar="P",
        help="share of the pages that no typesetter makes; Typst has the rest (default: 0.05)",
    )
    add(
        "--answer",
        choices=("paragraphs", "lines"),
        default="paragraphs",
        help="the text with the lines of a paragraph joined, or line by line (default: paragraphs)",
    )
    add(
        "--markdown-share",
        type=probability,
        default=0.25,
        metavar="P",
        help="share of the pages whose answer is Markdown (default: 0.25)",
    )
    add(
        "--no-marginals",
        action="store_true",
        help="leave headers, footers and page numbers out of the text as they are out of the Markdown",
    )
    add_font_options(parser)


def run(args: argparse.Namespace) -> int:
    """Make the engine and write its data set."""
    from vary.datagen.text import TextEngine, TextEngineConfig

    config = TextEngineConfig(
        corpus=tuple(args.corpus),
        seed=args.seed,
        split=args.split_name,
        languages=listed(args.languages),
        mixed_share=args.mixed_share,
        licence=args.licence,
        layouts=listed(args.layouts) or None,
        browser_share=args.browser_share,
        painted_share=args.painted_share,
        exclude_fonts=listed(args.exclude_fonts),
        font_folders=tuple(args.font_dir) if args.font_dir else None,
        clean_share=args.clean_share,
        answer=args.answer,
        markdown_share=args.markdown_share,
        marginals_in_ocr=not args.no_marginals,
    )
    return write(TextEngine(config), args, label="typesetting", unit="page")
