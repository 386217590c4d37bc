"""`vary read --overlay`: pages with their boxes drawn, as PNG files."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vary.cli.console import UsageError, complain
from vary.cli.writing import OutputError, open_place
from vary.errors import DocumentError, InputError
from vary.outputs.files import write_new_bytes

if TYPE_CHECKING:
    from vary.inputs.page_image import PageImage
    from vary.outputs.document import Document, Page

__all__ = ["DrawPages", "open_overlay"]

SUFFIX = ".png"
OTHER_PICTURES = {".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".gif", ".bmp", ".pdf", ".svg"}

DrawPages = Callable[[Path, "Document"], bool]
"""Draws and stores the pages of one document; False where one could not be, which was said."""


def open_overlay(out: str, inputs: int, options: Mapping[str, Any]) -> DrawPages:
    """What draws each document's pages, its place checked before anything is read.

    A name that ends in .png and is no folder is for a single input: one page becomes that very file, of
    several page 3 becomes STEM-3.png.  Anything else is a folder for SOURCE.png, or SOURCE-3.png.  `options`
    are those the documents are read with.

    Raises UsageError for one file and several inputs or another kind of picture, OutputError for a place that
    cannot be written.
    """
    target = Path(out)
    if target.suffix.lower() in OTHER_PICTURES and not target.is_dir():
        raise UsageError(f"--overlay {out}: overlays are PNG files; name OUT.png, or a folder")
    is_file = open_place(out, "--overlay", {SUFFIX}, inputs)
    opening = {name: options[name] for name in ("pages", "dpi", "password") if name in options}

    def draw(source: Path, document: Document) -> bool:
        name = target if is_file else target / f"{source.stem}{SUFFIX}"
        try:
            return _draw_pages(source, document, name, opening)
        except (InputError, OutputError, DocumentError) as error:
            complain(f"{source}: no overlay was drawn: {error}")
            return False

    return draw


def _draw_pages(source: Path, document: Document, name: Path, opening: Mapping[str, Any]) -> bool:
    """Open the pages once more, one at a time, as they were read; draw and store each."""
    from vary.inputs.page_image import PageImage
    from vary.inputs.pages import open_pages
    from vary.outputs.document import PageStatus

    pages = {page.number: page for page in document.pages if page.status is not PageStatus.FAILED}
    several = len(document.pages) > 1
    if not pages:
        return True  # why is said already
    good = True
    with closing(open_pages(source, **opening)) as images:
        for image in images:
            page = pages.pop(image.index + 1, None)
            if page is None:
                continue
            if isinstance(image, PageImage):
                numbered = name.with_name(f"{name.stem}-{page.number}{name.suffix}") if several else name
                _draw_page(source, image, page, numbered)
            else:
                complain(f"{source}: no overlay was drawn: {image.message}")
                good = False
    if pages:
        raise InputError(f"page {min(pages)} is no longer in the file")
    return good


def _draw_page(source: Path, image: PageImage, page: Page, wanted: Path) -> None:
    from vary.outputs.overlay import draw_overlay, has_boxes

    if not has_boxes(page):
        complain(f"{source}: page {page.number}: there are no boxes to draw")
    stream = io.BytesIO()
    draw_overlay(image.image, page).save(stream, "PNG")
    written = write_new_bytes(wanted, stream.getvalue())
    if written != wanted:
        complain(f"{source}: overlay written to {written}, because {wanted.name} was there already")
