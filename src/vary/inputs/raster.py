"""Page images out of image files: one frame at a time, upright, RGB."""

from __future__ import annotations

import itertools
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from PIL import ExifTags, Image

from vary.errors import InputError, LimitError
from vary.inputs.filetype import FileType
from vary.inputs.page_image import InputLimits, PageImage
from vary.inputs.pixels import to_rgb

__all__ = ["MemoryFile", "RasterFile"]

_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    struct.error,
    zlib.error,
)
"""What Pillow raises for broken files."""

_UPRIGHT: dict[int, tuple[Image.Transpose, int, bool]] = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT, 0, True),
    3: (Image.Transpose.ROTATE_180, 180, False),
    4: (Image.Transpose.FLIP_TOP_BOTTOM, 180, True),
    5: (Image.Transpose.TRANSPOSE, 270, True),
    6: (Image.Transpose.ROTATE_270, 90, False),
    7: (Image.Transpose.TRANSVERSE, 90, True),
    8: (Image.Transpose.ROTATE_90, 270, False),
}
"""EXIF orientation -> how to undo it; the same as (mirrored left to right, then) degrees clockwise."""

_REDUCED_OR_MASK = 0b101  # TIFF tag NewSubfileType: a smaller copy of another frame, or a transparency mask

_warnings_lock = threading.Lock()  # warnings.catch_warnings changes global state


class _Frame(NamedTuple):
    number: int
    error: Exception | None = None  # of its directory; Pillow must not be asked for such a frame again


class MemoryFile:
    """A picture that is in memory already, read like a file of one page."""

    def __init__(self, image: Image.Image, name: str, limits: InputLimits) -> None:
        self.count = 1
        self._image, self._name, self._limits = image, name, limits

    def read(self, index: int) -> PageImage:
        """The picture as a page; the caller's image is left as it is."""
        assert index == 0
        return _page(self._image, self._name, self._name, index, self._limits, ())

    def close(self) -> None:
        """Nothing to close: the picture is the caller's."""


class RasterFile:
    """An open image file; all frames of TIFF are pages, of every other format the first frame only."""

    def __init__(self, stream: BinaryIO, kind: FileType, name: str, limits: InputLimits) -> None:
        """Read the header (InputError for a broken one).  Takes over ``stream``; ``close`` closes it."""
        self._stream, self._name, self._limits = stream, name, limits
        with _translated(name), _collected_warnings() as self._notes:
            self._image = Image.open(stream, formats=[kind])
            self._frames = _tiff_frames(self._image, name, limits) if kind == FileType.TIFF else [_Frame(0)]

    @property
    def count(self) -> int:
        """Pages."""
        return len(self._frames)

    def read(self, index: int) -> PageImage:
        """Decode page ``index`` (0-based).  InputError names the file and, where it has several, the page."""
        label = self._name if self.count == 1 else f"page {index + 1} of {self._name}"
        frame = self._frames[index]
        with _translated(label):
            if frame.error is not None:
                raise frame.error
            with _collected_warnings():
                self._image.seek(frame.number)
            return _page(self._image, self._name, label, index, self._limits, tuple(self._notes))

    def close(self) -> None:
        """Close the file."""
        self._image.close()
        self._stream.close()


def _page(
    image: Image.Image, name: str, label: str, index: int, limits: InputLimits, notes: tuple[str, ...]
) -> PageImage:
    """Check the size, decode, turn upright, convert to RGB."""
    limits.check_size(image.width, image.height, label)
    with _translated(label):
        # Pillow turns TIFF frames itself while loading them.  Other formats must be loaded before they are
        # asked for their EXIF block: asking loads a PNG, and its damage would pass for the block's.
        turned_by_pillow, _ = _orientation(image) if hasattr(image, "tag_v2") else (1, False)
        image.load()
        orientation, damaged = _orientation(image)
        if damaged:
            notes = (*notes, "the EXIF block is damaged, so a rotation that it may hold was not applied")
        rgb = to_rgb(image)
        if orientation in _UPRIGHT:
            rgb = rgb.transpose(_UPRIGHT[orientation][0])
        else:
            orientation = turned_by_pillow
    _, rotation, mirrored = _UPRIGHT.get(orientation, (None, 0, False))
    return PageImage(rgb, name, index, _dpi(image), rotation, mirrored, notes)


def _tiff_frames(image: Image.Image, name: str, limits: InputLimits) -> list[_Frame]:
    """The frames that are pages, not thumbnails of pages.

    A frame whose directory is broken or cut off is among them: reading it says what is wrong.
    """
    pages: list[_Frame] = []
    smaller: list[_Frame] = []
    for number in itertools.count():
        limits.check_pages(number, name)
        try:
            image.seek(number)
        except EOFError:
            return pages or smaller
        except _DECODE_ERRORS as error:
            pages.append(_Frame(number, error))
            continue
        kind = getattr(image, "tag_v2", {}).get(ExifTags.Base.NewSubfileType, 0)
        (smaller if kind & _REDUCED_OR_MASK else pages).append(_Frame(number))
    raise AssertionError("unreachable")


def _orientation(image: Image.Image) -> tuple[int, bool]:
    """The EXIF (or XMP) orientation 1..8, and whether the block that should hold it is damaged."""
    try:
        with _collected_warnings() as complaints:
            value = image.getexif().get(ExifTags.Base.Orientation)
    except _DECODE_ERRORS:
        return 1, True
    return (value if value in _UPRIGHT else 1), value is None and bool(complaints)


def _dpi(image: Image.Image) -> float | None:
    """The resolution that the file states, where it is one number that makes sense."""
    try:
        across, down = (float(value) for value in image.info["dpi"])
    except _DECODE_ERRORS:
        return None
    return across if 1 < across < 1e5 and abs(across - down) <= 0.01 * across else None


@contextmanager
def _collected_warnings() -> Iterator[list[str]]:
    """Keep Pillow's warnings about the file, instead of printing them.

    Its warning about many pixels is dropped: ``InputLimits.max_pixels`` decides that.
    """
    notes: list[str] = []
    with _warnings_lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield notes
    for warning in caught:
        message = str(warning.message).strip()
        if not issubclass(warning.category, Image.DecompressionBombWarning) and message not in notes:
            notes.append(message)


@contextmanager
def _translated(label: str) -> Iterator[None]:
    """Turn what Pillow raises into an InputError that names the file and says what to do."""
    try:
        yield
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\((\d+) pixels\)", str(error))
        size = f"{int(pixels[1]):,} pixels" if pixels else "the image"
        raise LimitError(
            f"{label}: {size} are more than the image library decodes; scale the image down, "
            "or raise PIL.Image.MAX_IMAGE_PIXELS and InputLimits.max_pixels if you trust the file"
        ) from error
    except MemoryError as error:
        raise LimitError(f"{label}: not enough memory to decode the image; scale it down") from error
    except _DECODE_ERRORS as error:
        text = str(error)
        cut_off = any(
            word in text.lower() for word in ("truncated", "end of file", "not enough", "unexpected end")
        )
        found = (
            "the image is cut off" if cut_off else "the image is damaged or of a kind that cannot be decoded"
        )
        reason = "" if "cannot identify image file" in text else f" ({text.rstrip('.')})"
        raise InputError(f"{label}: {found}{reason}; export, download or scan it again") from error
