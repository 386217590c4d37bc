"""The text layer of a PDF page: its words with their boxes, and what speaks against trusting it.

Boxes are in px of the painted page.  PDFium gives characters with boxes in the page's own coordinates, and
marks which blanks it made up, which hyphens end a line and which glyphs it had no character for.
"""

from __future__ import annotations

import ctypes
import re
import sys
import unicodedata
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vary.errors import InputError

__all__ = ["MAX_CHARACTERS", "PageText", "Word", "is_cjk", "read_text_layer"]

MAX_CHARACTERS = 60_000
"""Of a page; a page of more is no page to learn from, and reading it would take long."""
_MAX_OBJECTS = 20_000
_DEVICE = 1_000_000
"""PDFium gives places in whole units of a device, so the device is made large."""

_NOTHING = re.compile("[\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]")
_EXPANDED = re.compile("[\ufb00-\ufb06\u2e80-\u2fd5\uf900-\ufaff]")
"""Ligatures, and radicals and compatibility forms that fonts give for plain Chinese characters."""
_CJK = re.compile("[\u2e80-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U000323af]")
_ACCENTS = dict(
    zip(
        "`´ˆ˜¯˘˙¨˚˝ˇ¸",
        map(chr, (*range(0x300, 0x305), *range(0x306, 0x309), *range(0x30A, 0x30D), 0x327)),
        strict=True,
    )
)
"""Accents that stand alone, and as they are combined with a letter."""
_DOTLESS = {"ı": "i", "ȷ": "j"}
_SYMBOLS = {0xF0B7: "•", 0xF0A7: "▪", 0xF0D8: "➢", 0xF0FC: "✓", 0xF0E0: "→", 0xF0A8: "□"}
"""What word processors take from symbol fonts, whose characters are for private use."""
_LINE_END_HYPHEN = 2  # what PDFium gives for the hyphen of a word that goes on in the next line
_SOFT_HYPHEN = 0xAD
_BLANK_GAP = 0.4
"""em: a blank that PDFium made up beside a Chinese character is one only if it is wider."""


@dataclass(frozen=True, slots=True)
class Word:
    """Characters without a blank between them.

    Attributes:
        text: NFC, ligatures taken apart.
        left, top, right, bottom: px, with the ascent and descent of its font; for finding lines.
        ink: left, top, right, bottom of what is painted, px.
        hyphen: whether it ends in a hyphen that parts a word.
    """

    text: str
    left: float
    top: float
    right: float
    bottom: float
    ink: tuple[float, float, float, float]
    hyphen: bool = False

    @property
    def height(self) -> float:
        """px."""
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        """px from the top."""
        return (self.top + self.bottom) / 2


@dataclass(frozen=True)
class PageText:
    """A page's words in the order of the file, and what was seen of its characters.

    Attributes:
        counts: of `characters` without blanks; of those that are `unmapped` (PDFium knows no character for
            the glyph), `private` (use area, replacement, control, none at all; not in `words`), `invisible`,
            `turned` (not upright; not in `words`), `downwards` (written from top to bottom).
        image_share: how much of the page its largest image covers, 0 to 1.
    """

    words: tuple[Word, ...]
    counts: Counter[str]
    image_share: float

    def share(self, name: str) -> float:
        """A count's share of the characters."""
        return self.counts[name] / max(self.counts["characters"], 1)


_Edges = tuple[float, float, float, float]
"""Left, top, right, bottom, px."""


@dataclass(slots=True)
class _Character:
    text: str
    box: _Edges
    ink: _Edges
    made_up: bool = False
    hyphen: bool = False


def is_cjk(character: str) -> bool:
    """Whether a character is Chinese or Japanese writing or punctuation, which stand without blanks."""
    return _CJK.match(character) is not None


def read_text_layer(page: Any, width: int, height: int) -> PageText:
    """The text of a loaded page (pypdfium2's `PdfPage`) that is painted `width` x `height` px.

    Raises `InputError` where PDFium cannot read it.
    """
    from pypdfium2 import PdfiumError, raw

    try:
        textpage = page.get_textpage()
    except PdfiumError as error:
        raise InputError(f"the text layer cannot be read ({error})") from error
    try:
        count = raw.FPDFText_CountChars(textpage)
        if count > MAX_CHARACTERS:
            return PageText((), Counter(characters=count), 0.0)
        reader = _CharacterReader(textpage, _display_matrix(page, width, height))
        characters = [reader.read(index) for index in range(count)]
        words = _words(characters, reader.counts)
        return PageText(tuple(words), reader.counts, _largest_image(page))
    except PdfiumError as error:
        raise InputError(f"the text layer cannot be read ({error})") from error
    finally:
        textpage.close()


