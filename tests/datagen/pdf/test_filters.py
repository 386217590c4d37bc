"""Pages that are not learned from are left out, each for its own reason; good pages are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raw_pdf import RawPage, raw_pdf, text_lines
from vary.datagen.pdf import PdfConfig, PdfEngine
from vary.datagen.pdf.filters import language_reason, text_reason

GOOD = [
    "This page has a text layer that can be trusted,",
    "and enough of it to be worth learning from.",
    "Its letters stand upright and make real words.",
]
SCAN = "q 300 0 0 400 0 0 cm /Im Do Q "


def _reason(tmp_path: Path, page: RawPage, **settings: object) -> str | None:
    path = tmp_path / "page.pdf"
    path.write_bytes(raw_pdf([page]))
    fields = {"files": (str(path),), "shares": (("train", 1.0),), "clean_share": 1.0, **settings}
    draw = PdfEngine(PdfConfig(**fields)).draw(0)
    assert len(draw.samples) + sum(draw.dropped.values()) == draw.counts["pages"] == 1
    return next(iter(draw.dropped), None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no text"),
        (SCAN, "scan without text"),
        (text_lines(["Page 7"]), "too little text"),
        (SCAN + text_lines(["Page 7"]), "scan without text"),
        (SCAN + text_lines(GOOD, before="3 Tr"), "recognised text over a scan"),
        (text_lines(GOOD, before="3 Tr") + SCAN, "recognised text over a scan"),
        (text_lines(GOOD, before="3 Tr"), "invisible text"),
        (text_lines(GOOD) + SCAN, "text that the page does not show"),
        (text_lines(GOOD, before="1 g"), "text that the page does not show"),
        (text_lines(GOOD) + text_lines(GOOD, x=2000), "text that the page does not show"),
        (text_lines(GOOD, font="F2"), "broken encoding: glyphs without a character"),
        (text_lines(GOOD * 3) + text_lines(["x"], y=200, font="F2"), None),
        (text_lines([*GOOD, "(cid:31)(cid:7) (cid:99)"]), "broken encoding: (cid:..)"),
        (
            text_lines([*GOOD, "dÃ©jÃ  vu â€œquotedâ€ itâ€™s"]),
            "broken encoding: bytes read in another encoding",
        ),
        (text_lines([*GOOD, "ÖÐÎÄÎÄ±¾ ÊÇÒ»ÖÖ"]), "broken encoding: bytes read in another encoding"),
        ("q 0 1 -1 0 250 20 cm " + text_lines(GOOD, y=200) + " Q", "turned text"),
        (text_lines(GOOD), None),
        ("q 300 0 0 400 0 0 cm 0.9 g 0 0 1 1 re f Q 0 g " + text_lines(GOOD), None),
    ],
)
def test_each_kind_of_page_has_its_reason(tmp_path: Path, content: str, reason: str | None) -> None:
    assert _reason(tmp_path, RawPage(content)) == reason


def test_a_picture_behind_real_text_is_no_scan(tmp_path: Path) -> None:
    light = "q 300 0 0 180 0 0 cm /Im Do Q "
    assert _reason(tmp_path, RawPage(light + text_lines(GOOD))) is None


def test_letters_that_make_no_words(tmp_path: Path) -> None:
    lines = [*GOOD * 2]
    assert _reason(tmp_path, RawPage(text_lines(lines))) is None
    table = str.maketrans("abcdefghijklmnopqrstuvwxyz", "defghijklmnopqrstuvwxyzabc")
    shifted = [line.translate(table) for line in lines]
    assert _reason(tmp_path, RawPage(text_lines(shifted))) == "broken encoding: letters that make no words"


def test_too_much_text_by_setting_and_by_limit(tmp_path: Path) -> None:
    lines = [f"line {number} of very many that stand on one page" for number in range(60)]
    content = text_lines(lines, size=4)
    assert _reason(tmp_path, RawPage(content)) is None
    assert _reason(tmp_path, RawPage(content), max_characters=1000) == "too much text"
    hostile = text_lines(["x" * 5000] * 15, size=0.01)
    assert _reason(tmp_path, RawPage(hostile)) == "too much text"


CHINESE = "这是一段中文文字，用来检查语言的判断是否正确。"
ENGLISH = "This is a line of English words that serves to check how languages are told apart."


@pytest.mark.parametrize(
    ("text", "languages", "reason"),
    [
        (ENGLISH, ("en",), None),
        (ENGLISH, ("zh",), "language en"),
        (CHINESE, ("zh",), None),
        (CHINESE, ("en",), "language zh"),
        (CHINESE[:9] + ENGLISH, ("en", "zh"), None),
        (CHINESE[:9] + ENGLISH, ("en",), "language mixed"),
        ("Русский текст, который никто не просил читать.", ("en", "zh"), "language other"),
        ("これは日本語の文章です。漢字とかなが混ざっています。", ("en", "zh"), "language other"),
        (ENGLISH + " слово и ещё слова", ("en", "zh"), "language other"),
        (ENGLISH + " α + β", ("en", "zh"), None),
    ],
)
def test_languages_are_told_by_their_scripts(
    text: str, languages: tuple[str, ...], reason: str | None
) -> None:
    config = PdfConfig(files=("x",), languages=languages, min_characters=5)
    assert language_reason(text, config) == reason
    assert text_reason(text, config) == reason


def test_a_bad_page_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "three.pdf"
    path.write_bytes(raw_pdf([RawPage(text_lines(GOOD)), RawPage(SCAN), RawPage(text_lines(GOOD[::-1]))]))
    draw = PdfEngine(PdfConfig(files=(str(path),), shares=(("train", 1.0),))).draw(0)
    assert [sample.source for sample in draw.samples] == ["three.pdf#1", "three.pdf#3"]
    assert dict(draw.dropped) == {"scan without text": 1}
    assert all(sample.image is not None and np.ptp(sample.image) > 100 for sample in draw.samples)
