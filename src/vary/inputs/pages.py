"""Everything that can be read becomes a stream of page images.

Files, bytes, PIL images and arrays go in; pages come out one at a time, upright and RGB, while no other page
of the file is held in memory.
"""

from __future__ import annotations

import io
import math
import os
import re
import stat
from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vary.errors import InputError
from vary.inputs.filetype import HEAD_BYTES, SUPPORTED, SUPPORTED_SUFFIXES, FileType, describe, sniff
from vary.inputs.page_image import DEFAULT_LIMITS, InputLimits, PageFailure, PageImage
from vary.inputs.page_range import PageSelection, parse_page_range
from vary.inputs.pdf import PdfFile
from vary.inputs.pixels import image_from_array
from vary.inputs.raster import MemoryFile, RasterFile

__all__ = [
    "DEFAULT_DPI",
    "DEFAULT_LIMITS",
    "InputLimits",
    "PageFailure",
    "PageImage",
    "PageSelection",
    "Source",
    "expand_sources",
    "open_page",
    "open_pages",
    "page_count",
    "parse_page_range",
    "source_name",
]

Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | Image.Image | NDArray[Any]
"""A path, the bytes of a file, a PIL image, or an array (H, W[, 1 | 3 | 4])."""

DEFAULT_DPI = 200.0
"""Dots per inch at which PDF pages are painted."""


class _PageFile(Protocol):
    @property
    def count(self) -> int: ...

    def read(self, index: int) -> PageImage: ...

    def close(self) -> None: ...


def open_pages(
    source: Source,
    *,
    pages: str | PageSelection | None = None,
    dpi: float = DEFAULT_DPI,
    limits: InputLimits = DEFAULT_LIMITS,
    password: str | None = None,
    text: bool = False,
) -> Generator[PageImage | PageFailure, None, None]:
    """The pages of ``source``, lazily, in the order of the file.

    ``pages`` selects some (``1-3,5,8-``); ``dpi`` and ``password`` concern PDF files only, and so
    does ``text``: their pages come with their text layer.  A page that
    cannot be read in a file of several pages comes as a PageFailure and the others follow.  The file is
    closed when the generator ends or is closed.

    Raises InputError, at once for a wrong ``pages`` or ``dpi``, at the first page for a source that cannot be
    read at all or whose only page cannot be read; LimitError for one that is too large.
    """
    selection = pages if isinstance(pages, PageSelection) else parse_page_range(pages)
    if not (math.isfinite(dpi) and dpi > 0):
        raise InputError(f"dpi {dpi!r} cannot be painted at; give a positive number such as {DEFAULT_DPI:g}")
    return _pages(source, selection, dpi, limits, password, text)


def open_page(
    source: Source,
    page: int = 1,
    *,
    dpi: float = DEFAULT_DPI,
    limits: InputLimits = DEFAULT_LIMITS,
    password: str | None = None,
) -> PageImage:
    """One page of ``source``, counted from 1.  Raises InputError where it is not there or cannot be read."""
    if page < 1:
        raise InputError(f"page {page} was asked for; pages are counted from 1")
    with closing(open_pages(source, pages=str(page), dpi=dpi, limits=limits, password=password)) as pages:
        opened = next(pages)
    if isinstance(opened, PageFailure):
        raise InputError(opened.message)
    return opened


def page_count(source: Source, *, limits: InputLimits = DEFAULT_LIMITS, password: str | None = None) -> int:
    """How many pages ``source`` has; nothing is decoded or painted.  Raises InputError."""
    with closing(_open(source, DEFAULT_DPI, limits, password)) as file:
        return file.count


def expand_sources(sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Folders become their files, all levels down, ``page 2`` before ``page 10``; files stay as they are.

    A folder's files are those that vary reads by their content, and those that are named as if: a broken scan
    must be reported, not skipped.  Hidden files and folders are left out.  What does not exist, or holds
    nothing to read, stays in the list for ``open_pages`` to complain about, so that it takes no other file
    down with it.
    """
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    paths: list[Path] = []
    for source in map(Path, sources):
        paths += (_files_in(source) or [source]) if os.path.isdir(source) else [source]
    return paths


def source_name(source: Source) -> str:
    """What messages call ``source``: its path as given, ``<bytes>``, ``<image>`` or ``<array>``."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source).encode("utf-8", "backslashreplace").decode()
    if isinstance(source, bytes | bytearray):
        return "<bytes>"
    return "<image>" if isinstance(source, Image.Image) else "<array>"


def _pages(
    source: Source,
    selection: PageSelection,
    dpi: float,
    limits: InputLimits,
    password: str | None,
    text: bool,
) -> Generator[PageImage | PageFailure, None, None]:
    with closing(_open(source, dpi, limits, password, text)) as file:
        name = source_name(source)
        indices = selection.indices(file.count, name)
        limits.check_pages(len(indices), name)
        for index in indices:
            yield _read_or_fail(file, index, name)


def _read_or_fail(file: _PageFile, index: int, name: str) -> PageImage | PageFailure:
    try:
        return file.read(index)
    except InputError as error:
        if file.count == 1:
            raise
        return PageFailure(name, index, str(error))


def _open(
    source: Source, dpi: float, limits: InputLimits, password: str | None, text: bool = False
) -> _PageFile:
    name = source_name(source)
    if isinstance(source, Image.Image):
        return MemoryFile(source, name, limits)
    if isinstance(source, np.ndarray):
        return MemoryFile(image_from_array(source, name), name, limits)
    if isinstance(source, str | os.PathLike):
        stream = _open_path(source, name, limits)
    elif isinstance(source, bytes | bytearray):
        limits.check_bytes(len(source), name)
        stream = io.BytesIO(source)
    else:
        raise InputError(
            f"{type(source).__name__} is not a source of pages, expected a path, "
            "bytes, a PIL image or a numpy array"
        )
    try:
        head = stream.read(HEAD_BYTES)
        stream.seek(0)
        kind = _kind(head, name)
        if kind == FileType.PDF:
            return PdfFile(stream, name, limits, dpi=dpi, password=password, text=text)
        return RasterFile(stream, kind, name, limits)
    except BaseException:
        stream.close()
        raise


def _kind(head: bytes, name: str) -> FileType:
    if not head:
        raise InputError(
            f"{name}: the file is empty (0 bytes), expected {SUPPORTED}; export or copy it again"
        )
    kind = sniff(head)
    if kind is None:
        raise InputError(
            f"{name}: this is {describe(head)}, expected {SUPPORTED}; "
            "save or print it as PDF or PNG and read that"
        )
    return kind


def _open_path(path: str | os.PathLike[str], name: str, limits: InputLimits) -> BinaryIO:
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise InputError(_about_folder(Path(path), name))
        if not stat.S_ISREG(status.st_mode):
            raise InputError(
                f"{name}: this is not a regular file; save what it gives to a file, or pass it as bytes"
            )
        limits.check_bytes(status.st_size, name)
        return open(path, "rb")
    except FileNotFoundError as error:
        raise InputError(f"{name}: there is no such file; check the name and the current folder") from error
    except PermissionError as error:
        raise InputError(
            f"{name}: the file may not be read (permission denied); change its permissions"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{name}: the file cannot be opened ({reason}); check its name and the disk"
        ) from error


def _about_folder(folder: Path, name: str) -> str:
    if not os.access(folder, os.R_OK | os.X_OK):
        return f"{name}: the folder may not be read (permission denied); change its permissions"
    if _files_in(folder):
        return f"{name}: this is a folder, expected one file; name one of the files in it"
    return f"{name}: the folder holds no file that can be read, expected {SUPPORTED}"


def _files_in(folder: Path) -> list[Path]:
    """The readable files below ``folder``, naturally sorted, and folders that may not be opened."""
    closed: list[Path] = []
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=lambda error: closed.append(Path(error.filename))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(parent, name) for name in names if not name.startswith("."))
        found += [path for path in paths if _is_meant_to_be_read(path)]
    return sorted(found + closed, key=lambda path: [_natural(part) for part in path.parts])


def _is_meant_to_be_read(path: Path) -> bool:
    if path.suffix.lower() in SUPPORTED_SUFFIXES:
        return os.path.isfile(path) or not os.path.exists(path)  # a link that leads nowhere is reported too
    if not os.path.isfile(path):
        return False
    try:
        with path.open("rb") as stream:
            return sniff(stream.read(HEAD_BYTES)) is not None
    except OSError:
        return False


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sorts ``page 2`` before ``page 10``."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", name.casefold())
    return [
        (int(piece), "") if piece.isdigit() and piece.isascii() else (-1, piece) for piece in pieces
    ], name
