"""Page images out of PDF files: one page painted at a time, by PDFium."""

from __future__ import annotations

import io
import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from vary.errors import InputError, LimitError
from vary.inputs.page_image import InputLimits, PageImage
from vary.inputs.pdf_text import page_text

if TYPE_CHECKING:
    import pypdfium2

__all__ = ["PdfFile"]

_POINTS_PER_INCH = 72.0
_MAX_BITMAP_BYTES = 2**31 - 1  # PDFium counts the bytes of a bitmap in an int
_END_MARK_WITHIN = 1024  # bytes from the end of the file

_pdfium_lock = threading.RLock()  # PDFium is not safe to call from two threads at once


class PdfFile:
    """An open PDF file."""

    def __init__(
        self,
        stream: BinaryIO,
        name: str,
        limits: InputLimits,
        *,
        dpi: float,
        password: str | None,
        text: bool = False,
    ) -> None:
        """Read the page tree.  Takes over ``stream`` and closes it in ``close``.

        With ``text`` pages come with their text layer.

        Raises InputError for a file that is protected, broken or without pages.
        """
        self._stream, self._name, self._limits, self._dpi = stream, name, limits, dpi
        self._text = text
        self._notes: list[str] = []
        self._cut_off = not _has_end_mark(stream)
        if self._cut_off:
            self._notes.append(
                "the PDF file is cut off (no %%EOF at its end); pages or parts of pages may be missing"
            )
        with _pdfium_lock:
            self._document = self._open(password)
            try:
                self._init_forms()
                self._count = len(self._document)
            except BaseException:
                self._document.close()
                raise

    @property
    def count(self) -> int:
        """Pages."""
        return self._count

    def read(self, index: int) -> PageImage:
        """Paint page ``index`` (0-based) with its annotations and form fields, turned as /Rotate says.

        InputError names the file and the page; LimitError comes before anything is painted.
        """
        with self.loaded(index) as page:
            painted = self.paint(page, index)
            return replace(painted, text=page_text(page)) if self._text else painted

    @contextmanager
    def loaded(self, index: int) -> Iterator[pypdfium2.PdfPage]:
        """Page ``index`` (0-based) as PDFium has it, which no other thread calls meanwhile.  InputError."""
        import pypdfium2

        label = self._label(index)
        with _pdfium_lock:
            try:
                page = self._document.get_page(index)
            except pypdfium2.PdfiumError as error:
                cause = "the file is cut off" if self._cut_off else "the file is damaged"
                raise InputError(
                    f"{label}: the PDF page cannot be loaded, {cause}; open and save it in a PDF program, "
                    "or download it again"
                ) from error
            try:
                yield page
            finally:
                page.close()

    def paint(self, page: pypdfium2.PdfPage, index: int, dpi: float | None = None) -> PageImage:
        """Paint a page that is ``loaded``, at ``dpi`` or the file's own.  InputError, LimitError."""
        import pypdfium2

        dpi, label = self._dpi if dpi is None else dpi, self._label(index)
        try:
            return self._paint(page, index, label, dpi)
        except pypdfium2.PdfiumError as error:
            raise InputError(
                f"{label}: the PDF page cannot be painted ({error}); try it as an image of the page"
            ) from error
        except MemoryError as error:
            raise LimitError(
                f"{label}: not enough memory to paint the page at {dpi:g} dpi; lower the dpi"
            ) from error

    def close(self) -> None:
        """Close the document and the file."""
        with _pdfium_lock:
            self._document.close()
        self._stream.close()

    def _label(self, index: int) -> str:
        return self._name if self._count == 1 else f"page {index + 1} of {self._name}"

    def _paint(self, page: pypdfium2.PdfPage, index: int, label: str, dpi: float) -> PageImage:
        scale = dpi / _POINTS_PER_INCH
        width, height = (side * scale for side in page.get_size())
        if not (math.isfinite(width) and math.isfinite(height)):
            raise InputError(f"{label}: the PDF page has no finite size; open and save it in a PDF program")
        width, height = math.ceil(width), math.ceil(height)
        remedy = f"lower the dpi ({dpi:g} now)"
        self._limits.check_size(width, height, label, remedy=remedy)
        if width * height * 4 > _MAX_BITMAP_BYTES:
            raise LimitError(f"{label}: {width} x {height} pixels are more than PDFium paints; {remedy}")
        bitmap = page.render(scale=scale, draw_annots=True, may_draw_forms=True, rev_byteorder=True)
        try:
            image = bitmap.to_pil()
            # Pillow copies an RGB buffer; converting copies as well.  So the bitmap may be closed.
            rgb = image if image.mode == "RGB" else image.convert("RGB")
        finally:
            bitmap.close()
        return PageImage(rgb, self._name, index, dpi, page.get_rotation(), notes=tuple(self._notes))

    def _open(self, password: str | None) -> pypdfium2.PdfDocument:
        import pypdfium2
        from pypdfium2 import raw

        try:
            return pypdfium2.PdfDocument(self._stream, password=password)
        except pypdfium2.PdfiumError as error:
            code = error.err_code
            if code == raw.FPDF_ERR_PASSWORD and password is None:
                found = (
                    "the PDF file is encrypted and needs a password; give it "
                    "(--password, in Python password=...), or save a copy without"
                )
            elif code == raw.FPDF_ERR_PASSWORD:
                found = (
                    "the PDF file is encrypted and the password given does not open it; give the right one"
                )
            elif code == raw.FPDF_ERR_SECURITY:
                found = (
                    "the PDF file is encrypted in a way that PDFium does not "
                    "know; save a copy without encryption"
                )
            elif code == raw.FPDF_ERR_SUCCESS:
                found = "the PDF file has no pages; export it again"
            else:
                cause = "cut off" if self._cut_off else "damaged"
                found = f"the PDF file is {cause} and cannot be opened; export or download it again"
            raise InputError(f"{self._name}: {found}") from error

    def _init_forms(self) -> None:
        """Make form fields visible; must come before any page is loaded."""
        from pypdfium2 import raw

        kind = self._document.get_formtype()
        if kind in {raw.FORMTYPE_XFA_FULL, raw.FORMTYPE_XFA_FOREGROUND}:
            self._notes.append(
                "the PDF file holds an XFA form, of which only the plain PDF fields are painted"
            )
            with _silent_logger("pypdfium2"):
                self._document.init_forms()
        elif kind != raw.FORMTYPE_NONE:
            self._document.init_forms()


def _has_end_mark(stream: BinaryIO) -> bool:
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, size - _END_MARK_WITHIN))
    found = b"%%EOF" in stream.read(_END_MARK_WITHIN)
    stream.seek(0)
    return found


@contextmanager
def _silent_logger(name: str) -> Iterator[None]:
    """Keep the warnings of a library's logger off the user's screen."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
