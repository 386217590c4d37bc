"""Font families to typeset with: the faces of a family by role, and what a document's fonts can print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vary.datagen.corpus import is_han
from vary.datagen.fonts import COMMON_CHINESE, FontCatalogue, FontFace
from vary.datagen.text.content import Style
from vary.errors import DataError

__all__ = ["Family", "FamilyList", "missing_characters"]


@dataclass(frozen=True, slots=True)
class Family:
    """A family's upright regular face, and its bold and italic ones where it has them."""

    name: str
    regular: FontFace
    bold: FontFace | None
    italic: FontFace | None
    kind: str
    """`text`, `mono` or `odd`, as of `FontFace`."""
    chinese: bool
    weight: float
    """How often it is drawn, relative to the others."""

    @property
    def faces(self) -> tuple[FontFace, ...]:
        """All its faces."""
        return tuple(face for face in (self.regular, self.bold, self.italic) if face is not None)


@dataclass(frozen=True)
class FamilyList:
    """All families of a catalogue, in the order of their names; styles name them by number."""

    families: tuple[Family, ...]

    @classmethod
    def of(cls, catalogue: FontCatalogue) -> FamilyList:
        """The families of a catalogue that have an upright face of ordinary weight."""
        weights = catalogue.family_weights()
        chinese = set(catalogue.covering(COMMON_CHINESE).families)
        found = []
        for name, faces in catalogue.by_family().items():
            regular = _closest([f for f in faces if not f.italic and f.weight < 600], 400)
            if regular is None:
                continue
            bold = _closest([f for f in faces if not f.italic and f.weight >= 600], 700)
            italic = _closest([f for f in faces if f.italic and abs(f.weight - regular.weight) <= 100], 400)
            kind = regular.kind
            if name in chinese and kind == "mono":
                kind = "text"  # Han characters are all equally wide: that makes no font for programmers
            found.append(Family(name, regular, bold, italic, kind, name in chinese, weights[name]))
        return cls(tuple(found))

    def draw(
        self,
        rng: np.random.Generator,
        *,
        chinese: bool,
        kinds: Sequence[str] = ("text", "odd"),
        usable: Sequence[bool] | None = None,
    ) -> int:
        """The number of a family that is Chinese or not and of one of `kinds`.

        Raises `DataError` if there is none; `usable` says by number which may be taken.
        """
        fit = [
            number
            for number, family in enumerate(self.families)
            if family.chinese == chinese and family.kind in kinds and (usable is None or usable[number])
        ]
        if not fit:
            what = "a Chinese font" if chinese else f"a font of kind {' or '.join(kinds)}"
            raise DataError(f"no {what} to typeset with: install one (vary/datagen/font_packages.txt)")
        shares = np.array([self.families[number].weight for number in fit])
        if set(kinds) == {"mono"}:
            shares = np.ones(len(fit))
        return fit[int(rng.choice(len(fit), p=shares / shares.sum()))]

    def of_style(self, style: Style) -> tuple[tuple[Family, ...], ...]:
        """The families that print a document's text, headings and code, each with the Latin one before it
        where there is one."""
        latin = () if style.latin_family is None else (self.families[style.latin_family],)
        text, heading, code = (
            self.families[number] for number in (style.text_family, style.heading_family, style.code_family)
        )
        return (*latin, text), ((heading,) if not heading.chinese else (*latin, heading)), _code(code, text)


def _code(code: Family, text: Family) -> tuple[Family, ...]:
    return (code, text) if text.chinese and text is not code else (code,)


def _closest(faces: Sequence[FontFace], weight: int) -> FontFace | None:
    """The face whose weight is closest, the one with the shortest style name first."""
    return min(faces, key=lambda f: (abs(f.weight - weight), len(f.style), f.style, f.path), default=None)


def missing_characters(families: Sequence[Family], text: str) -> set[str]:
    """The characters of `text` that a list of families cannot be trusted to print.

    One family must print all, in each of its faces.  With a Latin family before a Chinese one, typesetters
    differ in what they take from which: Han characters must be in the Chinese faces, ASCII in the Latin ones,
    all others in both or in the one that alone has them.
    """
    characters = set(text) - {" "}
    if len(families) == 1:
        return _missing(families[0], characters)
    ascii_only = {c for c in characters if c < "\x7f"}
    han = {c for c in characters if is_han(c) or "\u3000" <= c <= "\u303f" or "\uff00" <= c <= "\uffef"}
    rest = characters - ascii_only - han
    first, last = families[0], families[-1]
    return _missing(first, ascii_only) | _missing(last, han) | _missing(first, rest) | _missing(last, rest)


def _missing(family: Family, characters: set[str]) -> set[str]:
    lacking: set[str] = set()
    for face in family.faces:
        known = _covered(face)
        new = characters.difference(known)
        if new:
            known.update((character, face.covers(character)) for character in new)
        lacking.update(character for character in characters if not known[character])
    return lacking


@lru_cache(maxsize=4096)
def _covered(face: FontFace) -> dict[str, bool]:
    """Whether the face has a glyph for a character, for those that were asked for.

    That a glyph has ink is seen on the page: to paint each one here would take as long as typesetting.
    """
    return {}
