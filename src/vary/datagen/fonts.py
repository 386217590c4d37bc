"""Installed fonts: where they are, what they can paint, and how often an engine should take them.

A `FontCatalogue` is found once (`find_fonts`, a few seconds for some hundred files) and then travels with
the engine to worker processes.  Fonts are refused that would teach wrong things: symbol, emoji and
mathematics fonts, faces whose small letters look like capitals, hairline and black weights, and every family
on the exclusion list.
"""

from __future__ import annotations

import fnmatch
import re
import struct
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFont, features

from vary.errors import DataError, MissingDependencyError

__all__ = [
    "COMMON_CHINESE",
    "PRINTABLE_ASCII",
    "SHAPING",
    "FontCatalogue",
    "FontFace",
    "covering_face",
    "evaluation_families",
    "find_fonts",
    "font_files",
    "load_font",
    "normalised_family",
    "paints",
    "shapes_safely",
]

PRINTABLE_ASCII = "".join(chr(code) for code in range(0x20, 0x7F))
COMMON_CHINESE = "的一是不在人有我他中大上子和你地出道也下以生自去之家，。、；：？！（）《》"
"""A face that paints all of these is taken for Chinese."""

SHAPING = ["-calt", "-dlig"]
"""OpenType features for shaped text: no contextual forms, which draw `->` as an arrow in some fonts."""

_FONT_SUFFIXES = {".ttf", ".otf", ".ttc", ".otc"}
_REFUSED_NAME = re.compile(
    r"symbol|dingbat|emoji|math|icon|awesome|music|barcode|keyboard|initials|small ?caps|\bsc\b|integrals"
    r"|sizes?(one|two|three|four|five)|nonunicode|variants|z003|chorus|monoisome|colou?red|powerline|fallback"
    r"|\bquran\b|d050000l|outline|humor|^(ms[ab]m|stmary|wasy|rsfs|eufm|esint|dsrom)\d",
    re.IGNORECASE,
)
_ODD_NAME = re.compile(
    r"hand|script|comic|lobster|purisa|sawasdee|ruf|dancing|dyslexic|ocr|typewriter|cupola|caliban|essays"
    r"|museum|arabic|romande adf style|tomson|caveat|routed|league spartan|century catalogue|umpush|typo\b"
    r"|comfortaa|osifont|universalis|no3|kaffeesatz",
    re.IGNORECASE,
)
_FAMILY_WEIGHTS = {"text": 1.0, "mono": 0.45, "odd": 0.12}
_MAX_STYLE_WEIGHT, _MIN_STYLE_WEIGHT = 700, 300


@dataclass(frozen=True, slots=True)
class FontFace:
    """One face of a font file.

    `index` is the face's number in a collection (0 for plain files), `weight` the OpenType weight (400 is
    regular), `kind` is `text`, `mono` or `odd` (handwriting and decorative faces, taken seldom); `ranges`
    holds the covered code points as inclusive pairs in ascending order.
    """

    path: str
    index: int
    family: str
    style: str
    weight: int
    italic: bool
    kind: str
    ranges: tuple[tuple[int, int], ...] = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """Family and style, for manifests and messages."""
        return f"{self.family} {self.style}".strip()

    def covers(self, text: Iterable[str]) -> bool:
        """Whether the face has a glyph for every character of `text` (blanks always count as covered)."""
        known = _code_points(self)
        return all(ord(character) in known or character == " " for character in text)

    def missing(self, text: Iterable[str]) -> set[str]:
        """The characters of `text` that the face cannot paint: no glyph, or one without ink."""
        return {c for c in set(text) if c != " " and not (self.covers(c) and paints(self, c))}


@lru_cache(maxsize=1024)
def _code_points(face: FontFace) -> frozenset[int]:
    return frozenset(code for first, last in face.ranges for code in range(first, last + 1))


@lru_cache(maxsize=512)
def load_font(path: str, index: int, size: float, layout: int) -> ImageFont.FreeTypeFont:
    """The face at `size` px em; `layout` is `ImageFont.Layout.BASIC` or `RAQM` (kerning and ligatures)."""
    return ImageFont.truetype(path, size, index=index, layout_engine=ImageFont.Layout(layout))


@lru_cache(maxsize=65536)
def paints(face: FontFace, character: str) -> bool:
    """Whether the glyph of `character` leaves ink: some fonts map characters to empty outlines."""
    font = load_font(face.path, face.index, 24, int(ImageFont.Layout.BASIC))
    _, top, _, bottom = font.getbbox(character, anchor="ls")
    return bottom > top


_RISKY_SEQUENCES = (
    "->",
    "--",
    "---",
    "...",
    "!=",
    "<=",
    ">=",
    "==",
    "=>",
    "(c)",
    "''",
    "``",
    ",,",
    "<<",
    "//",
    "1x2",
    "www",
    "oe",
    "ae",
    "OE",
    "AE",
)


