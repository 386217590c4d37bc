"""Lines, blocks and pages out of readings, without a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vary.assembly import answer_blocks, build_page, legible, line_blocks, line_page
from vary.engine.confidence import LineConfidence
from vary.engine.generation import FinishReason, Generation
from vary.engine.lines import LineReading
from vary.inputs.page_image import PageImage
from vary.inputs.tasks import ResolvedTask
from vary.inputs.windows import PageWindows, Window, whole_window
from vary.outputs.document import Block, BlockKind, Box, Page, PageStatus


def decode(ids: Sequence[int]) -> str:
    """Ids are bytes."""
    return bytes(ids).decode(errors="replace")


def reading(text: str, probability: float = 0.9, end: FinishReason = "stop") -> LineReading:
    ids = list(text.encode())
    spans = [(4 * place, 4 * place + 3) for place in range(len(ids))]
    logprobs = [math.log(probability)] * len(ids)
    return LineReading(Generation(ids, logprobs, end), [probability] * len(ids), spans, 4 * len(ids))


def window(block: int, line: int, top: float, height: float, width: int = 160) -> Window:
    """A line of a page, cut to 32 px; `height` is its text's."""
    across = (width - 8) * height / 24
    corners = ((10.0, top), (10.0 + across, top), (10.0 + across, top + height), (10.0, top + height))
    return Window(np.full((32, width), 255, np.uint8), corners, block, line, margin=4.0)


def test_a_tall_short_block_is_a_heading() -> None:
    windows = [window(0, 0, 10, 40), *(window(1, n, 80 + 30 * n, 20) for n in range(5))]
    blocks = line_blocks(windows, [reading(f"line {n}") for n in range(6)], decode)
    assert [block.kind for block in blocks] == [BlockKind.HEADING, BlockKind.PARAGRAPH]
    assert [len(block.lines) for block in blocks] == [1, 5]
    assert blocks[1].text.splitlines() == [f"line {n}" for n in range(1, 6)]


def test_a_page_of_equal_lines_has_no_heading() -> None:
    blocks = line_blocks([window(n, 0, 40 * n, 20) for n in range(3)], [reading("same")] * 3, decode)
    assert {block.kind for block in blocks} == {BlockKind.PARAGRAPH}


def piece_of_line(line: int, number: int, left: float, top: float = 10.0) -> Window:
    whole = window(0, line, top, 20)
    moved = tuple((x + left, y) for x, y in whole.polygon)
    return replace(whole, polygon=moved, piece=number)


@pytest.mark.parametrize(
    ("texts", "whole", "words"),
    [
        (("one two", "three"), "one two three", ["one", "two", "three"]),
        (("汉字一", "二三"), "汉字一二三", ["汉字一二三"]),
        (("用 Python", "写的"), "用 Python 写的", ["用", "Python", "写的"]),
        (("one", ""), "one", ["one"]),
        (("", "two"), "two", ["two"]),
    ],
)
def test_the_pieces_of_a_wide_line_are_one_line(texts: tuple[str, str], whole: str, words: list[str]) -> None:
    windows = [piece_of_line(0, 0, 0), piece_of_line(0, 1, 200), piece_of_line(1, 0, 0, 60)]
    readings = [reading(texts[0]), reading(texts[1], 0.8, "length"), reading("next")]
    [block] = line_blocks(windows, readings, decode)
    first, second = block.lines
    assert (first.text, second.text) == (whole, "next")
    assert [word.text for word in first.words] == words
    assert first.polygon is not None
    assert first.polygon[0] == windows[0].polygon[0]
    assert first.polygon[2] == windows[1].polygon[2]
    assert first.finish_reason == "length"
    fitted = LineConfidence(half=5.0, slope=1.0)
    [block] = line_blocks(windows, [reading("ab"), reading("cd"), reading("next")], decode, fitted)
    assert block.lines[0].confidence == pytest.approx(fitted(reading("ab")) * fitted(reading("cd")))


