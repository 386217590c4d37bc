"""The engine on real typesetters: texts that would be markup, boxes on their ink, the same samples again."""

from __future__ import annotations

import json
import pickle
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from vary.datagen.corpus import Corpus
from vary.datagen.fonts import FontCatalogue, covering_face, find_fonts
from vary.datagen.sample import Sample
from vary.datagen.text import TextEngine, TextEngineConfig
from vary.datagen.text.layouts import LAYOUTS, TYPST
from vary.errors import DataError, MissingDependencyError

Make = Callable[..., TextEngine]
CHINESE_FONT = "no Chinese font is installed: apt-get install fonts-arphic-gbsn00lp"


def draws(engine: TextEngine, count: int) -> Iterator[Sample]:
    for index in range(count):
        yield from engine.draw(index).samples


@pytest.fixture(scope="module")
def chinese(tmp_path_factory: pytest.TempPathFactory, font_folder: Path) -> TextEngine:
    """An engine of pages in both languages on one Chinese font."""
    face = covering_face("床前明月光，疑是地上霜。")
    assert face is not None, CHINESE_FONT
    corpus = tmp_path_factory.mktemp("zh") / "both.txt"
    corpus.write_text(
        "床前明月光，疑是地上霜。举头望明月，低头思故乡。\n"
        "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。\n"
        "在 TiDB 中执行 SELECT 语句，然后查看 12 个结果；如果失败，请重试3次。\n"
        "The office of the first officer was in flux, so the waffles were sniffed at.\n",
        encoding="utf-8",
    )
    config = TextEngineConfig(
        corpus=(str(corpus),),
        mixed_share=0.3,
        browser_share=0.0,
        painted_share=0.0,
        pages_per_draw=6,
        clean_share=1.0,
        markdown_share=0.0,
        layouts=("plain", "book", "two columns", "lists"),
    )
    fonts = find_fonts(folders=[font_folder, Path(face.path).parent])
    return TextEngine(config, fonts=fonts)


# what is on the pages


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_pages_that_show_their_text(make_engine: Make, name: str) -> None:
    draw = make_engine(layouts=(name,), pages_per_draw=3).draw(0)
    assert draw.samples, draw.dropped
    for sample in draw.samples:
        assert sample.details["layout"] == name
        assert sample.answer.strip()
        assert_boxes_hold_ink(sample)


def assert_boxes_hold_ink(sample: Sample) -> None:
    """Every box has ink that touches all of its sides, within two pixels."""
    image = sample.image
    assert image is not None
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    ink = cv2.absdiff(gray, np.full_like(gray, int(np.median(gray)))) > 40
    assert sample.boxes
    for box in sample.boxes:
        left, top, right, bottom = round(box.left), round(box.top), round(box.right), round(box.bottom)
        inside = ink[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1]
        assert inside.any(), box
        columns = np.flatnonzero(inside.any(axis=0))
        assert columns[0] <= 3, box
        assert columns[-1] >= inside.shape[1] - 4, box


def test_words_are_those_of_their_lines(make_engine: Make) -> None:
    for sample in draws(make_engine(layouts=("article", "two columns")), 2):
        line, words = "", []
        for box in (*sample.boxes, None):
            if box is None or box.level == "line":
                assert "".join(line.split()) == "".join("".join(words).split())
                line, words = (box.label if box else ""), []
            else:
                words.append(box.label)


def test_all_ink_of_a_page_is_in_its_boxes(make_engine: Make) -> None:
    for sample in draws(make_engine(layouts=("plain",), painted_share=0.0), 2):
        image = sample.image
        assert image is not None
        gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        ink = cv2.absdiff(gray, np.full_like(gray, int(np.median(gray)))) > 60
        for box in sample.boxes:
            ink[round(box.top) - 2 : round(box.bottom) + 2, round(box.left) - 2 : round(box.right) + 2] = (
                False
            )
        # What is left may be the rule between two columns: a line one or two px wide.
        assert (ink.any(axis=0)).sum() <= 2


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_markup_in_the_corpus_stays_text(make_engine: Make, hostile_corpus: Path, share: float) -> None:
    """With Typst and with Chromium: every word of an answer is a word of the corpus, as it stands there."""
    engine = make_engine(
        layouts=("plain",), browser_share=share, markdown_share=0.0, made_up_share=0.0, marginals_in_ocr=False
    )
    known = set(hostile_corpus.read_text(encoding="utf-8").split())
    curled = {re.sub("[“”]", '"', word).replace("’", "'").replace("‘", "'") for word in known}
    seen: set[str] = set()
    for sample in draws(engine, 2):
        words = sample.answer.split()
        seen.update(words)
        straight = [
            re.sub("[“”]", '"', w).replace("’", "'").replace("‘", "'").replace("—", "--") for w in words
        ]
        strange = [w for w in straight[1:-1] if w not in curled]
        # A page may begin and end inside a word, no more.
        assert not strange, sample.answer
    assert {"#pagebreak()", "*stars*,"} & seen or "</style><script>document.title" in seen


