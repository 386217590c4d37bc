"""PDFium asked for every character of a page: its functions called with plain addresses.

ctypes builds a structure, or checks and converts one, for each argument; with numbers in their place, and
results written to where they stay, a call takes a fifth of the time.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TextPage"]

_NUMBER, _ADDRESS = ctypes.c_int, ctypes.c_void_p


class TextPage:
    """An open text page (pypdfium2's `PdfTextPage`), asked by the numbers of its characters.

    It is valid as long as the page is open.
    """

    def __init__(self, textpage: Any) -> None:
        from pypdfium2 import raw

        self._page = ctypes.cast(textpage.raw, _ADDRESS).value
        self._raw = raw
        self.count = max(0, self._function("FPDFText_CountChars", _NUMBER, _ADDRESS)(self._page))

    def codes(self) -> list[int]:
        """The code unit of each character; a character beyond the first plane has two."""
        unicode_of = self._function("FPDFText_GetUnicode", ctypes.c_uint, _ADDRESS, _NUMBER)
        page = self._page
        return [unicode_of(page, index) for index in range(self.count)]

    def truths(self, name: str, indices: list[int]) -> list[bool]:
        """Whether PDFium's function `name` (`FPDFText_IsHyphen`, ...) says yes, for some characters."""
        function = self._function(name, _NUMBER, _ADDRESS, _NUMBER)
        page = self._page
        return [function(page, index) == 1 for index in indices]

    def objects(self, indices: list[int]) -> list[int]:
        """The address of the text object of some characters, 0 for none."""
        object_of = self._function("FPDFText_GetTextObject", _ADDRESS, _ADDRESS, _NUMBER)
        page = self._page
        return [object_of(page, index) or 0 for index in indices]

    def boxes(self, indices: list[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(N, 4) each: left, bottom, right, top of the ink of some characters and of their room, from descent
        to ascent and over the advance width; in points from the lower left corner, 0 where there is none."""
        ink_of = self._function("FPDFText_GetCharBox", _NUMBER, _ADDRESS, _NUMBER, *[_ADDRESS] * 4)
        room_of = self._function("FPDFText_GetLooseCharBox", _NUMBER, _ADDRESS, _NUMBER, _ADDRESS)
        page = self._page
        inks = np.zeros((len(indices), 4), dtype=np.float64)  # left, right, bottom, top
        rooms = np.zeros((len(indices), 4), dtype=np.float32)  # left, top, right, bottom
        ink, room = inks.ctypes.data, rooms.ctypes.data
        for index in indices:
            ink_of(page, index, ink, ink + 8, ink + 16, ink + 24)
            room_of(page, index, room)
            ink, room = ink + 32, room + 16
        return inks[:, [0, 2, 1, 3]], rooms[:, [0, 3, 2, 1]].astype(np.float64)

    def _function(self, name: str, result: Any, *arguments: Any) -> Any:
        address = ctypes.cast(getattr(self._raw, name), _ADDRESS).value
        assert address is not None
        return ctypes.CFUNCTYPE(result, *arguments)(address)
