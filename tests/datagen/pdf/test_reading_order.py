"""Columns, lines and paragraphs: pages whose order is known come back in it, word for word."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pypdfium2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raw_pdf import typeset
from vary.datagen.pdf.engine import _answer
from vary.datagen.pdf.reading_order import joined_lines, paragraphs, regions, words_within
from vary.datagen.pdf.text_layer import Word, read_text_layer

SYLLABLES = ("con", "ver", "ta", "mi", "nal", "pro", "gra", "tion", "ple", "su", "ment", "der")


def _prose(rng: random.Random, words: int) -> str:
    """Words without meaning, some of them long enough to be parted."""
    made = ["".join(rng.choices(SYLLABLES, k=rng.choice((1, 1, 2, 2, 3, 5)))) for _ in range(words)]
    return " ".join(made).capitalize() + "."


def _read(path: Path, page: int = 0, form: str = "paragraphs", scale: float = 2.0) -> str:
    document = pypdfium2.PdfDocument(path)
    loaded = document[page]
    width, height = (round(side * scale) for side in loaded.get_size())
    text = read_text_layer(loaded, width, height)
    document.close()
    return _answer(regions(text.words), form)


@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("justify", [True, False])
def test_columns_come_back_in_their_order(tmp_path: Path, columns: int, justify: bool) -> None:
    rng = random.Random(columns)
    texts = [_prose(rng, rng.randint(25, 60)) for _ in range(7 if columns > 1 else 4)]
    title = "A title that reaches over all the columns of this page"
    source = f"""
#set page(width: 420pt, height: 480pt, margin: 36pt, columns: {columns})
#set text(size: 8pt, lang: "en", hyphenate: true)
#set par(justify: {str(justify).lower()}, spacing: 1.3em)
#place(top, scope: "parent", float: true, text(size: 15pt)[{title}])
""" + "\n\n".join(texts)
    path = typeset(tmp_path / "columns.pdf", source)
    assert len(pypdfium2.PdfDocument(path)) == 1
    assert "-\n" in _read(path, form="lines") or not justify or columns == 1, "nothing was hyphenated"
    assert _read(path) == "\n".join([title, *texts])


def test_indented_paragraphs_without_space_between_them(tmp_path: Path) -> None:
    rng = random.Random(5)
    texts = [_prose(rng, rng.randint(20, 50)) for _ in range(9)]
    source = """
#set page(width: 420pt, height: 400pt, margin: 36pt, columns: 2)
#set text(size: 9pt, lang: "en")
#set par(justify: true, first-line-indent: (amount: 1.5em, all: true), spacing: 0.65em)
""" + "\n\n".join(texts)
    assert _read(typeset(tmp_path / "indented.pdf", source)) == "\n".join(texts)


def test_a_running_head_and_a_foot_stay_outside_of_the_columns(tmp_path: Path) -> None:
    rng = random.Random(6)
    texts = [_prose(rng, 45) for _ in range(6)]
    source = """