def test_long_words_are_broken_on_the_page_and_whole_in_the_answer(make_engine: Make) -> None:
    engine = make_engine(layouts=("newspaper",), markdown_share=0.0, pages_per_draw=8)
    samples = list(draws(engine, 2))
    broken = [
        b.label for s in samples for b in s.boxes if b.level == "line" and re.search(r"[a-z]-$", b.label)
    ]
    assert broken, "no page broke a word: the test shows nothing"
    for sample in samples:
        inner = sample.answer.replace("-\n", "").rstrip("-")
        assert not re.search(r"[a-z]- ?[a-z]{3,}ation", inner)


def test_chinese_pages(chinese: TextEngine) -> None:
    samples = list(draws(chinese, 3))
    assert {sample.language for sample in samples} >= {"zh"}
    text = "".join(sample.answer for sample in samples)
    assert "床前明月光，疑是地上霜。" in text
    for sample in samples:
        assert_boxes_hold_ink(sample)


# answers and records


def test_lines_and_paragraphs_have_the_same_text(make_engine: Make) -> None:
    """The same pages, answered in two ways: the same characters but for hyphens and blanks."""
    options = {"markdown_share": 0.0, "layouts": ("book", "footnotes", "code")}
    joined = list(draws(make_engine(answer="paragraphs", **options), 2))
    lines = list(draws(make_engine(answer="lines", **options), 2))
    assert len(joined) == len(lines) > 2
    for one, other in zip(joined, lines, strict=True):
        assert "".join(one.answer.split()) == "".join(re.sub(r"-\n", "", other.answer).split()) or (
            Counter(re.sub(r"[\s-]", "", one.answer)) == Counter(re.sub(r"[\s-]", "", other.answer))
        )
        assert other.answer.count("\n") >= one.answer.count("\n")


def test_marginals_belong_to_the_text_or_not(make_engine: Make) -> None:
    options = {"layouts": ("book",), "markdown_share": 0.0}
    with_them = list(draws(make_engine(**options), 1))
    without = list(draws(make_engine(marginals_in_ocr=False, **options), 1))
    for one, other in zip(with_them, without, strict=True):
        number = str(one.details["page"])
        assert number in one.answer.split()
        assert len(other.answer) < len(one.answer)
        assert other.answer in one.answer


def test_markdown_pages_have_its_task_and_prompt(make_engine: Make) -> None:
    samples = list(draws(make_engine(layouts=("article",), markdown_share=1.0), 2))
    assert {sample.task for sample in samples} == {"markdown"}
    assert all(sample.prompt for sample in samples)
    assert any(re.search(r"^#{1,3} \S", sample.answer, re.MULTILINE) for sample in samples)


def test_what_is_recorded(make_engine: Make) -> None:
    engine = make_engine(licence="CC0-1.0")
    sample = engine.draw(0).samples[0]
    assert sample.licence == "CC0-1.0"
    assert sample.source.startswith("hostile.txt#") or sample.source == "made-up"
    assert {"layout", "renderer", "fonts", "size", "dpi", "page", "sources"} <= set(sample.details)
    json.dumps({**engine.describe(), "details": sample.details})
    assert engine.describe()["versions"]["typst"]


