"""Sheets: the same for the same index, answers that are on the pages, boxes that hold what they say."""

from __future__ import annotations

import ctypes
import fnmatch
import pickle
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pypdfium2
import pytest
from pypdfium2 import raw

import vary.datagen.formula.engine as engine_module
from latex_tables import html_grid, latex_grid
from vary.datagen.fonts import evaluation_families, normalised_family
from vary.datagen.formula import FormulaEngine
from vary.datagen.formula.latex import Typeset, run_latex
from vary.datagen.formula.notation import balanced
from vary.datagen.formula.pages import paint_pages
from vary.datagen.formula.typefaces import check_programs
from vary.datagen.prompts import wordings
from vary.datagen.sample import Box, Draw, Sample
from vary.errors import MissingDependencyError

MakeEngine = Callable[..., FormulaEngine]
SETTINGS: dict[str, dict[str, Any]] = {
    "pdflatex": {"xelatex_share": 0.0},
    "xelatex": {"xelatex_share": 1.0},
    "zh": {"languages": ("zh",)},
    "mixed": {"languages": ("mixed",)},
}
PACKAGES = {
    "pdflatex": (r"\usepackage{amssymb,textcomp}", r"\usepackage[T1]{fontenc}"),
    "xelatex": (r"\usepackage{fontspec,unicode-math}",),
    "xelatex-chinese": (r"\usepackage{fontspec,unicode-math,xeCJK}",),
}
"""What a format has loaded."""


@pytest.fixture(scope="module", autouse=True)
def _latex_is_there() -> None:
    try:
        check_programs(pdflatex=True, xelatex=True)
    except MissingDependencyError as error:
        pytest.fail(str(error))


@pytest.fixture(scope="module", params=SETTINGS)
def sheet(request: pytest.FixtureRequest, make_engine: MakeEngine) -> tuple[FormulaEngine, Draw, Typeset]:
    """Sheet 0 of an engine, drawn, and what LaTeX made of it."""
    engine = make_engine(**SETTINGS[request.param])
    made: list[Typeset] = []

    def noted(*args: Any, **options: Any) -> Typeset:
        made.append(run_latex(*args, **options))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "run_latex", noted)
        draw = engine.draw(0)
    assert made[0].error is None
    return engine, draw, made[0]


def pages(draw: Draw) -> list[Sample]:
    return [sample for sample in draw.samples if sample.task == "markdown"]


def tables(draw: Draw) -> list[Sample]:
    return [sample for sample in draw.samples if sample.task == "table"]


def test_a_sheet_gives_pages_and_tables(sheet: tuple[FormulaEngine, Draw, Typeset]) -> None:
    engine, draw, _ = sheet
    language = engine.config.languages[0]
    assert pages(draw)
    assert tables(draw)
    assert draw.counts["pages"] + draw.counts["tables"] == len(draw.samples)
    for sample in draw.samples:
        assert sample.image is not None
        assert sample.image.dtype == np.uint8
        assert sample.image.ndim == 2
        assert sample.language == language
        known = wordings(sample.task, "en") + wordings(sample.task, "zh")
        assert sample.prompt in known
        assert sample.details["program"] == ("pdflatex" if engine.config.xelatex_share == 0 else "xelatex")
        assert sample.details["degradation"] == "clean"
        made_up = sample.source == "made-up"
        assert sample.licence == ("CC0-1.0" if made_up else "see the corpus")
        assert made_up or re.fullmatch(r"both\.txt#\d+", sample.source)
        assert sample.details["sources"][0] == sample.source


def test_a_sheet_depends_on_its_index_alone(
    sheet: tuple[FormulaEngine, Draw, Typeset], make_engine: MakeEngine
) -> None:
    engine, draw, _ = sheet
    twin = pickle.loads(pickle.dumps(engine)).draw(0)
    assert len(twin.samples) == len(draw.samples)
    for one, two in zip(draw.samples, twin.samples, strict=True):
        assert (one.prompt, one.answer, one.boxes, one.details) == (
            two.prompt,
            two.answer,
            two.boxes,
            two.details,
        )
        assert np.array_equal(one.image, two.image)
    assert engine.source(0) != engine.source(1)
    other = make_engine(languages=engine.config.languages, split="other")
    assert other.source(0) != engine.source(0)


