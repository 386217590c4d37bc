"""Where the results of `vary read` go: standard output, one file, or a folder with one file per document.

A file appears complete or not at all, and never replaces one that is there: it gets a number instead.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from vary.cli.console import UsageError, complain
from vary.errors import VaryError

__all__ = ["SUFFIXES", "OutputError", "Write", "open_output", "write_new_file"]

SUFFIXES = {"text": ".txt", "markdown": ".md", "json": ".json"}
"""The ending of each format's files."""

Write = Callable[[Path, str], None]
"""Stores one document: the file that it was read from, and its rendered text."""


class OutputError(VaryError):
    """A result cannot be stored where it should go."""


def open_output(out: str | None, suffix: str, inputs: int) -> Write:
    """What stores each document's result, checked before anything is read.

    `out` None is standard output; a name that ends in .txt, .md or .json and is no folder is the one file for
    a single input; anything else is a folder, made where it is missing.

    Raises UsageError for one file and several inputs, OutputError for a place that cannot be written.
    """
    if out is None:
        return _stdout_writer()
    target = Path(out)
    is_file = target.suffix in SUFFIXES.values() and not target.is_dir() and not out.endswith(("/", os.sep))
    if is_file and inputs > 1:
        raise UsageError(
            f"-o {out} is one file for {inputs} inputs: name a folder, or put a / behind the name"
        )
    folder = target.parent if is_file else target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); choose another OUT") from error

    def write(source: Path, text: str) -> None:
        wanted = target if is_file else folder / f"{source.stem}{suffix}"
        written = write_new_file(wanted, text)
        if written != wanted:
            complain(f"{source}: written to {written}, because {wanted.name} was there already")

    return write


def write_new_file(path: Path, text: str) -> Path:
    """Write `text` as UTF-8 to `path`, or to STEM-2, STEM-3, ... where that exists; returns the file's path.

    The text is complete under a temporary name before the file gets its own, so no half file is ever seen.

    Raises OutputError, and leaves nothing behind, where the disk is full or the folder cannot be written.
    """
    made: list[Path] = []
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".vary-", suffix=".part")
        made.append(Path(temporary))
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        target = _reserve(path)
        made.append(target)
        os.replace(temporary, target)
    except OSError as error:
        for leftover in made:
            leftover.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    return target


def _reserve(path: Path) -> Path:
    """The first of STEM, STEM-2, STEM-3, ... that does not exist, made as an empty file to keep the name."""
    number, target = 1, path
    while True:
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            number += 1
            target = path.with_name(f"{path.stem}-{number}{path.suffix}")
        else:
            return target


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _stdout_writer() -> Write:
    """Documents one after another, a blank line between them (JSON: one document a line)."""
    first = True

    def write(source: Path, text: str) -> None:
        nonlocal first
        if not (first or text.startswith("{")):
            sys.stdout.write("\n")
        first = False
        sys.stdout.write(text)
        sys.stdout.flush()

    return write