@lru_cache(maxsize=4096)
def shapes_safely(face: FontFace) -> bool:
    """Whether text of this face may be shaped (kerning and ligatures) and still look like its characters.

    Fonts for programmers draw `->` as an arrow; some text fonts turn `--` into a dash, or `oe` into `œ`.
    False without libraqm.
    """
    if face.kind == "mono" or not features.check_feature("raqm"):
        return False
    plain = load_font(face.path, face.index, 40, int(ImageFont.Layout.BASIC))
    shaped = load_font(face.path, face.index, 40, int(ImageFont.Layout.RAQM))
    for text in _RISKY_SEQUENCES:
        ink = [float(_ink(plain.getmask(text))), float(_ink(shaped.getmask(text, features=SHAPING)))]
        if abs(ink[1] - ink[0]) > 0.07 * max(ink):
            return False
    return True


def _ink(mask: Any) -> int:
    return sum(bytes(mask))


def normalised_family(name: str) -> str:
    """A family name as the exclusion list compares it: lower case, without blanks, hyphens and
    underscores."""
    return re.sub(r"[\s_\\-]+", "", unicodedata.normalize("NFKC", name)).casefold()


@lru_cache(maxsize=1)
def evaluation_families() -> tuple[str, ...]:
    """The patterns of `evaluation_fonts.txt`: families that no training page may use."""
    text = resources.files("vary.datagen").joinpath("evaluation_fonts.txt").read_text(encoding="utf-8")
    lines = (line.split("#", 1)[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if line)


@dataclass(frozen=True)
class FontCatalogue:
    """Faces to paint with, and how a family and a face are drawn from them.

    Families are drawn first, by the weight of their kind, then a face of the family: a family of forty files
    comes no more often than one of a single file.
    """

    faces: tuple[FontFace, ...]

    @property
    def families(self) -> tuple[str, ...]:
        """The names of all families, sorted."""
        return tuple(sorted({face.family for face in self.faces}))

    def covering(self, characters: str) -> FontCatalogue:
        """The faces that have a glyph for all of `characters`."""
        return FontCatalogue(tuple(face for face in self.faces if face.covers(characters)))

    def by_family(self) -> dict[str, tuple[FontFace, ...]]:
        """The faces of every family, families in the order of their names."""
        groups: dict[str, list[FontFace]] = {}
        for face in self.faces:
            groups.setdefault(face.family, []).append(face)
        return {family: tuple(groups[family]) for family in sorted(groups)}

    def family_weights(self) -> dict[str, float]:
        """How often a family is drawn, relative to the others; families of one collection share a weight."""
        groups = self.by_family()
        siblings = Counter(faces[0].path for faces in groups.values())
        return {
            family: max(_FAMILY_WEIGHTS[face.kind] for face in faces) / siblings[faces[0].path]
            for family, faces in groups.items()
        }

    @staticmethod
    def face_weight(face: FontFace) -> float:
        """How often a face is drawn within its family: regular before italic before bold before the rest."""
        weight = {True: 0.35, False: 1.0}[face.italic]
        if face.weight >= 600:
            return weight * 0.35
        return weight if 400 <= face.weight < 500 else weight * 0.15


def font_files(folders: Sequence[str | Path] | None = None, required: str = "") -> list[Path]:
    """Font files below `folders`, or those that the system knows (`fc-list`, else the usual places), sorted.

    Where `fc-list` answers, files without the `required` characters are left out.
    """
    if folders is None:
        listed = _fontconfig_files(required)
        if listed is not None:
            return listed
        folders = _usual_folders()
    found = {
        path
        for folder in folders
        for path in Path(folder).rglob("*")
        if path.suffix.lower() in _FONT_SUFFIXES
    }
    return sorted(found)


def _usual_folders() -> list[str | Path]:
    home = Path.home()
    if sys.platform == "darwin":
        return ["/System/Library/Fonts", "/Library/Fonts", home / "Library/Fonts"]
    if sys.platform == "win32":
        return ["C:/Windows/Fonts", home / "AppData/Local/Microsoft/Windows/Fonts"]
    return ["/usr/share/fonts", "/usr/local/share/fonts", home / ".local/share/fonts"]


def _fontconfig_files(required: str) -> list[Path] | None:
    pattern = ":charset=" + " ".join(f"{ord(character):x}" for character in required) if required else ":"
    try:
        listing = subprocess.run(
            ["fc-list", "--format", "%{file}\n", pattern],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    paths = {
        Path(line) for line in listing.stdout.splitlines() if Path(line).suffix.lower() in _FONT_SUFFIXES
    }
    return sorted(paths)


def find_fonts(
    *,
    exclude: Iterable[str] = (),
    folders: Sequence[str | Path] | None = None,
    required: str = PRINTABLE_ASCII,
    evaluation: bool = False,
) -> FontCatalogue:
    """The faces that are fit to paint text with.

    `exclude` are patterns of family names, besides those of `evaluation_fonts.txt` (which are allowed only
    with `evaluation=True`, for pages that are never trained on); `folders` replaces the system's font
    folders; `required` are characters that a face must paint.  Raises `DataError` when nothing is left, and
    `MissingDependencyError` without fonttools.
    """
    patterns = [*exclude, *(() if evaluation else evaluation_families())]
    matcher = re.compile("|".join(fnmatch.translate(normalised_family(p)) for p in patterns) or r"(?!)")
    faces: dict[tuple[str, str, str], FontFace] = {}
    files = font_files(folders, required)
    for path in files:
        for face in _faces_of(path, matcher, required):
            faces.setdefault((face.family, face.style, path.stem), face)
    if not faces:
        raise DataError(
            f"no usable font among {len(files)} font files: training pages need fonts that paint "
            f"{required[:20]!r}...; install some (vary/datagen/font_packages.txt lists Debian packages) "
            "or name fewer in the exclusion"
        )
    return FontCatalogue(tuple(faces[key] for key in sorted(faces)))


def covering_face(text: str) -> FontFace | None:
    """An installed face that covers all of `text`, whatever it is otherwise; None if there is none."""
    required = "".join(sorted(set(text) - {" "}))
    for path in font_files(required=required):
        for face in _faces_of(path, re.compile(r"(?!)"), required):
            if face.kind == "text" and not face.italic:
                return face
    return None


def _faces_of(path: Path, excluded: re.Pattern[str], required: str) -> list[FontFace]:
    """The usable faces of one file; a file that fontTools or FreeType cannot read has none."""
    try:
        from fontTools.ttLib import TTCollection, TTFont, TTLibError
    except ImportError as error:
        raise MissingDependencyError("fonts are read by fonttools: pip install 'vary-toy[synth]'") from error

    faces = []
    try:
        with open(path, "rb") as file:
            collection = path.suffix.lower() in {".ttc", ".otc"}
            fonts = TTCollection(file, lazy=True).fonts if collection else [TTFont(file, lazy=True)]
            for index, font in enumerate(fonts):
                face = _face(path, index, font, excluded, required)
                if face is not None:
                    faces.append(face)
    except (OSError, KeyError, AssertionError, ValueError, AttributeError, struct.error, TTLibError):
        return []  # a broken file or table: not a font to learn from
    return faces


def _face(path: Path, index: int, font: Any, excluded: re.Pattern[str], required: str) -> FontFace | None:
    names = font["name"]
    every_name = {str(r.toUnicode(errors="replace")) for r in names.names if r.nameID in (1, 4, 16)}
    family = names.getBestFamilyName() or path.stem
    style = names.getBestSubFamilyName() or "Regular"
    every_name |= {family, path.stem}
    if any(excluded.match(normalised_family(name)) for name in every_name):
        return None
    if any(_REFUSED_NAME.search(name) for name in (family, style)):
        return None
    os2 = font["OS/2"]
    weight = int(os2.usWeightClass)
    weight = weight * 100 if weight < 10 else weight
    if not _MIN_STYLE_WEIGHT <= weight <= _MAX_STYLE_WEIGHT or not 3 <= int(os2.usWidthClass) <= 7:
        return None
    if re.search(r"black|heavy|hairline|thin|extra ?light|ultra", style, re.IGNORECASE):
        return None
    # Glyph names are of no use here, and reading them takes longer than everything else.
    names_of_glyphs = [f"g{number}" for number in range(font["maxp"].numGlyphs)]
    font.setGlyphOrder(names_of_glyphs)
    codes = sorted(font.getBestCmap() or ())
    if not set(map(ord, required)).issubset(codes):
        return None
    face = FontFace(
        path=str(path),
        index=index,
        family=family,
        style=style,
        weight=weight,
        italic=bool(int(os2.fsSelection) & 1)
        or bool(re.search(r"italic|oblique|slanted", style, re.IGNORECASE)),
        kind="text",
        ranges=_as_ranges(codes),
    )
    if face.missing(required) or _is_unicase(face):
        return None
    return replace(face, kind=_kind(face))


def _kind(face: FontFace) -> str:
    if _ODD_NAME.search(face.family):
        return "odd"
    font = load_font(face.path, face.index, 48, int(ImageFont.Layout.BASIC))
    return "mono" if len({font.getlength(letter) for letter in "ilmW"}) == 1 else "text"


def _as_ranges(codes: Sequence[int]) -> tuple[tuple[int, int], ...]:
    ranges: list[tuple[int, int]] = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1] = (ranges[-1][0], code)
        else:
            ranges.append((code, code))
    return tuple(ranges)


def _is_unicase(face: FontFace) -> bool:
    """Whether small letters are drawn as (small) capitals, so that a picture would not tell them apart."""
    font = load_font(face.path, face.index, 48, int(ImageFont.Layout.BASIC))
    alike = 0
    for letter in "aegrnt":
        small, capital = (_glyph(font, c) for c in (letter, letter.upper()))
        both = float(np.minimum(small, capital).sum())
        either = float(np.maximum(small, capital).sum())
        alike += both > 0.75 * either
    return alike >= 4


def _glyph(font: ImageFont.FreeTypeFont, character: str) -> np.ndarray:
    """The ink of a glyph, stretched to 32 x 32, values 0 to 1."""
    mask = font.getmask(character, mode="L")
    picture = Image.frombytes("L", mask.size, bytes(mask))
    box = picture.getbbox() or (0, 0, 1, 1)
    return np.asarray(picture.crop(box).resize((32, 32)), dtype=np.float32) / 255.0
