"""`vary synth annotations`: data sets that others have annotated, as shards."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vary.cli import console
from vary.cli.synth.running import add_shared_options, listed, write

if TYPE_CHECKING:
    from vary.datagen.readers.formats import Format

__all__ = ["FORMAT_NAMES", "add_format_options", "add_parser", "format_fields", "run"]

# Named again here so that `vary --help` need not load the readers; a test compares them.
FORMAT_NAMES = (
    *("llava", "coco", "openimages", "refcoco", "coco-captions"),
    *("docvqa", "chartqa", "sharegpt", "alpaca"),
)

_OPTIONS = {
    "image_folder": "--images",
    "classes": "--classes",
    "instances": "--instances",
    "languages": "--languages",
    "captions": "--captions",
    "every_caption": "--every-caption",
    "max_characters": "--max-characters",
}
"""What only some formats have: fields of their configurations and the options that set them."""

DESCRIPTION = """\
Reads annotation files and their images and writes shards.  The formats: llava (conversations, also those that
hold captions), coco (COCO instances and Objects365), openimages (CSV), refcoco (as JSON), coco-captions,
docvqa, chartqa (human or augmented), sharegpt and alpaca (text alone).  A record that is broken, or whose
image is, is named with its line and passed over; more than a tenth of such records stop the run.
"""

EPILOG = """\
examples:
  vary synth annotations examples/llava/conversations.json --images examples/llava --out talks
  vary synth annotations instances_train2017.json --images train2017 --languages en,zh --out boxes
  vary synth annotations boxes.csv --classes class-descriptions-boxable.csv --images train --out boxes
  vary synth annotations refs.json --instances instances.json --images train2014 --out expressions
  vary synth annotations blip_558k.json --format llava --captions --images pretrain --out captions
"""


def add_parser(engines: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the engine."""
    parser = console.add_command(
        engines,
        "annotations",
        help="LLaVA, COCO, OpenImages, RefCOCO, DocVQA, ChartQA, ShareGPT and Alpaca files",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    add_format_options(parser)
    add_shared_options(parser, endless=False)
    add = parser.add_argument
    add("--licence", metavar="TEXT", help="licence of the data, recorded with each sample")
    add(
        "--languages",
        type=listed,
        metavar="A,B",
        help="llava, sharegpt, alpaca: keep these of en, zh, mixed, other; coco, openimages: ask in en, zh",
    )
    add(
        "--captions",
        action="store_true",
        default=None,
        help="llava: the first answers are captions; ask for them in our own wordings",
    )
    add(
        "--every-caption",
        action="store_true",
        default=None,
        help="coco-captions: all captions of an image, not one",
    )
    add(
        "--max-characters",
        type=console.positive_int,
        metavar="N",
        help="sharegpt, alpaca: leave longer conversations out",
    )


def add_format_options(parser: argparse.ArgumentParser) -> None:
    """The file, its format, and what belongs to it; `vary synth check` has them too."""
    add = parser.add_argument
    add("file", metavar="FILE", help="the annotations (.json, .jsonl, .csv)")
    add("--format", choices=FORMAT_NAMES, metavar="NAME", help="default: what the file is seen to be")
    add("--images", dest="image_folder", metavar="DIR", help="folder that the images' names are relative to")
    add("--classes", metavar="CSV", help="openimages: the names of its classes")
    add("--instances", metavar="JSON", help="refcoco: instances.json, which has the boxes")


def run(args: argparse.Namespace) -> int:
    """Make the reader and write its data set."""
    from vary.datagen.readers.formats import find_format

    format = find_format(args.format, args.file)
    fields = format_fields(format, args)
    missing = [option for name, option in _OPTIONS.items() if name in format.needed - fields.keys()]
    if missing:
        raise console.UsageError(f"format {format.name} needs {' and '.join(missing)}")
    reader = format.reader(file=args.file, licence=args.licence, split=args.split, seed=args.seed, **fields)
    return write(reader, args, label="reading")


def format_fields(format: Format, args: argparse.Namespace) -> dict[str, Any]:
    """What the options say that some formats have, by the fields of their configurations.

    Raises:
        UsageError: for one that this format has not, or a folder or second file that is not there.
    """
    given = {name: value for name in _OPTIONS if (value := getattr(args, name, None)) is not None}
    idle = [_OPTIONS[name] for name in given if name not in format.options]
    if idle:
        raise console.UsageError(f"format {format.name} takes no {', '.join(idle)}; leave it out")
    if "image_folder" in given and not Path(args.image_folder).is_dir():
        raise console.UsageError(f"{args.image_folder}: no such folder of images")
    for name in ("classes", "instances"):
        if name in given and not Path(given[name]).is_file():
            raise console.UsageError(f"{given[name]}: no such file")
    return given
