"""What the commands share that read pages: how many at a time, with which draft, and what read them."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vary.cli import console
from vary.cli.checkpoints import SHIPPED, find_checkpoint
from vary.errors import InputError

if TYPE_CHECKING:
    from vary.evaluation.suites import SuitePage
    from vary.model.configuration import VaryConfig
    from vary.outputs.document import Document, Provenance
    from vary.reader import Reader

__all__ = ["add_reading_options", "load_reader", "manner", "read_whole_suite", "reading_options"]

NO_GUESS = ("auto", "off")
"""Choices of a draft that fit every checkpoint; every other one is asked for, and must have an effect."""


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """The options that say how fast pages are read, and not what; see `reading_options`."""
    add = parser.add_argument
    add(
        "--batch-size",
        type=console.positive_int,
        metavar="N",
        help="windows that are read at a time (default: 32 lines; 8 pages on a GPU, on a CPU 4 with the "
        "native kernels, else one); as a page ends, the next one joins, also of another file",
    )
    add(
        "--draft",
        metavar="auto|pdf|nano|FILE|off",
        help="a guess of the text, which makes reading faster and changes nothing else: a PDF's text layer, "
        "vary-nano's reading, or, for a single document, a text file with a form feed between pages "
        "(default: auto, the text layer, else vary-nano if the model is ten times larger)",
    )
    add("--verbose", action="store_true", help="say what read, on what, and what drafts were worth")


def reading_options(args: argparse.Namespace, documents: int) -> dict[str, Any]:
    """The options of `Reader.read_many` that the user gave; a file of drafts is read here, once.

    Args:
        args: with the options of `add_reading_options`.
        documents: how many will be read.

    Raises:
        UsageError: for a file of drafts that cannot be read or is none, or for several documents.
    """
    given: dict[str, Any] = {} if args.batch_size is None else {"batch_size": args.batch_size}
    if args.draft is not None:
        given["draft"] = _draft(args.draft, documents)
    return given


def _draft(choice: str, documents: int) -> str | list[str]:
    from vary.page_drafts import DRAFT_CHOICES, draft_pages

    if choice in DRAFT_CHOICES:
        return choice
    try:
        pages = draft_pages(choice)
    except InputError as error:
        raise console.UsageError(str(error)) from error
    if documents > 1:
        raise console.UsageError(
            f"--draft {choice} is the text of one document, and {documents} are to be read; read one at a "
            "time, or give --draft pdf or nano"
        )
    return pages


def load_reader(args: argparse.Namespace, options: Mapping[str, Any]) -> Reader:
    """The reader that the model's options ask for; says what there is to know about how it runs here.

    Args:
        args: with the options of `console.add_model_options`.
        options: of reading or of `Sampling`.

    Raises:
        UsageError: before any weights are read, for what this checkpoint will not follow: a draft where it
            reads lines, several beams where the native kernels decode.
    """
    console.quiet_libraries()
    draft, beams = options.get("draft"), options.get("num_beams", 1)
    if draft is not None and draft not in NO_GUESS and _reads_lines(args.model):
        raise console.UsageError(
            f"--draft {args.draft} has no effect with {args.model or SHIPPED}, which drafts its lines "
            "itself; leave it out"
        )
    if args.quantize is not None and beams > 1 and _kernels_decode(args):
        raise console.UsageError(
            f"--num-beams {beams} is not for weights of --quantize {args.quantize} on a CPU: the native "
            "kernels, which decode them, follow no beams; leave one of them out"
        )
    from vary.reader import Reader

    with console.terminated_as_interrupt():  # packed weights may be half written
        reader = Reader.load(**console.model_options(args))
    for text in reader.notes:
        console.complain(f"note: {text}")
    return reader


def _reads_lines(model: str | None) -> bool:
    shipped = model is None or (model == SHIPPED and not Path(model).exists())
    return shipped or _configuration(model).line_size is not None


def _kernels_decode(args: argparse.Namespace) -> bool:
    """Whether the native kernels would decode quantized weights of this checkpoint on this device."""
    from vary.engine.devices import resolve_device
    from vary.quantized import kernels_refuse

    return kernels_refuse(_configuration(args.model), resolve_device(args.device)) is None


def _configuration(model: str | None) -> VaryConfig:
    """Of a checkpoint of any format; no weights are read.  Raises CheckpointError if it is none."""
    from vary.weights.sources import open_source

    return open_source(find_checkpoint(model or SHIPPED)).config


def manner(model: Provenance) -> str:
    """How documents were read: on what, and what drafts were worth."""
    settings = model.settings
    text = (
        f"read by {model.name} on {settings.get('device')} in {settings.get('dtype')}; vision: "
        f"{settings.get('vision')}; decoder: {settings.get('decoder')}"
    )
    use = settings.get("draft_use")
    if not use:
        return f"{text}; no draft"
    pages = ", ".join(f"{name} {count}" for name, count in use["pages"].items())
    return (
        f"{text}; draft (pages: {pages}): {use['tokens']} tokens in {use['steps']} steps, "
        f"{use['tokens_per_step']:g} a step; {use['accepted']} of {use['proposed']} proposed tokens kept"
    )


def read_whole_suite(
    suite: list[SuitePage], args: argparse.Namespace
) -> tuple[list[tuple[SuitePage, Document | InputError]], dict[str, Any]]:
    """Each page of a suite with what was read of it, and what a report says of how; under a bar.

    Args:
        suite: the pages.
        args: with the options of `console.add_model_options` and `add_reading_options`.
    """
    from vary.evaluation.runner import read_suite

    options = reading_options(args, len(suite))
    reader = load_reader(args, options)
    with console.terminated_as_interrupt(), console.progress_bar("evaluate", "page") as progress:
        results = list(read_suite(suite, partial(reader.read_many, **options), progress=progress))
    model = _provenance_of(found for _, found in results)
    if model is None:
        return results, {}
    if args.verbose:
        console.note(manner(model))
    return results, {"model": asdict(model)}


def _provenance_of(results: Iterable[Document | InputError]) -> Provenance | None:
    """What read several documents: as the last one has it, with what drafts were worth on all of them."""
    from vary.page_drafts import PageDrafts

    model, drafts = None, PageDrafts()
    for result in results:
        if not isinstance(result, InputError):
            model = result.model
            drafts.count_in(model.settings)
    return None if model is None else replace(model, settings={**model.settings, **drafts.settings()})
