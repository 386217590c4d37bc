"""What a sheet is set in: a LaTeX program, a text face, a face for formulas, a Chinese face.

pdfLaTeX has its own Type 1 fonts (Debian's texlive-fonts-recommended), XeLaTeX any installed font; formulas
are set in the txfonts or in an OpenType mathematics font.  LaTeX's default, Computer Modern, and its
relatives are held out like every family of `evaluation_fonts.txt`, unless a configuration asks for them.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from vary.datagen.fonts import (
    COMMON_CHINESE,
    FontCatalogue,
    FontFace,
    evaluation_families,
    font_files,
    normalised_family,
    shapes_safely,
)
from vary.datagen.wording import LATIN_ALPHABET
from vary.errors import DataError, MissingDependencyError

__all__ = [
    "DEBIAN_PACKAGES",
    "Typeface",
    "Typefaces",
    "check_programs",
    "find_maths_fonts",
    "program_versions",
]

DEBIAN_PACKAGES = (
    *("texlive-latex-recommended", "texlive-fonts-recommended", "texlive-xetex", "texlive-lang-chinese"),
    *("fonts-texgyre-math", "lmodern"),
)
"""What the engine needs; lmodern only where Computer Modern is asked for."""

_PDFLATEX = (
    ("Times", "ptm", 1.0),
    ("Charter", "bch", 1.0),
    ("Utopia", "put", 1.0),
    ("New Century Schoolbook", "pnc", 0.8),
    ("Bookman", "pbk", 0.5),
    ("Helvetica", "phv", 0.5),
    ("Avant Garde", "pag", 0.15),
)
"""Families of pdfLaTeX: name, LaTeX's name, how often."""
_PDFLATEX_ALPHABET = frozenset(LATIN_ALPHABET) - frozenset("‚‡‰′″ﬁﬂ¤¦¨¯´¸ªº²³¹¼½¾¬¡¿•€")
_OWN_CHINESE = "为设计变结数对误论训给练时较这组则测验实区当华伟陈静刘赵孙强"
"""Simplified characters of headings and tables: a font of traditional ones alone would lose its pages."""
_MODERN = "Computer Modern"
_HELD_OUT_MATHS = ("texgyredejavu*", "asana*")
"""Relatives of DejaVu Serif and of Palatino, which `evaluation_fonts.txt` names as text faces."""


@dataclass(frozen=True, slots=True)
class Typeface:
    """How a sheet is set.

    `preamble` sets the fonts, after the format's packages; `files` are links that it expects beside it,
    (name, target); `latin` and `chinese` tell which characters there are (None: pdfLaTeX's alphabet, no
    Chinese).
    """

    program: str
    name: str
    preamble: str
    files: tuple[tuple[str, str], ...] = ()
    latin: FontFace | None = None
    chinese: FontFace | None = None

    @property
    def format(self) -> str:
        """The name of the precompiled format that it needs."""
        return self.program if self.chinese is None else f"{self.program}-chinese"

    def shows(self, text: str) -> bool:
        """Whether the fonts have every character of `text`."""
        if self.latin is None:
            return _PDFLATEX_ALPHABET.issuperset(text)
        for character in text:
            if _is_chinese(character):
                if self.chinese is None or not self.chinese.covers(character):
                    return False
            elif character not in LATIN_ALPHABET or not self.latin.covers(character):
                return False
        # xeCJK takes these from either font, by what stands around them.
        both = set(text) & set("‘’“”—…·–")
        return not both or self.chinese is None or self.chinese.covers("".join(both))


def _is_chinese(character: str) -> bool:
    return "\u2e80" <= character <= "\ufaff" or "\ufe30" <= character <= "\uffef" or character > "\U0001ffff"


