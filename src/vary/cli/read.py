"""`vary read`: files in; text, Markdown, JSON or CSV out, and pages with their boxes drawn."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vary.cli import console, reading
from vary.cli.overlay import open_overlay
from vary.cli.writing import SUFFIXES, OutputError, Write, open_output
from vary.errors import InputError
from vary.inputs.tasks import LANGUAGES

if TYPE_CHECKING:
    from vary.outputs.document import Document, Page

__all__ = ["add_parser", "run"]

DESCRIPTION = """\
Reads page images and PDFs.  The result goes to standard output, or with -o to one file per document;
messages go to standard error and name the file.  The exit code is 0 only if every page is ok or blank;
a file that fails does not keep the others from being read.
"""

EPILOG = """\
examples:
  vary read page.png
  vary read report.pdf --pages 1-3,7 --format markdown
  vary read scans/ letter.jpg -o texts
  vary read page.png -o page.json
  vary read page.png --overlay boxes.png
  vary read photo.jpg --model vary-toy --task detect --overlay found.png
  vary read report.pdf --model vary-toy --draft pdf --verbose
  vary read page.png --model vary-toy --device cuda --dtype bfloat16 --offload
  vary read chart.png --model vary-toy --task chart --format csv
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = console.add_command(
        subparsers,
        "read",
        help="read page images and PDFs",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="an image, a PDF, or a folder of them")
    add(
        "-o",
        "--output",
        metavar="OUT",
        help="a folder, for one STEM.txt, .md, .json or .csv per document; or, for a single document, a file "
        "with such an ending; a name that is taken gets a number (STEM-2.txt)",
    )
    add(
        "--format",
        choices=list(SUFFIXES),
        help="what to write (default: what the ending of OUT says, else text); JSON on standard output is "
        "one document a line; CSV is for charts and detections",
    )
    add(
        "--overlay",
        metavar="PNG",
        help="also draw each page with its boxes: detections, else lines coloured by confidence; a file, of "
        "which several pages become STEM-1.png, STEM-2.png, ..., or a folder",
    )
    add("--task", metavar="TASK", help="a task that the checkpoint knows (default: its first)")
    add(
        "--prompt",
        metavar="TEXT",
        help="the subject of a task that takes one, or a free prompt where the checkpoint takes any",
    )
    add(
        "--language",
        choices=LANGUAGES,
        help="language of the task's prompt, where there is one in it (default: the checkpoint's first)",
    )
    add(
        "--pages", metavar="RANGE", help="pages of each file, counted from 1, such as 1-3,7,9- (default: all)"
    )
    add("--dpi", type=console.positive_number, metavar="N", help="resolution of PDF pages (default: 200)")
    console.add_model_options(parser)
    reading.add_reading_options(parser)
    add("--max-new-tokens", type=console.positive_int, metavar="N", help="longest answer per window")
    console.add_sampling_options(parser)
    add("--password", metavar="TEXT", help="opens encrypted PDFs; other users of the machine may see it")


def run(args: argparse.Namespace) -> int:
    """Read every file, write every result; the exit code says whether every page was read."""
    from vary.inputs.pages import expand_sources

    format_name = args.format or _format_of_ending(args.output)
    sources = expand_sources(args.files)
    options = _reader_options(args, len(sources))
    if format_name == "csv":
        _check_csv(args.task)
    write = open_output(args.output, SUFFIXES[format_name], len(sources))
    draw = open_overlay(args.overlay, len(sources), options) if args.overlay else None
    all_good, done = True, 0
    try:
        with console.terminated_as_interrupt():
            for source, document in _read_each(args, sources, options, format_name):
                done += 1
                if document is None:
                    all_good = False
                    continue
                all_good &= _report(source, document)
                if args.verbose:
                    console.note(f"{source.name}: {reading.manner(document.model)}")
                _store(write, source, _rendered(document, format_name, on_stdout=args.output is None))
                all_good &= draw is None or draw(source, document)
    except OutputError as error:
        console.complain(f"{error}; files not read: {len(sources) - done}")
        return console.EXIT_FAILED
    return console.EXIT_OK if all_good else console.EXIT_FAILED


def _format_of_ending(out: str | None) -> str:
    """The format that the ending of OUT stands for, where it names a file; else text."""
    if out is not None and not Path(out).is_dir():
        for name, suffix in SUFFIXES.items():
            if out.lower().endswith(suffix):
                return name
    return "text"


