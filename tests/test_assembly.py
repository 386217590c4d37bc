"""Lines, blocks and pages out of readings, without a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from vary.assembly import answer_blocks, build_page, line_blocks
from vary.engine.generation import FinishReason, Generation
from vary.engine.lines import LineReading
from vary.inputs.page_image import PageImage
from vary.inputs.windows import PageWindows, Window, whole_window
from vary.outputs.document import BlockKind, PageStatus


def decode(ids: Sequence[int]) -> str:
    """Ids are bytes."""
    return bytes(ids).decode(errors="replace")


def reading(text: str, probability: float = 0.9, end: FinishReason = "stop") -> LineReading:
    ids = list(text.encode())
    spans = [(4 * place, 4 * place + 3) for place in range(len(ids))]
    return LineReading(Generation(ids, [0.0] * len(ids), end), [probability] * len(ids), spans, 4 * len(ids))


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


def test_an_answer_about_a_page_keeps_its_paragraphs() -> None:
    page = np.full((300, 400, 3), 255, np.uint8)
    page[100:200, 50:300] = 60
    windows = whole_window(page).windows
    blocks = answer_blocks(windows, [reading("# Title\n\none\ntwo")], BlockKind.MARKDOWN, decode)
    assert [[line.text for line in block.lines] for block in blocks] == [["# Title"], ["one", "two"]]
    assert {block.kind for block in blocks} == {BlockKind.MARKDOWN}
