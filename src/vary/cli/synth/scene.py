"""`vary synth scene`: pictures of drawn objects with exact boxes, to detect or to find by a description."""

from __future__ import annotations

import argparse

from vary.cli import console
from vary.cli.synth.running import (
    add_clean_share,
    add_languages,
    add_share,
    add_shared_options,
    configured,
    listed,
    write,
)

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
Composes pictures of objects of 65 drawn classes on varied backgrounds and writes them with questions for
boxes: all objects, some classes where there are more than 30 boxes, or one object that a description names
and no other.  A share of the pictures is asked for text and answered with a fixed sentence.  The same options
give the same samples, whatever the number of workers.
"""

EPILOG = """\
examples:
  vary synth scene --out scenes --samples 20000 --workers 8
  vary synth scene --out finding --samples 5000 --referring-share 1 --negative-share 0 --languages en
  vary synth scene --out detecting --samples 5000 --referring-share 0 --classes cup,key,house
"""


def add_parser(engines: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the engine."""
    parser = console.add_command(
        engines, "scene", help="drawn objects and their boxes", description=DESCRIPTION, epilog=EPILOG
    )
    add_shared_options(parser)
    add_clean_share(parser, 0.5)
    add_share(parser, "referring", 0.45, "pictures that ask for one described object")
    add_share(parser, "negative", 0.05, "pictures that are asked for text and have none")
    add_share(parser, "crowded", 0.12, "the other pictures with more than 30 objects")
    parser.add_argument(
        "--classes", type=listed, metavar="A,B", help="some classes, such as cup,key (default: all)"
    )
    add_languages(parser, "en,zh")


def run(args: argparse.Namespace) -> int:
    """Make the engine and write its data set."""
    from vary.datagen.scene import SceneConfig, SceneEngine

    return write(SceneEngine(configured(SceneConfig, args)), args, label="composing", unit="picture")
