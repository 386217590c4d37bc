"""Where the results of `vary read` go: standard output, one file, or a folder with one file per document.

A file appears complete or not at all, and never replaces one that is there: it gets a number instead.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Set
from pathlib import Path

from vary.cli.console import UsageError, complain
from vary.errors import OutputError
from vary.outputs.files import write_new_file

__all__ = ["SUFFIXES", "OutputError", "Write", "open_output", "open_place", "write_new_file"]

SUFFIXES = {"text": ".txt", "markdown": ".md", "json": ".json", "csv": ".csv"}
"""The ending of each format's files."""

Write = Callable[[Path, str], None]
"""Stores one document: the file that it was read from, and its rendered text."""


def open_output(out: str | None, suffix: str, inputs: int) -> Write:
    """What stores each document's result, checked before anything is read.

    `out` None is standard output; a name that ends as a format's files do and is no folder is the one file
    for a single input; anything else is a folder, made where it is missing.

    Raises UsageError for one file and several inputs, OutputError for a place that cannot be written.
    """
    if out is None:
        return _stdout_writer(suffix)
    target = Path(out)
    is_file = open_place(out, "-o", set(SUFFIXES.values()), inputs)
    folder = target.parent if is_file else target

    def write(source: Path, text: str) -> None:
        wanted = target if is_file else folder / f"{source.stem}{suffix}"
        written = write_new_file(wanted, text)
        if written != wanted:
            complain(f"{source}: written to {written}, because {wanted.name} was there already")

    return write


def open_place(out: str, option: str, suffixes: Set[str], inputs: int) -> bool:
    """Whether the value of an option is a file with one of these endings; if not, it is a folder.

    The folder is made where it is missing, and tried.  Raises as `open_output` does.
    """
    target = Path(out)
    is_file = target.suffix.lower() in suffixes and not target.is_dir() and not out.endswith(("/", os.sep))
    if is_file and inputs > 1:
        raise UsageError(
            f"{option} {out} is one file for {inputs} inputs: name a folder, or put a / behind the name"
        )
    folder = target.parent if is_file else target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); choose another OUT") from error
    return is_file


def _stdout_writer(suffix: str) -> Write:
    """Documents one after another, a blank line between them (JSON: one document a line)."""
    first = True

    def write(source: Path, text: str) -> None:
        nonlocal first
        if not first and suffix != SUFFIXES["json"]:
            sys.stdout.write("\n")
        first = False
        sys.stdout.write(text)
        sys.stdout.flush()

    return write