def test_a_piece_whose_line_was_left_out_is_no_part_of_another_line() -> None:
    windows = [piece_of_line(0, 0, 0), piece_of_line(1, 1, 200, 60)]
    [block] = line_blocks(windows, [reading("one"), reading("rest")], decode)
    assert [line.text for line in block.lines] == ["one", "rest"]


def test_words_divide_the_line_and_bytes_make_whole_characters() -> None:
    [block] = line_blocks([window(0, 0, 10, 20)], [reading("né 漢字 x")], decode)
    [line] = block.lines
    assert [word.text for word in line.words] == ["né", "漢字", "x"]
    boxes = [word.box for word in line.words]
    assert all(box is not None for box in boxes)
    assert boxes[0] is not None
    assert boxes[0].left == pytest.approx(10)
    assert boxes[-1] is not None
    assert line.box is not None
    assert boxes[-1].right == pytest.approx(line.box.right)


@pytest.mark.parametrize(
    ("readings", "status", "message"),
    [
        ([reading("good"), reading("text")], PageStatus.OK, ""),
        ([reading("bad", 0.1), reading("text", 0.2)], PageStatus.LOW_CONFIDENCE, "unsure"),
        ([reading("good"), reading("cut", end="length")], PageStatus.TRUNCATED, "1 of 2 lines"),
        ([reading("good"), reading("la la", end="loop")], PageStatus.LOOPED, "1 of 2 lines"),
    ],
)
def test_the_status_of_a_page_is_the_worst_of_its_lines(
    readings: list[LineReading], status: PageStatus, message: str
) -> None:
    windows = PageWindows([window(0, n, 40 * n, 20) for n in range(2)], blank=False, skew=0.5)
    page = PageImage(Image.new("RGB", (300, 200)), "scan.png", 4, notes=("odd",))
    built = build_page(page, windows, line_blocks(windows.windows, readings, decode), seconds=1.0)
    assert (built.status, built.number, built.skew) == (status, 5, 0.5)
    assert built.message.startswith("odd")
    assert message in built.message


@pytest.mark.parametrize(
    ("end", "status", "message"),
    [
        ("length", PageStatus.TRUNCATED, "the answer was cut at the length limit; raise max_new_tokens, if"),
        ("loop", PageStatus.LOOPED, "the answer ran into a repetition and was cut before it"),
    ],
)
def test_a_page_with_one_answer_is_not_counted_in_lines(
    end: FinishReason, status: PageStatus, message: str
) -> None:
    block = answer("ocr", "a\nb\nc", end=end)
    built = build_page(PageImage(Image.new("RGB", (400, 300)), "x", 0), PAGE, [block], seconds=1.0)
    assert built.status is status
    assert built.message.startswith(message)


def test_an_answer_about_a_page_keeps_its_paragraphs() -> None:
    page = np.full((300, 400, 3), 255, np.uint8)
    page[100:200, 50:300] = 60
    windows = whole_window(page).windows
    task = ResolvedTask("markdown", "")
    blocks = answer_blocks(windows, [reading("# Title\n\n- one\n  - two ")], task, decode)
    assert [[line.text for line in block.lines] for block in blocks] == [["# Title"], ["- one", "  - two"]]
    assert {block.kind for block in blocks} == {BlockKind.MARKDOWN}


PAGE = PageWindows([], blank=False, skew=0.0)


def answer(task: str, text: str, subject: str = "", end: FinishReason = "stop") -> Block:
    """The one block that becomes of an answer about a page of 400 x 300 pixels."""
    window = Window(np.zeros((300, 400, 3), np.uint8), ((0, 0), (400, 0), (400, 300), (0, 300)), 0, 0)
    [block] = answer_blocks([window], [reading(text, end=end)], ResolvedTask(task, "", subject), decode)
    return block


@pytest.mark.parametrize("task", ["ocr", "caption", "ask", "prompt"])
def test_an_answer_in_words_is_text_even_if_it_looks_like_more(task: str) -> None:
    block = answer(task, "  cat: [1,2,3,4]")
    assert (block.kind, block.text, block.detections, block.note) == ("text", "cat: [1,2,3,4]", (), "")


