"""`vary synth annotations`: data sets that others have annotated, as shards."""

from __future__ import annotations

import argparse
from pathlib import Path

from vary.cli import console
from vary.cli.synth.running import add_shared_options, listed, write

__all__ = ["FORMAT_NAMES", "add_parser", "run"]

# Named again here so that `vary --help` need not load the readers; a test compares them.
FORMAT_NAMES = (
    *("llava", "coco", "openimages", "refcoco", "coco-captions"),
    *("docvqa", "chartqa", "sharegpt", "alpaca"),
)

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
        metavar="A,B",
        help="llava, sharegpt, alpaca: keep these of en, zh, mixed, other; coco, openimages: ask in en, zh",
    )
    add(
        "--captions",
        action="store_true",
        help="llava: the first answers are captions; ask for them in our own wordings",
    )
    add("--every-caption", action="store_true", help="coco-captions: all captions of an image, not one")
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
    add("--images", metavar="DIR", help="folder that the images' names are relative to")
    add("--classes", metavar="CSV", help="openimages: the names of its classes")
    add("--instances", metavar="JSON", help="refcoco: instances.json, which has the boxes")


def run(args: argparse.Namespace) -> int:
    """Make the reader and write its data set."""
    from vary.datagen.readers.formats import find_format

    format = find_format(args.format, args.file)
    check_paths(args)
    options = {
        "image_folder": ("--images", args.images),
        "classes": ("--classes", args.classes),
        "instances": ("--instances", args.instances),
        "languages": ("--languages", listed(args.languages) if args.languages else None),
        "captions": ("--captions", args.captions or None),
        "every_caption": ("--every-caption", args.every_caption or None),
        "max_characters": ("--max-characters", args.max_characters),
    }
    idle = [
        option
        for name, (option, value) in options.items()
        if value is not None and name not in format.options
    ]
    if idle:
        raise console.UsageError(f"format {format.name} takes no {', '.join(idle)}; leave it out")
    missing = [option for name, (option, value) in options.items() if value is None and name in format.needed]
    if missing:
        raise console.UsageError(f"format {format.name} needs {' and '.join(missing)}")
    fields = {name: value for name, (_, value) in options.items()}
    reader = format.reader(
        file=args.file, licence=args.licence, split=args.split_name, seed=args.seed, **fields
    )
    return write(reader, args, label="reading")


def check_paths(args: argparse.Namespace) -> None:
    """Raises `UsageError` where a folder or second file that was named is not there."""
    if args.images is not None and not Path(args.images).is_dir():
        raise console.UsageError(f"{args.images}: no such folder of images")
    for path in (args.classes, args.instances):
        if path is not None and not Path(path).is_file():
            raise console.UsageError(f"{path}: no such file")