class _CharacterReader:
    """One character after the other, counting what is odd about them."""

    def __init__(self, textpage: Any, matrix: NDArray[np.float64]) -> None:
        from pypdfium2 import raw

        self.counts: Counter[str] = Counter()
        # Called several times a character: looked up once, and given the bare handle.
        self._raw, self._textpage = raw, textpage.raw
        self._matrix, self._rows = matrix, matrix.tolist()
        self._edges = [ctypes.c_double() for _ in range(4)]
        self._loose = raw.FS_RECTF()
        self._manners: dict[int, tuple[bool, bool]] = {}
        self._high = 0

    def read(self, index: int) -> _Character | None:
        """A character; None for what is left out and parts no words; one of blank text parts them."""
        raw, textpage, loose = self._raw, self._textpage, self._loose
        code = self._code(raw.FPDFText_GetUnicode(textpage, index))
        if code is None:
            return None
        raw.FPDFText_GetLooseCharBox(textpage, index, loose)
        box = self._moved(loose.left, loose.bottom, loose.right, loose.top)
        made_up = raw.FPDFText_IsGenerated(textpage, index) == 1
        hyphen = code == _SOFT_HYPHEN or (
            code == _LINE_END_HYPHEN and raw.FPDFText_IsHyphen(textpage, index) == 1
        )
        text = "-" if hyphen else _SYMBOLS.get(code) or chr(code)
        if made_up or text.isspace() or _NOTHING.match(text):
            return _Character(" " if text.isspace() else "", box, box, made_up)
        self.counts["characters"] += 1
        if raw.FPDFText_HasUnicodeMapError(textpage, index) == 1:
            self.counts["unmapped"] += 1
        invisible, turned = self._manner(index)
        self.counts["invisible"] += invisible
        if turned:
            self.counts["turned"] += 1
            return _Character(" ", box, box)
        if _is_meaningless(text):
            self.counts["private"] += 1
            return None
        left, right, bottom, top = self._edges
        raw.FPDFText_GetCharBox(textpage, index, left, right, bottom, top)
        ink = self._moved(left.value, bottom.value, right.value, top.value)
        if _EXPANDED.match(text):
            text = unicodedata.normalize("NFKC", text)
        return _Character(text, box, ink, hyphen=hyphen)

    def _code(self, code: int) -> int | None:
        """The code point; halves of pairs are joined as they come."""
        if 0xD800 <= code < 0xDC00:
            self._high = code
            return None
        if 0xDC00 <= code < 0xE000:
            high, self._high = self._high, 0
            return 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00) if high else 0xFFFD
        return code if code <= sys.maxunicode else 0xFFFD

    def _manner(self, index: int) -> tuple[bool, bool]:
        """Whether the character is invisible, and whether it is turned: the same for all of a text object."""
        raw = self._raw
        text_object = raw.FPDFText_GetTextObject(self._textpage, index)
        if not text_object:
            return False, False
        key = ctypes.addressof(text_object.contents)
        if key not in self._manners:
            mode = raw.FPDFTextObj_GetTextRenderMode(text_object)
            colour = [ctypes.c_uint() for _ in range(4)]
            painted = raw.FPDFPageObj_GetFillColor(text_object, *colour)
            unseen = mode in (raw.FPDF_TEXTRENDERMODE_INVISIBLE, raw.FPDF_TEXTRENDERMODE_CLIP)
            invisible = unseen or bool(painted and colour[3].value == 0)
            self._manners[key] = invisible, self._turned(index)
        return self._manners[key]

    def _turned(self, index: int) -> bool:
        """Whether the character does not stand upright on the page as it is shown, or is mirrored."""
        found = self._raw.FS_MATRIX()
        if not self._raw.FPDFText_GetMatrix(self._textpage, index, found):
            return False
        shown = self._matrix[:, :2] @ np.array([[found.a, found.c], [found.b, found.d]])
        along, up = shown[:, 0], shown[:, 1]
        length = float(np.hypot(*along)) or 1.0
        mirrored = along[0] * up[1] - along[1] * up[0] > 0  # y grows downwards on the painted page
        return bool(along[0] < 0.996 * length or mirrored)  # more than 5 degrees

    def _moved(self, left: float, bottom: float, right: float, top: float) -> _Edges:
        """A box of the page as left, top, right, bottom in px."""
        (a, b, c), (d, e, f) = self._rows
        x0, y0 = a * left + b * bottom + c, d * left + e * bottom + f
        x1, y1 = a * right + b * top + c, d * right + e * top + f
        if x0 > x1:
            x0, x1 = x1, x0
        return (x0, y0, x1, y1) if y0 <= y1 else (x0, y1, x1, y0)