#set page(width: 420pt, height: 520pt, margin: 50pt, columns: 2,
  header: [Left head #h(1fr) 17], footer: [Left foot #h(1fr) right foot])
#set text(size: 9pt, lang: "en")
#set par(justify: true, spacing: 1.3em)
""" + "\n\n".join(texts)
    read = _read(typeset(tmp_path / "headed.pdf", source)).splitlines()
    assert read[0] == "Left head 17"
    assert read[-1] == "Left foot right foot"
    assert read[1:-1] == texts


def test_columns_below_and_above_a_wide_block(tmp_path: Path) -> None:
    rng = random.Random(7)
    parts = [[_prose(rng, 40) for _ in range(4)] for _ in range(2)]
    between = _prose(rng, 45)
    blocks = ["#columns(2)[\n" + "\n\n".join(part) + "\n]" for part in parts]
    source = f"""
#set page(width: 420pt, height: auto, margin: 36pt)
#set text(size: 8pt, lang: "en", hyphenate: false)
#set par(justify: true, spacing: 1.3em)
#block(height: 190pt, {blocks[0][1:]})
#v(10pt)
{between}
#v(10pt)
#block(height: 190pt, {blocks[1][1:]})
"""
    assert _read(typeset(tmp_path / "mixed.pdf", source)) == "\n".join([*parts[0], between, *parts[1]])


def test_a_table_is_read_by_rows(tmp_path: Path) -> None:
    rows = [(f"name {i}", f"{i * 37}.50", f"{i} pieces") for i in range(1, 9)]
    cells = ", ".join(f"[{cell}]" for row in rows for cell in row)
    source = f"""
#set page(width: 420pt, height: 300pt)
#set text(size: 10pt)
#table(columns: (1fr, 1fr, 1fr), stroke: none, {cells})
"""
    assert _read(typeset(tmp_path / "table.pdf", source), form="lines") == "\n".join(
        " ".join(r) for r in rows
    )


@pytest.mark.browser
def test_columns_of_a_browser(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium is not None, "Chromium is missing: apt-get install chromium"
    rng = random.Random(8)
    texts = [_prose(rng, 40) for _ in range(8)]
    page = tmp_path / "page.html"
    page.write_text(
        "<!DOCTYPE html><meta charset=utf-8><style>@page{size:420px 560px;margin:30px}"
        "body{columns:2;column-gap:24px;font:9px serif;text-align:justify;margin:0}p{margin:0 0 8px}</style>"
        + "".join(f"<p>{text}</p>" for text in texts),
        encoding="utf-8",
    )
    out = tmp_path / "page.pdf"
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={out}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    document = pypdfium2.PdfDocument(out)
    read = "\n".join(_read(out, number) for number in range(len(document)))
    assert read == "\n".join(texts)


def _word(text: str, left: float, top: float, em: float) -> Word:
    right = left + 0.5 * em * len(text)
    return Word(text, left, top, right, top + em, (left, top, right, top + em))


@settings(max_examples=60)
@given(data=st.data())
def test_any_columns_of_text_are_read_one_after_the_other(data: st.DataObject) -> None:
    em = data.draw(st.floats(6, 40), label="em")
    counts = data.draw(st.lists(st.integers(4, 25), min_size=1, max_size=4), label="lines of each column")
    gap = data.draw(st.floats(1.2, 4.0), label="gutter, em")
    shift = data.draw(st.lists(st.floats(0, 1), min_size=4, max_size=4), label="columns' lines do not align")
    columns = []
    left = 10.0
    for column, count in enumerate(counts):
        lines = []
        for line in range(count):
            at, words = left, []
            top = 50 + (line + shift[column]) * 1.3 * em
            for place in range(6):
                text = f"w{column}x{line}x{place}"
                words.append(_word(text, at, top, em))
                at = words[-1].right + 0.3 * em
            lines.append(words)
        columns.append(lines)
        left = max(word.right for words in lines for word in words) + gap * em
    expected = [word.text for lines in columns for words in lines for word in words]
    shuffled = [word for lines in columns for words in lines for word in words]
    data.draw(st.randoms()).shuffle(shuffled)
    found = [word.text for part in regions(shuffled) for line in part.lines for word in line.words]
    assert found == expected


def test_hyphens_that_are_a_word_s_own_stay() -> None:
    lines = [
        [
            _word("This", 0, 0, 10),
            _word("is", 30, 0, 10),
            _word("well-known", 45, 0, 10),
            _word("and", 100, 0, 10),
        ],
        [
            _word("that", 0, 13, 10),
            _word("is", 30, 13, 10),
            _word("not", 50, 13, 10),
            _word("well-", 93, 13, 10),
        ],
        [
            _word("known", 0, 26, 10),
            _word("to", 30, 26, 10),
            _word("anyone", 50, 26, 10),
            _word("par-", 95, 26, 10),
        ],
        [_word("ted", 0, 39, 10), _word("like", 20, 39, 10), _word("Jean-", 90, 39, 10)],
        [_word("Paul", 0, 52, 10)],
    ]
    parts = regions([word for line in lines for word in line])
    [block] = [block for part in parts for block in paragraphs(part)]
    expected = "This is well-known and that is not well-known to anyone parted like Jean-Paul"
    assert joined_lines(block, words_within(parts)) == expected