def test_a_table_is_latex_in_one_block() -> None:
    block = answer("table", "\\begin{tabular}{c}\n\n  a \\\\\n\\end{tabular}\n")
    assert block.kind is BlockKind.LATEX
    assert [line.text for line in block.lines] == ["\\begin{tabular}{c}", "  a \\\\", "\\end{tabular}"]


def test_a_chart_has_data_and_keeps_its_words() -> None:
    block = answer("chart", "{'title': 'T',\n 'data': {'a': 1}}")
    assert (block.kind, block.data, block.note) == ("chart", {"title": "T", "data": {"a": 1}}, "")
    assert block.text == "{'title': 'T',\n 'data': {'a': 1}}"


def test_a_malformed_chart_is_kept_as_text_and_said() -> None:
    block = answer("chart", "{'title': 'T', 'data': {'a'", end="length")
    assert (block.data, block.text) == (None, "{'title': 'T', 'data': {'a'")
    assert "it ends before it is complete" in block.note
    page = build_page(PageImage(Image.new("RGB", (400, 300)), "x", 0), PAGE, [block], seconds=1.0)
    assert page.status is PageStatus.TRUNCATED
    assert page.message.endswith(block.note)


def test_boxes_are_put_on_the_page() -> None:
    block = answer("detect", "cat: [000, 000, 500, 1000], [250, 100, 750, 900]; 狗: [1, 2, 3, 4]")
    assert [(found.label, found.box.edges) for found in block.detections] == [
        ("cat", (0, 0, 200, 300)),
        ("cat", (100, 30, 300, 270)),
        ("狗", (0.4, 0.6, pytest.approx(1.2), 1.2)),
    ]
    assert (block.kind, block.note) == ("detection", "")


def test_a_malformed_answer_leaves_the_status_as_it_is() -> None:
    block = answer("detect", "cat: [300, 400, 100, 1200]")
    page = build_page(PageImage(Image.new("RGB", (400, 300)), "x", 0), PAGE, [block], seconds=1.0)
    assert page.status is PageStatus.OK
    assert "clipped" in page.message
    assert "another order" in page.message
    none = answer("detect", "no cat")
    assert (none.detections, none.text) == ((), "no cat")
    assert "no box was found" in none.note


def test_a_box_without_a_name_is_what_was_asked_for() -> None:
    assert answer("locate", "[1, 2, 3, 4]", "the left woman.").detections[0].label == "the left woman"
    assert answer("locate", "a woman: [1, 2, 3, 4]", "the left one").detections[0].label == "a woman"
    assert answer("detect", "[1, 2, 3, 4]", "cat, dog").detections[0].label == ""


def test_a_detections_confidence_is_that_of_its_box() -> None:
    text = "猫: [1, 2, 3, 4]; dog: [5, 6, 7, 8]"
    ids = list(text.encode())
    cut = len("猫: [1, 2, 3, 4]".encode())
    probabilities = [0.5 if place < cut else 0.25 for place in range(len(ids))]
    window = Window(np.zeros((300, 400, 3), np.uint8), ((0, 0), (400, 0), (400, 300), (0, 300)), 0, 0)
    read = LineReading(Generation(ids, [0.0] * len(ids), "stop"), probabilities, None, 0)
    [block] = answer_blocks([window], [read], ResolvedTask("detect", ""), decode)
    assert [found.confidence for found in block.detections] == [0.5, 0.25]


@given(st.integers(8, 20_000), st.integers(8, 20_000), *[st.floats(0, 1)] * 4)
def test_a_box_goes_through_an_answer_and_comes_back_within_half_a_thousandth(
    width: int, height: int, x0: float, y0: float, x1: float, y1: float
) -> None:
    box = Box(min(x0, x1) * width, min(y0, y1) * height, max(x0, x1) * width, max(y0, y1) * height)
    text = "thing: [{:03d}, {:03d}, {:03d}, {:03d}]".format(*box.normalised(width, height))
    corners = ((0.0, 0.0), (float(width), 0.0), (float(width), float(height)), (0.0, float(height)))
    window = Window(np.zeros((1, 1, 3), np.uint8), corners, 0, 0)
    [block] = answer_blocks([window], [reading(text)], ResolvedTask("detect", ""), decode)
    [found] = block.detections
    for edge, back, side in zip(box.edges, found.box.edges, (width, height, width, height), strict=True):
        assert abs(edge - back) <= 0.0005001 * side
    assert found.box.normalised(width, height) == box.normalised(width, height)


