"""The document tree: derived values, statuses, confidence, boxes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vary.errors import DocumentError
from vary.outputs.boxes import Box, union
from vary.outputs.document import (
    Block,
    BlockKind,
    Detection,
    Document,
    FinishReason,
    Line,
    Page,
    PageStatus,
    Provenance,
    Word,
    mean_over_characters,
    status_of,
)


def page(*blocks: Block, number: int = 1, **options: Any) -> Page:
    return Page(number, 1000, 2000, "scan.png", blocks=blocks, **options)


def lines(*texts: str, **options: Any) -> Block:
    return Block([Line(text, **options) for text in texts])


def test_text_joins_lines_blocks_and_pages() -> None:
    document = Document(
        "scan.pdf",
        (
            page(lines("Title"), lines("One", "", "two"), Block()),
            page(number=2, status=PageStatus.FAILED, message="broken"),
            page(lines("三", "四"), number=3),
        ),
    )
    assert document.pages[0].text == "Title\n\nOne\ntwo"
    assert document.text == "Title\n\nOne\ntwo\n\n三\n四"


def test_everything_is_frozen_and_comparable() -> None:
    block = lines("a")
    assert block == lines("a")
    assert isinstance(block.lines, tuple)
    with pytest.raises(dataclasses.FrozenInstanceError):
        block.kind = BlockKind.HEADING


def test_boxes_come_from_what_they_hold() -> None:
    first = Line("a", polygon=((10, 22), (50, 20), (51, 30), (11, 32)))
    second = Line("b", box=Box(5, 40, 30, 50))
    assert first.box == Box(10, 20, 51, 32)
    assert Block([first, second]).box == Box(5, 20, 51, 50)
    assert Block([first], box=Box(0, 0, 90, 90)).box == Box(0, 0, 90, 90)
    assert lines("a").box is None
    assert union([]) is None


def test_numbers_of_numpy_become_plain_numbers() -> None:
    line = Line("a", box=Box(*np.array([1, 2, 3, 4], np.float32)), confidence=np.float32(0.5))
    assert line.box is not None
    assert type(line.box.left) is float
    assert type(line.confidence) is float


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (Box(0, 0, 1000, 2000), (0, 0, 1000, 1000)),
        (Box(100, 100, 500, 1000), (100, 50, 500, 500)),
        (Box(-5, -5, 1003, 2100), (0, 0, 1000, 1000)),
        (Box(1200, 0, 1300, 10), (1000, 0, 1000, 5)),
    ],
)
def test_normalised_boxes_stay_on_the_page(box: Box, expected: tuple[int, ...]) -> None:
    assert box.normalised(1000, 2000) == expected


@given(st.integers(1, 20_000), st.integers(1, 20_000), *[st.floats(0, 1) for _ in range(4)])
def test_normalised_boxes_come_back_within_a_thousandth(
    width: int, height: int, x0: float, y0: float, x1: float, y1: float
) -> None:
    box = Box(min(x0, x1) * width, min(y0, y1) * height, max(x0, x1) * width, max(y0, y1) * height)
    back = [value / 1000 for value in box.normalised(width, height)]
    for edge, value, side in zip(box.edges, back, (width, height, width, height), strict=True):
        assert abs(edge - value * side) <= 0.00051 * side


@pytest.mark.parametrize(
    "edges", [(5, 0, 4, 1), (0, 5, 1, 4), (0, 0, float("nan"), 1), (0, 0, float("inf"), 1)]
)
def test_impossible_boxes_are_refused(edges: tuple[float, float, float, float]) -> None:
    with pytest.raises(DocumentError, match="a box needs"):
        Box(*edges)


def test_boxes_of_a_page_without_size_are_refused() -> None:
    with pytest.raises(DocumentError, match="0 x 0"):
        Box(0, 0, 1, 1).normalised(0, 0)


def test_confidence_is_the_mean_over_characters() -> None:
    block = Block([Line("aaa", confidence=0.9), Line("b b", confidence=0.4), Line("unknown")])
    assert block.confidence == pytest.approx((3 * 0.9 + 2 * 0.4) / 5)
    whole = page(block, lines("c", confidence=0.0))
    assert whole.confidence == pytest.approx((3 * 0.9 + 2 * 0.4) / 6)
    assert Document("a", (whole, page())).confidence == whole.confidence
    assert page().confidence is None
    assert page(lines("a", "b")).confidence is None
    assert page(lines(" ", confidence=0.5)).confidence is None


@given(st.lists(st.tuples(st.text(max_size=5), st.floats(0, 1))))
def test_mean_over_characters_stays_between_the_values(pieces: list[tuple[str, float]]) -> None:
    mean = mean_over_characters(pieces)
    values = [value for text, value in pieces if text.strip()]
    if mean is None:
        assert not values
    else:
        assert min(values) - 1e-9 <= mean <= max(values) + 1e-9


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan")])
def test_impossible_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(DocumentError, match="between 0 and 1"):
        Word("a", confidence=confidence)


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


def test_blocks_hold_detections_and_data_beside_their_lines() -> None:
    found = Detection("cat", Box(0, 0, 10, 10))
    data = {"title": "t", "data": (1, 2)}
    block = Block([Line("cat: [0,0,10,10]")], detections=[found], data=data, note="odd")
    assert block.detections == (found,)
    assert block.data == {"title": "t", "data": [1, 2]}
    data["title"] = "changed"
    assert block.data["title"] == "t"
    assert hash(block) == hash(dataclasses.replace(block, data=None))
    assert page(block, lines("a"), block).detections == (found, found)
    assert page(block).text == "cat: [0,0,10,10]"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: Line("a", finish_reason="eos"),
            "finish_reason is 'eos', expected one of stop, length, loop",
        ),
        (lambda: Block(data={1, 2}), "the data of a block must be JSON values"),
        (lambda: Block(data=float("nan")), "the data of a block must be JSON values"),
        (lambda: Block(data=nested(100_000)), "the data of a block must be JSON values"),
        (lambda: Detection("a", Box(0, 0, 1, 1), 2.0), "a confidence is between 0 and 1"),
        (lambda: Provenance(settings=[1]), "must be an object"),
        (lambda: Block(kind="table"), "kind is 'table', expected one of paragraph"),
        (lambda: page(status="fine"), "status is 'fine', expected one of blank, ok"),
        (lambda: page(skew=float("nan")), "skew must be a finite number"),
        (lambda: Provenance(settings={"a": object()}), "must be JSON values"),
        (lambda: Provenance(settings={"a": float("nan")}), "must be JSON values"),
    ],
)
def test_unknown_values_are_refused(make: Any, words: str) -> None:
    with pytest.raises(DocumentError, match=words):
        make()


def test_statuses_given_as_strings_become_members() -> None:
    assert page(status="looped").status is PageStatus.LOOPED
    assert Line("a", finish_reason="loop").finish_reason is FinishReason.LOOP


@pytest.mark.parametrize(
    ("statuses", "expected", "ok"),
    [
        (["ok", "ok"], "ok", True),
        (["ok", "blank"], "ok", True),
        (["blank"], "blank", True),
        (["ok", "low_confidence"], "low_confidence", False),
        (["low_confidence", "truncated", "ok"], "truncated", False),
        (["looped", "truncated"], "looped", False),
        (["failed", "looped", "ok"], "failed", False),
        ([], "failed", False),
    ],
)
def test_a_document_is_as_good_as_its_worst_page(statuses: list[str], expected: str, ok: bool) -> None:
    document = Document("a", tuple(page(number=i + 1, status=status) for i, status in enumerate(statuses)))
    assert document.status == expected
    assert document.ok is ok


@pytest.mark.parametrize(
    ("blocks", "minimum", "expected"),
    [
        ([], 0.5, "blank"),
        ([Block()], 0.5, "blank"),
        ([lines("a", confidence=0.9)], 0.5, "ok"),
        ([lines("a")], 0.5, "ok"),
        ([lines("a", confidence=0.4)], 0.5, "low_confidence"),
        ([lines("", " ")], 0.5, "low_confidence"),
        ([lines("a"), lines("b", finish_reason="length")], 0.5, "truncated"),
        (
            [lines("a", finish_reason="length"), lines("b", finish_reason="loop", confidence=0.1)],
            0.5,
            "looped",
        ),
    ],
)
def test_status_of_what_was_read(blocks: list[Block], minimum: float, expected: str) -> None:
    assert status_of(blocks, minimum_confidence=minimum) == expected