def _reader_options(args: argparse.Namespace, documents: int) -> dict[str, Any]:
    """The options of `Reader.read` that the user gave; what is not given stays the reader's to decide."""
    from vary.inputs.page_range import parse_page_range

    try:
        parse_page_range(args.pages)
    except InputError as error:
        raise console.UsageError(str(error)) from error
    names = (
        *("task", "prompt", "language", "pages", "dpi"),
        *("max_new_tokens", "layout", "password"),
    )
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    given |= reading.reading_options(args, documents) | console.sampling_options(args)
    if given.get("num_beams", 1) > 1 and given.get("draft", "off") != "off":
        raise console.UsageError(
            "--draft has no effect where several beams are followed; leave one of them out"
        )
    return given


def _check_csv(task: str | None) -> None:
    """Refuse CSV for a task whose answers are text; one that is not known is the reader's to refuse."""
    from vary.inputs.tasks import TASKS
    from vary.outputs.answers import KIND_OF_TASK
    from vary.outputs.render.csv import CSV_KINDS

    if task in {*TASKS, "prompt"} and KIND_OF_TASK.get(str(task)) not in CSV_KINDS:
        asked = "a free prompt" if task == "prompt" else f"task '{task}'"
        tasks = ", ".join(name for name, kind in KIND_OF_TASK.items() if kind in CSV_KINDS)
        raise console.UsageError(
            f"CSV holds charts and detections, and the answer to {asked} is text; choose another --format, "
            f"or --task {tasks}"
        )


def _read_each(
    args: argparse.Namespace, sources: list[Path], options: dict[str, Any], format_name: str
) -> Iterator[tuple[Path, Document | None]]:
    """Each source with its document, or with None where the file as a whole cannot be read, which is said.

    They are read in one go: pages of the next file may join a batch before this one has ended.
    """
    reader = reading.load_reader(args, options)
    if format_name == "csv" and args.task is None:
        _check_csv("prompt" if args.prompt and args.prompt.strip() else reader.tasks[0])
    with ExitStack() as bars:
        shown: console.Progress | None = None

        def progress(number: int, done: int, total: int | None) -> None:
            nonlocal shown
            if done == 0:
                bars.close()
                name = sources[number].name
                label = f"{name} ({number + 1}/{len(sources)})" if len(sources) > 1 else name
                shown = bars.enter_context(console.progress_bar(label, "page"))
            if shown is not None:
                shown(done, total)

        told = progress if sys.stderr.isatty() else None  # pages are counted for a bar alone
        for source, found in zip(sources, reader.read_many(sources, progress=told, **options), strict=True):
            bars.close()
            if isinstance(found, InputError):
                _complain_of(source, str(found))
            yield source, None if isinstance(found, InputError) else found


def _complain_of(source: Path, message: str, page: Page | None = None) -> None:
    """Say what is wrong with a file or one of its pages, naming each once."""
    from vary.inputs.pages import source_name

    name = source_name(source)
    message = message.removeprefix(f"{name}: ")
    if page is not None:
        message = message.removeprefix(f"page {page.number}: ")
        name = f"{name}: page {page.number}: {page.status}"
    console.complain(f"{name}: {message}" if message else name)


def _report(source: Path, document: Document) -> bool:
    """Say which pages were not read well, and what was odd about others; True if every page is fine."""
    for page in document.pages:
        if page.message or not page.ok:
            _complain_of(source, page.message, page)
    if not document.pages:
        _complain_of(source, "no page was read")
    return document.ok


def _rendered(document: Document, format_name: str, *, on_stdout: bool) -> str:
    """The document in the format, ending in a newline unless it is empty; on stdout JSON is one line."""
    if format_name == "json":
        text = document.to_json(indent=None if on_stdout else 2)
    elif format_name == "csv":
        from vary.outputs.render.csv import render_csv

        text = render_csv(document)
    else:
        text = document.markdown() if format_name == "markdown" else document.text
    return f"{text}\n" if text and not text.endswith("\n") else text


def _store(write: Write, source: Path, text: str) -> None:
    """Write a result; where its file cannot be written, print it instead, so that the reading is not lost."""
    try:
        write(source, text)
    except OutputError as error:
        sys.stdout.write(text)
        sys.stdout.flush()
        raise OutputError(f"{source}: {error}; its result went to standard output instead") from error
