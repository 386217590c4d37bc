"""What sheets are set in: fonts that are not held out and have every character; blanks as pages show them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import vary.datagen.formula.typefaces as typefaces_module
from vary.datagen.fonts import FontCatalogue
from vary.datagen.formula import FormulaEngine, phrases
from vary.datagen.formula.prose import chinese_blanks
from vary.datagen.formula.typefaces import Typefaces, find_maths_fonts
from vary.errors import DataError, MissingDependencyError

MakeEngine = Callable[..., FormulaEngine]


@pytest.fixture
def typefaces(formula_catalogue: FontCatalogue) -> Typefaces:
    return Typefaces(formula_catalogue, xelatex_share=0.5)


def drawn(typefaces: Typefaces, language: str, count: int = 60) -> list[typefaces_module.Typeface]:
    rng = np.random.default_rng(0)
    return [typefaces.draw(language, rng) for _ in range(count)]


def test_english_has_both_programs_and_chinese_xelatex(typefaces: Typefaces) -> None:
    assert {face.program for face in drawn(typefaces, "en")} == {"pdflatex", "xelatex"}
    for language in ("zh", "mixed"):
        assert {face.program for face in drawn(typefaces, language)} == {"xelatex"}


def test_computer_modern_comes_only_where_it_is_asked_for(formula_catalogue: FontCatalogue) -> None:
    for asked in (False, True):
        faces = Typefaces(formula_catalogue, xelatex_share=0.0, computer_modern=asked)
        modern = [face for face in drawn(faces, "en") if "lmodern" in face.preamble]
        assert bool(modern) is asked
        others = [face for face in drawn(faces, "en") if "lmodern" not in face.preamble]
        assert all(r"\usepackage{txfonts}" in face.preamble for face in others)


def test_maths_fonts_are_not_held_out() -> None:
    names = [path.name.lower() for path in find_maths_fonts()]
    assert names == sorted(names)
    assert any("termes" in name for name in names), "apt-get install fonts-texgyre-math"
    assert not [name for name in names if re.search("latinmodern|pagella|dejavu|newcm", name)]


def test_a_typeface_shows_what_its_fonts_have(typefaces: Typefaces) -> None:
    rng = np.random.default_rng(0)
    chinese = typefaces.draw("zh", rng)
    assert chinese.shows("中文 and English, 100%。")
    assert not chinese.shows("한글")
    assert not chinese.shows("snow ☃")
    xelatex = next(face for face in drawn(typefaces, "en") if face.program == "xelatex")
    assert xelatex.shows("naïve café – 5 £")
    assert not xelatex.shows("中文")
    pdflatex = next(face for face in drawn(typefaces, "en") if face.program == "pdflatex")
    assert pdflatex.shows("naïve café – 5 £ {x}")
    assert not pdflatex.shows("中文")


def test_ligatures_that_are_other_characters_are_switched_off(
    typefaces: Typefaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some fonts set `oe` as `œ`; the answer has two letters."""
    for safe in (True, False):
        monkeypatch.setattr(typefaces_module, "shapes_safely", lambda face, safe=safe: safe)
        face = typefaces.draw("zh", np.random.default_rng(0))
        assert ("-liga" in face.preamble) is not safe


def test_a_font_without_simplified_characters_sets_no_sheet(formula_catalogue: FontCatalogue) -> None:
    """The words of headings and tables are simplified: such a font would lose nearly all of its pages."""
    words = "".join(re.findall(r"[\u4e00-\u9fff]", Path(phrases.__file__).read_text("utf-8")))
    chinese = [face for face in formula_catalogue.faces if face.covers("的")]
    assert all(face.covers(words) for face in chinese)
    assert Typefaces(FontCatalogue(tuple(chinese)), xelatex_share=0.5).describe()["chinese"]
    code = ord("为")
    traditional = tuple(
        replace(
            face,
            path=f"{face.path} of traditional characters",
            ranges=tuple(pair for pair in face.ranges if not pair[0] <= code <= pair[1]),
        )
        for face in chinese
    )
    assert all(face.covers("的") for face in traditional)
    assert Typefaces(FontCatalogue(traditional), xelatex_share=0.5).describe()["chinese"] == []


def test_missing_fonts_are_named(formula_catalogue: FontCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    latin = FontCatalogue(tuple(face for face in formula_catalogue.faces if "DejaVu" in face.family))
    faces = Typefaces(latin, xelatex_share=0.5)
    faces.check(["en"])
    with pytest.raises(DataError, match="no font covers Chinese"):
        faces.check(["zh"])
    monkeypatch.setattr(typefaces_module, "find_maths_fonts", lambda: ())
    with pytest.raises(MissingDependencyError, match="fonts-texgyre-math"):
        Typefaces(latin, xelatex_share=0.5).check(["en"])
    Typefaces(latin, xelatex_share=0.0).check(["en"])


def test_a_bracket_at_the_beginning_of_an_item_stays(make_engine: MakeEngine) -> None:
    sources = [make_engine(xelatex_share=0.0).source(index) for index in range(8)]
    assert any(r"\item{} " in source for source in sources)
    assert not [source for source in sources if re.search(r"\\item\s*[^{]", source)]


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("中 文 字", "中文字"),
        ("TiDB用户 3个", "TiDB 用户 3 个"),
        ("好 。 Then", "好。Then"),
        ("他说 “可以” 。", "他说“可以”。"),
        ("plain English, 5 words", "plain English, 5 words"),
    ],
)
def test_chinese_blanks(typed: str, shown: str) -> None:
    assert chinese_blanks(typed) == shown
    assert chinese_blanks(shown) == shown
