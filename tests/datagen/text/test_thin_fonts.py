"""Fonts cut to some characters: glyphs are those of the whole font, damaged files are left as they are."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from fontTools.pens.recordingPen import DecomposingRecordingPen
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

from vary.datagen.fonts import font_files
from vary.datagen.text.thin_fonts import thin_font

TEXT = "Ångström, naïve: 12 ½ fi"


def painted(font: str | io.BytesIO, text: str, index: int = 0, shaped: bool = False) -> np.ndarray:
    image = Image.new("L", (600, 60))
    layout = ImageFont.Layout.RAQM if shaped else ImageFont.Layout.BASIC
    face = ImageFont.truetype(font, 32, index=index, layout_engine=layout)
    ImageDraw.Draw(image).text((5, 5), text, font=face, fill=255)
    return np.asarray(image)


def outlines(font: TTFont, text: str) -> list[object]:
    """The contours, with components resolved, and the advance of each character."""
    glyphs, names = font.getGlyphSet(), font.getBestCmap()
    found = []
    for character in text:
        pen = DecomposingRecordingPen(glyphs)
        glyphs[names[ord(character)]].draw(pen)
        found.append((pen.value, font["hmtx"][names[ord(character)]]))
    return found


def test_glyphs_are_those_of_the_whole_font(font_folder: Path) -> None:
    """Accented letters are composed of others, which come along under new numbers."""
    path = font_folder / "DejaVuSans.ttf"
    thin = thin_font(str(path), 0, TEXT)
    assert thin is not None
    assert len(thin) < path.stat().st_size / 5
    whole, cut = TTFont(path), TTFont(io.BytesIO(thin))
    assert set(cut.getBestCmap()) == set(map(ord, TEXT))
    assert outlines(cut, TEXT) == outlines(whole, TEXT)
    assert any(cut["glyf"][name].isComposite() for name in cut.getGlyphOrder())
    assert np.array_equal(painted(io.BytesIO(thin), TEXT), painted(str(path), TEXT))
    assert not np.array_equal(painted(io.BytesIO(thin), TEXT), painted(str(path), TEXT[:-1]))
    assert painted(io.BytesIO(thin), "z").sum() == painted(io.BytesIO(thin), "\u4e00").sum()  # the box


def test_kerning_and_ligatures_stay(font_folder: Path) -> None:
    path, text = font_folder / "DejaVuSans.ttf", "AVATo. office fluffy"
    thin = thin_font(str(path), 0, text)
    assert thin is not None
    assert np.array_equal(painted(io.BytesIO(thin), text, shaped=True), painted(str(path), text, shaped=True))
    assert not np.array_equal(painted(str(path), text, shaped=True), painted(str(path), text))


def test_a_face_of_a_collection_and_chinese_characters() -> None:
    text = "永和九年，岁在癸丑。"
    chinese = [path for path in font_files() if path.name in ("gbsn00lp.ttf", "wqy-microhei.ttc")]
    assert chinese, "no gbsn00lp.ttf: apt-get install texlive-lang-chinese"
    for path in chinese:
        for index in range(2 if path.suffix == ".ttc" else 1):
            thin = thin_font(str(path), index, text)
            assert thin is not None
            assert len(thin) < 100_000
            assert np.array_equal(painted(io.BytesIO(thin), text), painted(str(path), text, index))


def test_other_and_damaged_files_are_left(font_folder: Path, tmp_path: Path) -> None:
    data = (font_folder / "DejaVuSans.ttf").read_bytes()
    otf = next(path for path in font_files() if path.suffix == ".otf")
    assert thin_font(str(otf), 0, "abc") is None
    broken = tmp_path / "broken.ttf"
    for content in (b"", b"no font", data[:200], data[:5000], b"ttcf" + data[:400]):
        broken.write_bytes(content)
        assert thin_font(str(broken), 0, "abc") is None
    with pytest.raises(FileNotFoundError):
        thin_font(str(tmp_path / "missing.ttf"), 0, "abc")