def _is_meaningless(text: str) -> bool:
    """Whether a character is a control, not assigned, for private use, half a pair or a replacement."""
    return not (" " <= text < "\x7f") and (
        text == "\ufffd" or unicodedata.category(text) in ("Cc", "Cn", "Co", "Cs")
    )


def _display_matrix(page: Any, width: int, height: int) -> NDArray[np.float64]:
    """(2, 3): from the page's coordinates to px, /Rotate and the crop box included."""
    from pypdfium2 import raw

    points = []
    x, y = ctypes.c_int(), ctypes.c_int()
    far = 1000.0
    for place in ((0.0, 0.0), (far, 0.0), (0.0, far)):
        raw.FPDF_PageToDevice(page, 0, 0, _DEVICE, _DEVICE, 0, *place, x, y)
        points.append((x.value * width / _DEVICE, y.value * height / _DEVICE))
    origin, along, up = np.array(points)
    return np.stack([(along - origin) / far, (up - origin) / far, origin], axis=1)


def _largest_image(page: Any) -> float:
    """The share of the page that its largest image covers."""
    from pypdfium2 import raw

    left, bottom, right, top = page.get_bbox()
    area = max((right - left) * (top - bottom), 1e-9)
    largest = 0.0
    for item in islice(page.get_objects(max_depth=3), _MAX_OBJECTS):
        if item.type != raw.FPDF_PAGEOBJ_IMAGE:
            continue
        x0, y0, x1, y1 = item.get_bounds()
        wide, high = min(x1, right) - max(x0, left), min(y1, top) - max(y0, bottom)
        largest = max(largest, max(wide, 0.0) * max(high, 0.0) / area)
    return min(largest, 1.0)


def _words(characters: list[_Character | None], counts: Counter[str]) -> list[Word]:
    words: list[Word] = []
    current: list[_Character] = []
    blank: _Character | None = None
    for character in characters:
        if character is None or not character.text:
            continue
        if character.text == " ":
            blank = blank or character
            continue
        if current:
            last = current[-1]
            if not blank and _accented(last, character):
                current[-1] = _joined(last, character)
                continue
            if not blank and _below(last, character):
                counts["downwards"] += 1
            if _parted(last, character, blank):
                words.append(_word(current))
                current = []
        current.append(character)
        blank = None
    if current:
        words.append(_word(current))
    return words


def _parted(last: _Character, character: _Character, blank: _Character | None) -> bool:
    """Whether a word ends between two characters."""
    em = max(last.box[3] - last.box[1], character.box[3] - character.box[1], 1e-6)
    gap = character.box[0] - last.box[2]
    shift = abs((character.box[1] + character.box[3]) - (last.box[1] + last.box[3])) / 2
    apart = shift > 0.6 * em or gap > 0.8 * em or character.box[0] < last.box[0] - 0.5 * em
    if blank is None or apart:
        return apart
    beside_cjk = is_cjk(last.text[-1]) or is_cjk(character.text[0])
    return not (blank.made_up and beside_cjk and gap < _BLANK_GAP * em)


def _accented(last: _Character, character: _Character) -> bool:
    """Whether one of two characters is an accent that is painted over the other, as TeX sets them."""
    accent, letter = (last, character) if last.text in _ACCENTS else (character, last)
    if accent.text not in _ACCENTS or not letter.text.isalpha():
        return False
    middle = (accent.ink[0] + accent.ink[2]) / 2
    return letter.ink[0] <= middle <= letter.ink[2]


def _joined(last: _Character, character: _Character) -> _Character:
    accent, letter = (last, character) if last.text in _ACCENTS else (character, last)
    base = _DOTLESS.get(letter.text, letter.text)
    text = unicodedata.normalize("NFC", base + _ACCENTS[accent.text])
    return _Character(text, letter.box, _around([accent.ink, letter.ink]), hyphen=character.hyphen)


def _below(last: _Character, character: _Character) -> bool:
    em = max(last.box[3] - last.box[1], 1e-6)
    across = abs((character.ink[0] + character.ink[2]) - (last.ink[0] + last.ink[2])) / 2
    down = ((character.ink[1] + character.ink[3]) - (last.ink[1] + last.ink[3])) / 2
    return across < 0.45 * em and 0.5 * em < down < 2.0 * em


def _word(characters: list[_Character]) -> Word:
    """Soft hyphens count where a word ends with one."""
    kept = [c for c in characters[:-1] if not c.hyphen] + characters[-1:]
    left, top, right, bottom = _around([c.box for c in kept])
    text = unicodedata.normalize("NFC", "".join(c.text for c in kept))
    return Word(text, left, top, right, bottom, _around([c.ink for c in kept]), characters[-1].hyphen)


def _around(boxes: list[_Edges]) -> _Edges:
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )
