"""What the inputs give: a page image, or the failure of one page; and the limits that they keep."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from vary.errors import InputError, LimitError

__all__ = ["DEFAULT_LIMITS", "MIN_PAGE_SIDE", "InputLimits", "PageFailure", "PageImage"]

MIN_PAGE_SIDE = 8
"""Pixels. Nothing narrower or lower than this can hold a readable character."""


@dataclass(frozen=True, slots=True)
class InputLimits:
    """What is refused before memory or time is spent on it."""

    max_file_bytes: int = 512 * 2**20
    """Bytes of one file."""
    max_pixels: int = 100_000_000
    """Width x height of one page, known from the header before anything is decoded or painted."""
    max_pages: int = 10_000
    """Pages read from one file: the selected ones of a PDF, all frames of a TIFF file."""

    def check_bytes(self, size: int, name: str) -> None:
        """Refuse a file of ``size`` bytes that is too large (LimitError)."""
        if size > self.max_file_bytes:
            raise LimitError(
                f"{name}: the file has {size:,} bytes, the limit is {self.max_file_bytes:,}; "
                "split it, or raise InputLimits.max_file_bytes"
            )

    def check_pages(self, count: int, name: str) -> None:
        """Refuse to read ``count`` pages of one file where that is too many (LimitError)."""
        if count > self.max_pages:
            raise LimitError(
                f"{name}: {count:,} pages were asked for, the limit is {self.max_pages:,}; "
                "read it in several page ranges, or raise InputLimits.max_pages"
            )

    def check_size(self, width: int, height: int, name: str, *, remedy: str = "scale the image down") -> None:
        """Refuse a page of ``width`` x ``height`` pixels that is too large (LimitError) or too small for
        text.
        """
        if width < MIN_PAGE_SIDE or height < MIN_PAGE_SIDE:
            raise InputError(
                f"{name}: {width} x {height} pixels are too small to hold text, "
                f"expected at least {MIN_PAGE_SIDE} x {MIN_PAGE_SIDE}; give a larger scan of the page"
            )
        if width * height > self.max_pixels:
            raise LimitError(
                f"{name}: {width} x {height} pixels "
                f"({width * height:,}) are too many, the limit is {self.max_pixels:,}; "
                f"{remedy}, or raise InputLimits.max_pixels"
            )


DEFAULT_LIMITS = InputLimits()


@dataclass(frozen=True, slots=True)
class PageImage:
    """One page, ready to be read."""

    image: Image.Image
    """Mode RGB, upright, without metadata."""
    source: str
    """The file's path as it was given, or ``<bytes>``, ``<image>``, ``<array>``."""
    index: int
    """0-based number of the page or frame in its file."""
    dpi: float | None = None
    """Dots per inch: the one a PDF page was painted at, or what the image file says (None: it does not)."""
    rotation: int = 0
    """Degrees clockwise (0, 90, 180, 270) by which the stored page was turned to stand upright."""
    mirrored: bool = False
    """Whether the stored page was flipped left to right before it was turned."""
    notes: tuple[str, ...] = ()
    """What was odd about the file although the page could be read."""
    text: str = ""
    """The page's own text layer, where it was asked for and there is one."""

    @property
    def width(self) -> int:
        """Pixels."""
        return self.image.width

    @property
    def height(self) -> int:
        """Pixels."""
        return self.image.height


@dataclass(frozen=True, slots=True)
class PageFailure:
    """One page that could not be read out of a file whose other pages may be fine."""

    source: str
    index: int
    """0-based number of the page or frame in its file."""
    message: str
    """What was found and what to do; names the file and the page."""