class Typefaces:
    """All typefaces of a machine for a language; `draw` takes one."""

    def __init__(self, fonts: FontCatalogue, *, xelatex_share: float, computer_modern: bool = False) -> None:
        self.fonts, self.xelatex_share, self.computer_modern = fonts, xelatex_share, computer_modern
        self.maths = find_maths_fonts()
        # Of a Chinese font only the Chinese characters are used, so its letters may be of one width.
        self._chinese = _families(fonts.covering(COMMON_CHINESE + _OWN_CHINESE), kinds={"text", "mono"})
        latin = _families(fonts, kinds={"text"})
        self._plain = {name: faces for name, faces in latin.items() if name not in self._chinese}

    def describe(self) -> dict[str, list[str]]:
        """The families that may be drawn, by what sets them."""
        return {
            "pdflatex": [name for name, _, _ in _PDFLATEX] + [_MODERN] * self.computer_modern,
            "xelatex": sorted(self._plain),
            "chinese": sorted(self._chinese),
            "formulas": [path.name for path in self.maths],
        }

    def formats(self, languages: Sequence[str]) -> tuple[str, ...]:
        """The names of the formats that typefaces for `languages` need."""
        english, chinese = "en" in languages, set(languages) != {"en"}
        return (
            *(("pdflatex",) if english and self.xelatex_share < 1 else ()),
            *(("xelatex",) if english and self.xelatex_share > 0 else ()),
            *(("xelatex-chinese",) if chinese else ()),
        )

    def check(self, languages: Sequence[str]) -> None:
        """Raises an error where a font or a program for `languages` is missing."""
        xelatex = self.xelatex_share > 0 or set(languages) != {"en"}
        check_programs(pdflatex="en" in languages and self.xelatex_share < 1, xelatex=xelatex)
        if xelatex and not self.maths:
            raise MissingDependencyError(
                "XeLaTeX needs an OpenType font for formulas and none was found that may be used: apt-get "
                "install fonts-texgyre-math"
            )
        if xelatex and not self._plain:
            raise DataError("no text font for XeLaTeX: install one (vary/datagen/font_packages.txt)")
        if set(languages) != {"en"} and not self._chinese:
            raise DataError(
                "no font covers Chinese: install one (vary/datagen/font_packages.txt), for instance "
                "fonts-wqy-zenhei"
            )

    def draw(self, language: str, rng: np.random.Generator) -> Typeface:
        """A typeface for a sheet in `en`, `zh` or `mixed`."""
        if language == "en" and rng.random() >= self.xelatex_share:
            return self._pdflatex(rng)
        latin = _drawn(self._plain, rng)
        maths = self.maths[int(rng.integers(len(self.maths)))]
        return _xelatex(latin, maths, None if language == "en" else _drawn(self._chinese, rng))

    def _pdflatex(self, rng: np.random.Generator) -> Typeface:
        if self.computer_modern and rng.random() < 0.5:
            return Typeface("pdflatex", _MODERN, r"\usepackage{lmodern}")
        weights = np.array([weight for _, _, weight in _PDFLATEX])
        name, code, _ = _PDFLATEX[int(rng.choice(len(_PDFLATEX), p=weights / weights.sum()))]
        return Typeface("pdflatex", name, rf"\usepackage{{txfonts}}\renewcommand{{\rmdefault}}{{{code}}}")


def _families(fonts: FontCatalogue, kinds: Collection[str]) -> dict[str, tuple[FontFace, ...]]:
    """Families of some kinds with an upright face of normal weight."""
    return {
        name: faces
        for name, faces in fonts.by_family().items()
        if faces[0].kind in kinds and _regular(faces) is not None
    }


def _regular(faces: Sequence[FontFace]) -> FontFace | None:
    upright = [face for face in faces if not face.italic and 350 <= face.weight <= 500]
    return min(upright, key=lambda face: (abs(face.weight - 400), face.name)) if upright else None


def _variant(faces: Sequence[FontFace], *, italic: bool) -> FontFace | None:
    """The bold or the italic face of a family."""
    low, high = (350, 500) if italic else (600, 700)
    fitting = [face for face in faces if face.italic == italic and low <= face.weight <= high]
    return min(fitting, key=lambda face: (abs(face.weight - low), face.name)) if fitting else None


def _drawn(families: dict[str, tuple[FontFace, ...]], rng: np.random.Generator) -> tuple[FontFace, ...]:
    names = list(families)
    return families[names[int(rng.integers(len(names)))]]


def _features(faces: Sequence[FontFace]) -> str:
    """No contextual forms, and no ligatures where a family has some that are other characters."""
    off = "-calt;-dlig" if all(map(shapes_safely, faces)) else "-calt;-dlig;-liga;-clig;-rlig"
    return f"RawFeature={{{off}}}"


