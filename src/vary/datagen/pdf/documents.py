"""PDF files as documents: found, each taken once, and each in one split, whatever it is called."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from vary.datagen.corpus import file_sha256
from vary.errors import DataError, InputError
from vary.inputs.pages import DEFAULT_LIMITS, InputLimits, expand_sources
from vary.inputs.pdf import PdfFile

__all__ = ["Document", "LeftOut", "find_documents", "open_document", "split_of"]

_SUFFIX = ".pdf"


@dataclass(frozen=True, slots=True)
class Document:
    """A PDF file that can be opened: where it lies, what it is called, the hash of its bytes, its pages."""

    path: Path
    name: str
    sha256: str
    pages: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not taken, and why."""

    name: str
    reason: str


def split_of(sha256: str, shares: Sequence[tuple[str, float]]) -> str:
    """The split of a document: the hash of its bytes as a number from 0 to 1, laid on the shares in order."""
    place = int(sha256[:16], 16) / 2**64
    upper = 0.0
    for name, share in shares:
        upper += share
        if place < upper:
            return name
    return shares[-1][0]


def find_documents(
    files: Iterable[str], limits: InputLimits = DEFAULT_LIMITS
) -> tuple[list[Document], list[LeftOut]]:
    """The documents of files and folders, in the order of their hashes, and what was left out.

    A file with the bytes of another is left out, as are those that are broken, encrypted or no PDF.

    Raises:
        DataError: if a name leads nowhere, or nothing is left.
    """
    files = tuple(files)
    by_hash: dict[str, Document] = {}
    left_out: list[LeftOut] = []
    for path, name in _named(files):
        try:
            sha256 = file_sha256(path)
        except OSError as error:
            left_out.append(LeftOut(name, f"cannot be read, {error.strerror or error}"))
            continue
        if sha256 in by_hash:
            left_out.append(LeftOut(name, f"the same bytes as {by_hash[sha256].name}"))
            continue
        try:
            with closing(open_document(path, name, limits)) as file:
                by_hash[sha256] = Document(path, name, sha256, file.count)
        except InputError as error:
            left_out.append(LeftOut(name, _reason(error, name)))
    if not by_hash:
        why = "; ".join(f"{entry.name}: {entry.reason}" for entry in left_out[:3])
        why = why or f"there is none in {', '.join(map(str, files))}"
        raise DataError(f"no PDF file to learn from: {why}")
    return [by_hash[sha256] for sha256 in sorted(by_hash)], left_out


def _reason(error: InputError, name: str) -> str:
    """The reader's message without the name, and without its advice to give a password: none is taken."""
    reason = str(error).removeprefix(f"{name}: ")
    found, encrypted, _ = reason.partition(" is encrypted")
    return f"{found}{encrypted}; save a copy without encryption" if encrypted else reason


def open_document(path: Path, name: str, limits: InputLimits = DEFAULT_LIMITS, dpi: float = 100.0) -> PdfFile:
    """A PDF file, opened by the reader's own code.  Raises `InputError`, naming it `name`."""
    try:
        stream = path.open("rb")
    except OSError as error:
        raise InputError(f"{name}: cannot be read, {error.strerror or error}") from error
    try:
        limits.check_bytes(os.fstat(stream.fileno()).st_size, name)
        return PdfFile(stream, name, limits, dpi=dpi, password=None)
    except BaseException:
        stream.close()
        raise


def _named(files: Iterable[str]) -> list[tuple[Path, str]]:
    """Every PDF file with its name: relative to the folder that was given, or its own."""
    found: dict[Path, str] = {}
    for given in map(Path, files):
        if not given.exists():
            raise DataError(f"{given}: there is no such file or folder")
        paths = [path for path in expand_sources(given) if path.suffix.lower() == _SUFFIX or path == given]
        for path in paths:
            if path.is_dir():
                continue
            name = path.relative_to(given).as_posix() if given.is_dir() else path.name
            found.setdefault(path.resolve(), name)
    return list(found.items())