def test_formulas_and_tables_of_answers_are_whole(sheet: tuple[FormulaEngine, Draw, Typeset]) -> None:
    _, draw, _ = sheet
    for page in pages(draw):
        formulas = re.findall(r"\\\((.*?)\\\)", page.answer)
        formulas += re.findall(r"\\\[\n(.*)\n\\\]", page.answer)
        assert page.answer.count(r"\(") == page.answer.count(r"\)")
        assert all(balanced(formula) for formula in formulas)
        boxed = [box.label for box in page.boxes if box.level == "formula"]
        without_tags = [re.sub(r" \\tag\{[\d.]+\}$", "", formula) for formula in formulas]
        assert sorted(boxed) == sorted(without_tags)
        for found in re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", page.answer, re.DOTALL):
            assert latex_grid(found)
    for table in tables(draw):
        assert table.answer == table.details["latex"]
        grid = latex_grid(table.answer)
        assert (len(grid), len(grid[0])) == (table.details["rows"], table.details["columns"])
        shown = [
            [re.sub(r"\\\((.*?)\\\)", r"\1", cell) for cell in row]
            for row in html_grid(table.details["html"])
        ]
        assert shown == grid


def test_boxes_hold_ink_and_lie_on_the_image(sheet: tuple[FormulaEngine, Draw, Typeset]) -> None:
    _, draw, _ = sheet
    for sample in draw.samples:
        assert sample.image is not None
        height, width = sample.image.shape
        levels = {box.level for box in sample.boxes}
        assert "cell" in levels if sample.task == "table" else "object" in levels
        for box in sample.boxes:
            assert -1 <= box.left < box.right <= width + 1
            assert -1 <= box.top < box.bottom <= height + 1
            area = sample.image[
                max(0, int(box.top)) : int(np.ceil(box.bottom)),
                max(0, int(box.left)) : int(np.ceil(box.right)),
            ]
            assert area.min() < 200, f"nothing is printed at {box}"
        if sample.task == "markdown":
            # All ink but the head and the page number is in some block.
            blocks = [box for box in sample.boxes if box.level == "object"]
            left = sample.image.copy()
            for box in blocks:
                left[int(box.top) - 3 : int(box.bottom) + 4, int(box.left) - 12 : int(box.right) + 12] = 255
            first, last = min(box.top for box in blocks), max(box.bottom for box in blocks)
            assert left[int(first) : int(last)].min() > 100


def test_tables_are_cut_out_whole_and_alone(sheet: tuple[FormulaEngine, Draw, Typeset]) -> None:
    """Nothing else is on the picture: all its ink lies in the box of the table, away from the edges."""
    _, draw, _ = sheet
    for sample in tables(draw):
        assert sample.image is not None
        rim = np.concatenate([sample.image[0], sample.image[-1], sample.image[:, 0], sample.image[:, -1]])
        assert rim.min() > 200
        cells = [box for box in sample.boxes if box.level == "cell"]
        grid_size = sample.details["rows"] * sample.details["columns"]
        assert 0 < len(cells) <= grid_size


def squeezed(text: str) -> str:
    """Text as it can be compared: without blanks, hyphens and typographic ligatures."""
    text = unicodedata.normalize("NFKC", text)
    return re.sub(r"[\s\-\u00ad\ufffe\x02\u2010]+", "", text)


def words_of(answer: str) -> list[str]:
    """The runs of words of an answer between formulas, tables and marks of Markdown."""
    answer = re.sub(r"\\begin\{tabular\}.*?\\end\{tabular\}", "\0", answer, flags=re.DOTALL)
    answer = re.sub(r"\\\[\n.*\n\\\]", "\0", answer)
    answer = re.sub(r"(?<!\\)\\\(.*?\\\)", "\0", answer)
    answer = re.sub(r"^(#+ |- |\d+\. )", "\0", answer, flags=re.MULTILINE)
    answer = re.sub(r"(?<!\\)\*\*", "\0", answer)
    answer = re.sub(r"\\([\\`*_$<#>+\-.)])", r"\1", answer)
    return [run for part in re.split("\0|\n", answer) if (run := squeezed(part))]


def test_the_words_of_answers_are_on_the_page_in_order(
    sheet: tuple[FormulaEngine, Draw, Typeset],
) -> None:
    """Compared with the text layer of the PDF that LaTeX wrote, formulas aside."""
    _, draw, typeset = sheet
    document = pypdfium2.PdfDocument(typeset.pdf)
    for page in pages(draw):
        layer = squeezed(document[page.details["page"]].get_textpage().get_text_range())
        place = 0
        runs = words_of(page.answer)
        assert len("".join(runs)) > 20
        for run in runs:
            found = layer.find(run, place)
            assert found >= 0, f"{run!r} is not behind {layer[max(0, place - 40) : place]!r}: {layer}"
            place = found + len(run)