def _xelatex(latin: Sequence[FontFace], maths: Path, chinese: Sequence[FontFace] | None) -> Typeface:
    """Fonts by file: linked beside the sheet under plain names, whatever they are called where they lie."""
    files: list[tuple[str, str]] = []

    def link(stem: str, path: str) -> str:
        name = stem + Path(path).suffix.lower()
        files.append((name, path))
        return name

    def options(faces: Sequence[FontFace], stem: str, more: Sequence[str] = ()) -> tuple[str, str]:
        regular = _regular(faces)
        assert regular is not None
        name = link(stem, regular.path)
        chosen = ["Path=./", f"FontIndex={regular.index}", *more]
        for key, face in (
            ("Bold", _variant(faces, italic=False)),
            ("Italic", _variant(faces, italic=True)),
        ):
            if face is not None:
                file = link(f"{stem}-{key.lower()}", face.path)
                chosen += [f"{key}Font={file}", f"{key}Features={{FontIndex={face.index}}}"]
            else:
                chosen.append("AutoFakeBold=2" if key == "Bold" else "AutoFakeSlant=0.2")
        return name, ",".join(chosen)

    name, chosen = options(latin, "latin", [_features(latin)])
    lines = [
        r"\defaultfontfeatures[\rmfamily,\sffamily]{}",
        rf"\setmainfont{{{name}}}[{chosen}]",
        rf"\setmathfont{{{link('maths', str(maths))}}}[Path=./]",
    ]
    if chinese is not None:
        name, chosen = options(chinese, "chinese")
        # What xeCJK switches on as it is loaded is not kept in a format.
        lines += [r"\makexeCJKactive", rf"\setCJKmainfont{{{name}}}[{chosen}]"]
    regular = [_regular(faces) for faces in (latin, chinese) if faces is not None]
    return Typeface(
        "xelatex",
        " + ".join(face.family for face in regular if face is not None),
        "\n".join(lines),
        tuple(files),
        latin=regular[0],
        chinese=regular[1] if chinese is not None else None,
    )


@lru_cache(maxsize=1)
def find_maths_fonts() -> tuple[Path, ...]:
    """The installed OpenType fonts for formulas that are not held out, sorted by file name.

    A font counts that has a table `MATH` and the script `math`: without the latter unicode-math takes Latin
    Modern instead, whatever it was asked for.
    """
    try:
        from fontTools.ttLib import TTFont, TTLibError
    except ImportError as error:
        raise MissingDependencyError("fonts are read by fonttools: pip install 'vary-toy[synth]'") from error

    found = []
    for path in font_files():
        if "math" not in path.stem.lower():
            continue
        try:
            with TTFont(path, lazy=True, fontNumber=0) as font:
                family = font["name"].getBestFamilyName() or ""
                scripts = [
                    record.ScriptTag
                    for table in ("GSUB", "GPOS")
                    if table in font and font[table].table.ScriptList
                    for record in font[table].table.ScriptList.ScriptRecord
                ]
                usable = "MATH" in font and "math" in scripts and not _held_out(family)
        except (OSError, KeyError, TTLibError):
            continue
        if usable:
            found.append(path)
    return tuple(sorted(found, key=lambda path: path.name))


def _held_out(family: str) -> bool:
    name = normalised_family(family)
    patterns = (*map(normalised_family, evaluation_families()), *_HELD_OUT_MATHS)
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def check_programs(*, pdflatex: bool, xelatex: bool) -> None:
    """Raises `MissingDependencyError` where a program or a package of LaTeX is missing."""
    wanted = [name for name, needed in (("pdflatex", pdflatex), ("xelatex", xelatex)) if needed]
    missing = [name for name in (*wanted, "kpsewhich") if shutil.which(name) is None]
    if not missing:
        files = ["booktabs.sty", "amsthm.sty", "geometry.sty"]
        files += ["txfonts.sty", "utmr8a.pfb"] if pdflatex else []
        files += ["unicode-math.sty", "xeCJK.sty"] if xelatex else []
        missing = [name for name in files if not _found(name)]
    if missing:
        raise MissingDependencyError(
            f"LaTeX's {', '.join(missing)} is not installed: apt-get install --no-install-recommends "
            + " ".join(DEBIAN_PACKAGES)
        )


def _found(name: str) -> bool:
    run = subprocess.run(["kpsewhich", name], capture_output=True, text=True, timeout=60, check=False)
    return bool(re.search(r"\S", run.stdout))


@lru_cache(maxsize=1)
def program_versions() -> dict[str, str]:
    """The first line that each program of LaTeX says of itself, where it is installed."""
    found = {}
    for program in ("pdflatex", "xelatex"):
        if shutil.which(program) is not None:
            run = subprocess.run(
                [program, "--version"], capture_output=True, text=True, timeout=60, check=False
            )
            found[program] = run.stdout.partition("\n")[0]
    return found
