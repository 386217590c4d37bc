"""Which fonts may be painted with."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import ImageFont

from vary.datagen.fonts import (
    PRINTABLE_ASCII,
    FontCatalogue,
    evaluation_families,
    find_fonts,
    normalised_family,
    shapes_safely,
)
from vary.errors import DataError, MissingDependencyError


def test_usable_families_of_a_folder(catalogue: FontCatalogue) -> None:
    assert set(catalogue.families) == {"DejaVu Sans", "DejaVu Sans Mono", "STIXGeneral"}
    kinds = {face.family: face.kind for face in catalogue.faces}
    assert kinds["DejaVu Sans Mono"] == "mono"
    assert kinds["DejaVu Sans"] == "text"
    weights = {(face.weight >= 600, face.italic) for face in catalogue.faces if face.family == "DejaVu Sans"}
    assert weights == {(False, False), (False, True), (True, False), (True, True)}


def test_evaluation_families_are_never_used(font_folder: Path, catalogue: FontCatalogue) -> None:
    names = {path.stem for path in font_folder.iterdir()}
    assert {"DejaVuSerif", "cmr10"} <= names, "the folder should hold fonts that must be refused"
    allowed = find_fonts(folders=[font_folder], evaluation=True)
    assert "DejaVu Serif" in allowed.families
    assert "DejaVu Serif" not in catalogue.families
    assert not any("cmr10" in face.path for face in catalogue.faces)


def test_every_family_of_the_evaluation_pages_is_listed(shared_dir: Path) -> None:
    import fnmatch

    pages = json.loads((shared_dir / "eval" / "pages" / "pages.json").read_text(encoding="utf-8"))
    patterns = [normalised_family(pattern) for pattern in evaluation_families()]
    for family in {page["font"] for page in pages}:
        assert any(fnmatch.fnmatchcase(normalised_family(family), pattern) for pattern in patterns), family


@pytest.mark.parametrize("pattern", ["DejaVu Sans Mono", "dejavu-sans_mono", "DejaVuSansM*"])
def test_a_caller_can_exclude_families(font_folder: Path, pattern: str) -> None:
    families = find_fonts(folders=[font_folder], exclude=[pattern]).families
    assert set(families) == {"DejaVu Sans", "STIXGeneral"}


def test_excluding_everything_says_so(font_folder: Path) -> None:
    with pytest.raises(DataError, match="no usable font among"):
        find_fonts(folders=[font_folder], exclude=["*"])


def test_a_broken_font_file_is_passed_over(tmp_path: Path, font_folder: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"\0\1\0\0" + b"x" * 50)
    good = font_folder / "DejaVuSans.ttf"
    (tmp_path / "good.ttf").write_bytes(good.read_bytes())
    (tmp_path / "half.ttf").write_bytes(good.read_bytes()[:5000])
    assert [Path(face.path).name for face in find_fonts(folders=[tmp_path]).faces] == ["good.ttf"]


def test_coverage(catalogue: FontCatalogue) -> None:
    face = next(face for face in catalogue.faces if face.name == "STIXGeneral Regular")
    assert face.covers(PRINTABLE_ASCII)
    assert not face.missing("plain text, café – “quoted”")
    assert face.missing("text 中文") == {"中", "文"}
    assert catalogue.covering("中").faces == ()


def test_a_glyph_without_ink_counts_as_missing(catalogue: FontCatalogue) -> None:
    """A font may map a character to an empty outline: U+2003, a wide blank, stands for one here."""
    face = catalogue.faces[0]
    assert face.covers("\u2003")
    assert face.missing("a\u2003b") == {"\u2003"}


def test_a_face_without_a_required_character_is_refused(font_folder: Path) -> None:
    with pytest.raises(DataError):
        find_fonts(folders=[font_folder], required="中")


def test_regular_faces_come_first(catalogue: FontCatalogue) -> None:
    face = next(face for face in catalogue.faces if face.name == "DejaVu Sans Book")
    regular, italic, bold = (
        FontCatalogue.face_weight(replace(face, **change))
        for change in ({}, {"italic": True}, {"weight": 700})
    )
    assert regular > italic > 0
    assert regular > bold > 0


def test_code_fonts_are_not_shaped(catalogue: FontCatalogue) -> None:
    mono = next(face for face in catalogue.faces if face.kind == "mono")
    assert not shapes_safely(mono)
    assert ImageFont.truetype(mono.path, 12).getlength("->") > 0


def test_without_fonttools_the_install_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fontTools.ttLib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'vary-toy\[synth\]'"):
        find_fonts()
