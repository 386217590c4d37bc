"""The text layer of a PDF page: its words with their boxes, and what speaks against trusting it.

Boxes are in px of the painted page.  PDFium gives characters with boxes in the page's own coordinates, and
marks which blanks it made up, which hyphens end a line and which glyphs it had no character for.
"""

from __future__ import annotations

import ctypes
import math
import re
import sys
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vary.datagen.pdfium import TextPage
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
_MADE_UP = "FPDFText_IsGenerated"
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
    from pypdfium2 import PdfiumError

    try:
        opened = page.get_textpage()
    except PdfiumError as error:
        raise InputError(f"the text layer cannot be read ({error})") from error
    try:
        textpage = TextPage(opened)
        if textpage.count > MAX_CHARACTERS:
            return PageText((), Counter(characters=textpage.count), 0.0)
        counts: Counter[str] = Counter()
        characters = _characters(textpage, _Manners(opened, _display_matrix(page, width, height)), counts)
        words = _words(characters, counts)
        return PageText(tuple(words), counts, _largest_image(page))
    except PdfiumError as error:
        raise InputError(f"the text layer cannot be read ({error})") from error
    finally:
        opened.close()


def _characters(textpage: TextPage, manners: _Manners, counts: Counter[str]) -> list[_Character]:
    """The characters of a page, without those that are left out and part no words; what is odd about them is
    counted.  One of blank text parts words."""
    indices, codes = _whole_codes(textpage.codes())
    blank = [number for number, code in enumerate(codes) if _is_blank(code)]
    made_up = dict(zip(blank, textpage.truths(_MADE_UP, [indices[number] for number in blank]), strict=True))
    unmapped = textpage.truths("FPDFText_HasUnicodeMapError", indices)
    objects = textpage.objects(indices)
    ink, room = textpage.boxes(indices)
    inks, boxes = _moved(ink, manners.matrix), _moved(room, manners.matrix)
    found: list[_Character] = []
    for number, code in enumerate(codes):
        box = boxes[number]
        if number in made_up:
            text = " " if chr(code).isspace() else ""
            found.append(_Character(text, box, box, made_up=made_up[number]))
            continue
        counts["characters"] += 1
        counts["unmapped"] += unmapped[number]
        invisible, turned = manners.of(objects[number], indices[number])
        counts["invisible"] += invisible
        hyphen = code == _SOFT_HYPHEN or (
            code == _LINE_END_HYPHEN and textpage.truths("FPDFText_IsHyphen", [indices[number]])[0]
        )
        text = "-" if hyphen else _SYMBOLS.get(code) or chr(code)
        if turned:
            counts["turned"] += 1
            found.append(_Character(" ", box, box))
        elif _is_meaningless(text):
            counts["private"] += 1
        else:
            if _EXPANDED.match(text):
                text = unicodedata.normalize("NFKC", text)
            found.append(_Character(text, box, inks[number], hyphen=hyphen))
    return found


def _whole_codes(units: list[int]) -> tuple[list[int], list[int]]:
    """Indices and code points of characters; halves of a pair are joined, at the second one's index."""
    indices, codes = [], []
    high = 0
    for index, code in enumerate(units):
        if 0xD800 <= code < 0xDC00:
            high = code
            continue
        if 0xDC00 <= code < 0xE000:
            code = 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00) if high else 0xFFFD
            high = 0
        indices.append(index)
        codes.append(code if code <= sys.maxunicode else 0xFFFD)
    return indices, codes


@lru_cache(maxsize=65536)
def _is_blank(code: int) -> bool:
    """Whether nothing is painted for a code point: all that PDFium makes up is of these."""
    return chr(code).isspace() or _NOTHING.match(chr(code)) is not None


class _Manners:
    """How characters are painted, which is the same for all of a text object."""

    def __init__(self, opened: Any, matrix: NDArray[np.float64]) -> None:
        from pypdfium2 import raw

        self._raw, self._textpage = raw, opened.raw
        self.matrix = matrix
        self._turn = matrix[:, :2].tolist()
        self._known: dict[int, tuple[bool, bool]] = {0: (False, False)}

    def of(self, address: int, index: int) -> tuple[bool, bool]:
        """Whether a text object, of which `index` is a character, is invisible, and whether it is turned."""
        manner = self._known.get(address)
        if manner is None:
            manner = self._known[address] = self._invisible(index), self._turned(index)
        return manner

    def _invisible(self, index: int) -> bool:
        raw = self._raw
        text_object = raw.FPDFText_GetTextObject(self._textpage, index)
        mode = raw.FPDFTextObj_GetTextRenderMode(text_object)
        colour = [ctypes.c_uint() for _ in range(4)]
        painted = raw.FPDFPageObj_GetFillColor(text_object, *colour)
        unseen = mode in (raw.FPDF_TEXTRENDERMODE_INVISIBLE, raw.FPDF_TEXTRENDERMODE_CLIP)
        return unseen or bool(painted and colour[3].value == 0)

    def _turned(self, index: int) -> bool:
        """Whether the character does not stand upright on the page as it is shown, or is mirrored."""
        found = self._raw.FS_MATRIX()
        if not self._raw.FPDFText_GetMatrix(self._textpage, index, found):
            return False
        (a, b), (c, d) = self._turn
        along = a * found.a + b * found.b, c * found.a + d * found.b
        up = a * found.c + b * found.d, c * found.c + d * found.d
        length = math.hypot(*along) or 1.0
        mirrored = along[0] * up[1] - along[1] * up[0] > 0  # y grows downwards on the painted page
        return along[0] < 0.996 * length or mirrored  # more than 5 degrees


def _moved(boxes: NDArray[np.float64], matrix: NDArray[np.float64]) -> list[_Edges]:
    """Boxes (N, 4) of the page, left, bottom, right, top, as left, top, right, bottom in px."""
    first = boxes[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    second = boxes[:, 2:] @ matrix[:, :2].T + matrix[:, 2]
    edges = np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=1)
    return list(map(tuple, edges.tolist()))


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


def _words(characters: list[_Character], counts: Counter[str]) -> list[Word]:
    words: list[Word] = []
    current: list[_Character] = []
    blank: _Character | None = None
    for character in characters:
        if not character.text:
            continue
        if character.text == " ":
            blank = blank or character
            continue
        if current:
            last = current[-1]
            if not blank:
                if _accented(last, character):
                    current[-1] = _joined(last, character)
                    continue
                counts["downwards"] += _below(last, character)
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
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
