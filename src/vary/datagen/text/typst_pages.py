"""Documents typeset by Typst, offline, with the engine's fonts alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from vary.datagen.fonts import FontCatalogue, FontFace
from vary.datagen.text.content import Document
from vary.datagen.text.families import FamilyList
from vary.datagen.text.typst_source import TypstFont, typst_source
from vary.errors import DataError, MissingDependencyError

if TYPE_CHECKING:
    import typst

__all__ = ["load_typst", "typeset", "typst_fonts"]


def load_typst() -> Any:
    """The module `typst`; raises `MissingDependencyError` with the line that installs it."""
    try:
        import typst
    except ImportError as error:
        raise MissingDependencyError(
            "pages are typeset by Typst, which is not installed: pip install 'vary-toy[synth]'"
        ) from error
    return typst


def _folders(catalogue: FontCatalogue) -> tuple[str, ...]:
    """The folders of a catalogue's files, without those inside another."""
    kept: list[str] = []
    for folder in sorted({os.path.dirname(face.path) for face in catalogue.faces}):
        if not (kept and folder.startswith(kept[-1] + os.sep)):
            kept.append(folder)
    return tuple(kept)


def typst_fonts(catalogue: FontCatalogue) -> dict[FontFace, TypstFont]:
    """Typst's names of the faces of a catalogue.

    Only those that the name, weight and slant tell apart from every other face in the same folders, an
    excluded one too: Typst chooses a face by these.
    """
    infos = _loaded(_folders(catalogue)).fonts()
    keys = Counter(_key(info) for info in infos)
    shared = {(info.path, info.index): info for info in infos if keys[_key(info)] == 1}
    names = {}
    for face in catalogue.faces:
        info = shared.get((face.path, face.index))
        if info is not None and info.stretch == 1.0 and face.italic == (info.style != "normal"):
            names[face] = TypstFont(info.family, info.weight)
    return names


def _key(info: typst.FontInfo) -> tuple[str, str, int, float]:
    return info.family.casefold(), info.style, info.weight, info.stretch


@lru_cache(maxsize=4)
def _loaded(folders: tuple[str, ...]) -> typst.Fonts:
    return load_typst().Fonts(
        include_system_fonts=False, include_embedded_fonts=False, font_paths=list(folders)
    )


@lru_cache(maxsize=4)
def _compiler(folders: tuple[str, ...]) -> typst.Compiler:
    return load_typst().Compiler(b"", font_paths=_loaded(folders), ignore_system_fonts=True)


def typeset(
    document: Document,
    families: FamilyList,
    catalogue: FontCatalogue,
    fonts: Mapping[FontFace, TypstFont],
) -> bytes:
    """The document as a PDF file.

    Raises:
        DataError: if Typst refuses the source, which is a bug here.
    """
    source = typst_source(document, families, fonts)
    compiler = _compiler(_folders(catalogue))
    try:
        pdf = compiler.compile(input=source.encode(), format="pdf", pdf_tags=False)
    except RuntimeError as error:
        raise DataError(f"Typst refused a page of layout {document.layout!r}: {error}") from error
    assert isinstance(pdf, bytes)
    return pdf