SURE = LineConfidence(half=1.4, slope=1.6)


def read_page(readings: Sequence[LineReading], confidence: LineConfidence | None = SURE) -> Page:
    windows = PageWindows([window(0, n, 40 * n, 20) for n in range(len(readings))], not readings, 0.0)
    image = PageImage(Image.new("RGB", (300, 900), "white"), "page.png", 0)
    return line_page(image, windows, readings, decode, confidence, seconds=0.1)


def test_a_checkpoints_own_confidence_is_that_of_whole_lines() -> None:
    [short, long] = read_page([reading("a word", 0.99), reading("many words " * 9, 0.99)]).lines
    assert short.confidence == SURE(reading("a word", 0.99))
    assert short.confidence > long.confidence
    assert [word.confidence for word in short.words] == [pytest.approx(0.99)] * 2
    [mean] = read_page([reading("many words", 0.99)], None).lines
    assert mean.confidence == pytest.approx(0.99)


def test_marks_are_left_out_and_counted() -> None:
    good, mark = reading("some text", 0.95), reading("~x~xx", 0.2)
    page = read_page([good, mark, good, good])
    assert page.text == "some text\nsome text\nsome text"
    assert page.status is PageStatus.OK
    assert page.message.startswith("1 mark that does not read as text left out")
    assert read_page([good, mark], None).text == "some text\n~x~xx"


@pytest.mark.parametrize(
    ("text", "probability", "kept"),
    [
        ("four", 0.66, True),
        ("four", 0.64, False),
        ("2.", 0.79, False),
        ("2.", 0.81, True),
        ("", 0.99, False),
        ("  ", 0.99, False),
    ],
)
def test_short_text_has_to_be_surer(text: str, probability: float, kept: bool) -> None:
    others = [reading("some text", 0.95)] * 3
    assert legible([*others, reading(text, probability)], decode) == [0, 1, 2, *([3] if kept else [])]


def test_on_a_page_of_marks_only_what_is_sure_stays() -> None:
    mark = reading("~x~xx", 0.2)
    unsure, single, sure = reading("stray words", 0.8), reading("*", 0.99), reading("EXIT", 0.97)
    assert legible([mark, unsure, mark, single, mark, sure, mark], decode) == [5]
    assert legible([mark, unsure, single, sure], decode) == [1, 2, 3]


def test_on_a_page_of_nothing_but_short_text_it_has_to_be_sure() -> None:
    assert legible([reading("12", 0.95)], decode) == [0]
    assert legible([reading("-", 0.99), reading("\\|", 0.99)], decode) == []
    assert legible([reading("|)", 0.85), reading("7", 0.92)], decode) == [1]
    assert legible([reading("|)", 0.85), reading("longer", 0.7)], decode) == [0, 1]


@pytest.mark.parametrize(("marks", "status"), [(4, PageStatus.BLANK), (5, PageStatus.LOW_CONFIDENCE)])
def test_a_page_of_a_few_marks_is_blank_one_of_many_is_not(marks: int, status: PageStatus) -> None:
    """Punch holes and dirt; or a page that lies on its head."""
    page = read_page([reading("~x~xx", 0.2)] * marks)
    assert (page.text, page.status) == ("", status)
    assert f"{marks} marks" in page.message


def test_a_page_whose_lines_are_likely_wrong_is_unsure() -> None:
    fair, bad = reading("a line of some words", 0.96), reading("a line of some words", 0.8)
    assert read_page([fair] * 3).status is PageStatus.OK
    assert read_page([bad] * 3).status is PageStatus.LOW_CONFIDENCE
    assert read_page([bad] * 3).text.count("words") == 3