def test_painted_pages_have_no_typesetter(make_engine: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    samples = list(draws(make_engine(painted_share=1.0, layouts=None), 2))
    assert {sample.details["renderer"] for sample in samples} == {"painter"}
    for sample in samples:
        assert sample.task == "ocr"
        assert_boxes_hold_ink(sample)


def test_degraded_pages_keep_their_answers(make_engine: Make) -> None:
    options = {"layouts": ("plain",), "markdown_share": 0.0}
    clean = next(draws(make_engine(**options), 1))
    spoilt = next(draws(make_engine(clean_share=0.0, **options), 1))
    assert clean.answer == spoilt.answer
    assert clean.details.get("degradation", "clean") == "clean"
    assert spoilt.details["degradation"] != "clean"
    assert len(clean.boxes) == len(spoilt.boxes)


# the same samples, whoever asks


def test_an_index_gives_the_same_samples_in_any_order_and_after_pickling(make_engine: Make) -> None:
    engine = make_engine(painted_share=0.4)
    first = [engine.draw(index) for index in (0, 1, 2)]
    again = pickle.loads(pickle.dumps(engine))
    for index in (2, 0, 1):
        other = again.draw(index)
        assert other.dropped == first[index].dropped
        assert [s.answer for s in other.samples] == [s.answer for s in first[index].samples]
        for one, two in zip(other.samples, first[index].samples, strict=True):
            assert np.array_equal(one.image, two.image)
            assert one.boxes == two.boxes
            assert one.prompt == two.prompt


def test_splits_and_seeds_differ(make_engine: Make) -> None:
    answers = {
        tuple(s.answer for s in make_engine(**changes).draw(0).samples)
        for changes in ({}, {"seed": 6}, {"split": "val"})
    }
    assert len(answers) == 3


# what is refused


def test_an_unknown_layout_is_named_with_a_guess(make_engine: Make) -> None:
    with pytest.raises(DataError, match=r"no layout 'newspapr'.*did you mean 'newspaper'"):
        make_engine(layouts=("newspapr",))


def test_a_layout_that_no_renderer_of_the_draw_can_set(make_engine: Make) -> None:
    with pytest.raises(DataError, match="footnotes can be set by chromium"):
        make_engine(layouts=("footnotes",), browser_share=1.0).draw(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"browser_share": 0.7, "painted_share": 0.5}, "more than 1"),
        ({"clean_share": 1.5}, "clean_share is 1.5"),
        ({"dpi": (10.0, 700.0)}, "dpi is"),
        ({"pages_per_draw": 0}, "pages_per_draw is 0"),
        ({"answer": "words"}, "answer is 'words'"),
        ({"languages": ("fr",)}, "languages"),
        ({"max_side_px": 50_000}, "max_side_px"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        TextEngineConfig(corpus=("a.txt",), **changes)


def test_without_typst_the_line_that_installs_it_is_told(
    make_engine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vary.datagen.text import typst_pages

    typst_pages._loaded.cache_clear()
    monkeypatch.setitem(sys.modules, "typst", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'vary-toy\[synth\]'"):
        make_engine()


def test_a_chinese_corpus_without_a_chinese_font(tmp_path: Path, catalogue: FontCatalogue) -> None:
    path = tmp_path / "zh.txt"
    path.write_text("床前明月光，疑是地上霜。\n", encoding="utf-8")
    config = TextEngineConfig(corpus=(str(path),), languages=("zh",), browser_share=0.0, painted_share=0.0)
    with pytest.raises(DataError, match=r"font"):
        TextEngine(config, fonts=catalogue, corpus=Corpus.load([path], ["zh"])).draw(0)


def test_only_the_given_fonts_are_in_the_pdf(make_engine: Make) -> None:
    """Typst brings fonts of its own, Computer Modern among them, in which evaluation pages are set."""
    from vary.datagen.text.typst_pages import typeset
    from vary.datagen.text.writing import draw_document

    engine = make_engine()
    rng = np.random.default_rng(1)
    for _ in range(4):
        document = draw_document(
            engine.config, engine.corpus, engine._families, engine._usable[TYPST], TYPST, 1, rng
        )
        pdf = typeset(document, engine._families, engine.fonts, engine._typst)
        assert font_names(pdf) <= {"DejaVuSans", "DejaVuSansMono", "STIXGeneral"}


def font_names(pdf: bytes) -> set[str]:
    """The families of a PDF file's text, without the mark of a subset."""
    import pypdfium2
    from pypdfium2 import raw

    document = pypdfium2.PdfDocument(pdf)
    names = {
        text.get_font().get_base_name()
        for page in document
        for text in page.get_objects(filter=[raw.FPDF_PAGEOBJ_TEXT])
    }
    document.close()
    return {re.split("[+]", name)[-1].split("-")[0] for name in names if name}
