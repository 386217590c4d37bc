"""Words of the text layer: true on the painted page, and what speaks against them counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from numpy.typing import NDArray

from raw_pdf import RawPage, raw_pdf, text_lines, typeset
from vary.datagen.pdf.text_layer import PageText, read_text_layer

LINES = ["Seven words stand in this first line", "and (five) more in the", "third: 12,50 & x-y"]


def _page(data: bytes | Path, number: int = 0, dpi: float = 200) -> tuple[PageText, NDArray[np.uint8]]:
    document = pypdfium2.PdfDocument(data)
    page = document[number]
    width, height = (int(np.ceil(side * dpi / 72)) for side in page.get_size())
    text = read_text_layer(page, width, height)
    gray = np.asarray(page.render(scale=dpi / 72).to_pil().convert("L"))
    assert gray.shape == (height, width)
    document.close()
    return text, gray


@pytest.mark.parametrize("crop", [None, "10 20 290 390"])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_boxes_are_true_on_the_painted_page(rotate: int, crop: str | None) -> None:
    upright = "1 0 0 1 0 0 cm"
    turned = {
        0: upright,
        90: "0 1 -1 0 300 0 cm",
        180: "-1 0 0 -1 300 400 cm",
        270: "0 -1 1 0 0 400 cm",
    }[rotate]
    y = 360 if rotate % 180 == 0 else 260
    content = f"q {turned} {text_lines(LINES, size=11, y=y)} Q"
    text, gray = _page(raw_pdf([RawPage(content, rotate=rotate, crop_box=crop)]))
    assert [word.text for word in text.words] == " ".join(LINES).split()
    assert not text.counts["turned"]
    ink = gray < 128
    for word in text.words:
        left, top, right, bottom = word.ink
        inside = ink[round(top) - 3 : round(bottom) + 3, round(left) - 3 : round(right) + 3]
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) - 3
        found += np.array([round(left), round(top), round(left), round(top)])
        assert np.abs(found - np.array([left, top, right, bottom])).max() <= 1.6, word
        ink[round(top) - 2 : round(bottom) + 2, round(left) - 2 : round(right) + 2] = False
    assert not ink.any(), "ink outside of all boxes"


def test_what_is_typeset_comes_back_with_its_ligatures_and_hyphens_taken_apart(tmp_path: Path) -> None:
    source = """
#set page(width: 150pt, height: 200pt, margin: 10pt)
#set text(size: 10pt, lang: "en", hyphenate: true)
#set par(justify: true)
The office of efficient afflictions considers internationalization extraordinarily difficult.
"""
    text, _ = _page(typeset(tmp_path / "a.pdf", source))
    words = [word.text for word in text.words]
    assert {"office", "efficient"} <= set(words)
    parted = [word for word in text.words if word.hyphen]
    assert parted, "nothing was hyphenated"
    assert all(word.text.endswith("-") for word in parted)
    joined = "".join(w.text[:-1] if w.hyphen else f"{w.text} " for w in text.words)
    assert joined.strip() == source.strip().splitlines()[-1]


def test_accents_that_are_painted_over_letters_belong_to_them() -> None:
    text, _ = _page(
        raw_pdf([RawPage("BT /F1 20 Tf 30 300 Td (Sch) Tj 35 0 Td (\xa8) Tj 2 0 Td (opf) Tj ET")])
    )
    assert [word.text for word in text.words] == ["Schöpf"]


def test_turned_text_is_counted_and_left_out() -> None:
    stamp = "q 0 1 -1 0 25 60 cm BT /F1 9 Tf 0 0 Td (arXiv:0000) Tj ET Q"
    text, _ = _page(raw_pdf([RawPage(text_lines(LINES, x=50) + stamp)]))
    assert text.counts["turned"] == len("arXiv:0000")
    assert [word.text for word in text.words] == " ".join(LINES).split()
    slanted = "q 1 0 0.3 1 0 0 cm " + text_lines(LINES) + " Q"
    assert not _page(raw_pdf([RawPage(slanted)]))[0].counts["turned"], "italics stand upright"
    mirrored = "q -1 0 0 1 300 0 cm " + text_lines(LINES) + " Q"
    text, _ = _page(raw_pdf([RawPage(mirrored)]))
    assert text.counts["turned"] == text.counts["characters"]


def test_text_from_top_to_bottom_is_counted() -> None:
    column = "BT /F1 12 Tf 100 350 Td " + " ".join(f"({c}) Tj 0 -12 Td" for c in "downwards") + " ET"
    text, _ = _page(raw_pdf([RawPage(column)]))
    assert text.share("downwards") > 0.5
    assert not _page(raw_pdf([RawPage(text_lines(LINES))]))[0].counts["downwards"]


@pytest.mark.parametrize(
    ("content", "count"),
    [
        (text_lines(LINES, before="3 Tr"), "invisible"),
        (text_lines(LINES, before="7 Tr"), "invisible"),
        (text_lines(LINES, font="F2"), "private"),
        (text_lines(LINES, font="F3"), "unmapped"),
    ],
)
def test_what_speaks_against_a_layer_is_counted(content: str, count: str) -> None:
    text, _ = _page(raw_pdf([RawPage(content)]))
    assert text.share(count) > 0.9, text.counts
    plain, _ = _page(raw_pdf([RawPage(text_lines(LINES))]))
    assert plain.share(count) == 0


def test_the_largest_image_is_measured() -> None:
    half = "q 300 0 0 200 0 0 cm /Im Do Q q 30 0 0 30 200 300 cm /Im Do Q"
    text, _ = _page(raw_pdf([RawPage(text_lines(LINES) + half)]))
    assert text.image_share == pytest.approx(0.5)
    beyond = "q 900 0 0 900 -300 -300 cm /Im Do Q"
    assert _page(raw_pdf([RawPage(beyond)]))[0].image_share == pytest.approx(1.0)
    assert _page(raw_pdf([RawPage(text_lines(LINES))]))[0].image_share == 0