def test_no_held_out_font_is_on_a_page(sheet: tuple[FormulaEngine, Draw, Typeset]) -> None:
    _, _, typeset = sheet
    patterns = [normalised_family(pattern) for pattern in evaluation_families()]
    names = fonts_of(typeset.pdf)
    assert names
    for name in names:
        family = normalised_family(name.rpartition("+")[2])
        held_out = [pattern for pattern in patterns if fnmatch.fnmatch(family, pattern)]
        assert not held_out, f"{name} is held out for evaluation"
        assert not family.startswith(("latinmodern", "lm", "cm", "sfrm"))


def fonts_of(pdf: bytes) -> set[str]:
    """The names of the fonts that characters of a PDF are set in."""
    names = set()
    for page in pypdfium2.PdfDocument(pdf):
        text = page.get_textpage()
        for number in range(raw.FPDFText_CountChars(text)):
            buffer, flags = ctypes.create_string_buffer(200), ctypes.c_int()
            raw.FPDFText_GetFontInfo(text, number, buffer, 200, flags)
            names.add(buffer.value.decode())
    return names - {""}


def test_formulas_typeset_again_give_the_same_picture(
    sheet: tuple[FormulaEngine, Draw, Typeset],
) -> None:
    """The LaTeX of a box's label, typeset at the box's place without the engine's macros and format."""
    engine, draw, _ = sheet
    _, style, typeface, _, _ = engine._sheet(engine._rng(0))
    page = max(pages(draw), key=lambda sample: sum(box.level == "formula" for box in sample.boxes))
    displayed = set(re.findall(r"\\\[\n(.*?)(?: \\tag\{[\d.]+\})?\n\\\]", page.answer))
    boxes = [box for box in page.boxes if box.level == "formula" and box.label in displayed][:4]
    assert boxes
    point = page.details["dpi"] / 72.27
    width, height = style.paper
    shipped = []
    for label in [box.label for box in boxes] + [boxes[0].label]:
        box = boxes[len(shipped) % len(boxes)]
        label = label if len(shipped) < len(boxes) else r"x+\frac{1}{2}=\sqrt{y}"
        shipped.append(
            rf"\shipout\vbox to {height}bp{{\kern-1in\kern{box.top / point:.4f}pt\moveright-1in"
            rf"\hbox{{\kern{box.left / point:.4f}pt$\displaystyle {label}$}}\vss}}"
        )
    source = "\n".join(
        [
            rf"\documentclass[{style.size}pt]{{article}}",
            rf"\usepackage[paperwidth={width}bp,paperheight={height}bp]{{geometry}}",
            r"\usepackage{amsmath}",
            *PACKAGES[typeface.format],
            typeface.preamble.replace("[Path=./]", "[Path=./,mathrm=sym,mathbf=sym]"),
            r"\AtBeginDocument{\let\setminus\smallsetminus}" if typeface.program == "xelatex" else "",
            rf"\linespread{{{style.spread:.3f}}}",
            r"\begin{document}\nointerlineskip",
            *shipped,
            r"\end{document}",
        ]
    )
    again = run_latex(typeface.program, source, height=height, first_page=1, files=typeface.files)
    assert again.error is None
    painted = paint_pages(again.pdf, [page.details["dpi"]] * len(shipped))
    likeness = []
    for number, canvas in enumerate(painted):
        box = boxes[number % len(boxes)]
        assert page.image is not None
        likeness.append(alike(page.image, canvas.gray, box))
    *same, other = likeness
    assert min(same) > 0.9, f"{boxes} {same}: the label is not what is printed in its box"
    assert other < 0.6, f"{other}: another formula looks alike, so this test sees nothing"


def alike(page: np.ndarray, other: np.ndarray, box: Box) -> float:
    """Correlation of two pages within a box; programs round places, so a page may lie a pixel beside."""
    rows, columns = slice(int(box.top), int(box.bottom)), slice(int(box.left), int(box.right))
    one, two = (cv2.blur(image, (3, 3)).astype(float) for image in (page, other))
    shifts = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return max(
        float(
            np.corrcoef(one[rows, columns].ravel(), np.roll(two, shift, (0, 1))[rows, columns].ravel())[0, 1]
        )
        for shift in shifts
    )
