"""Words that run into each other, off the image or are missing are noticed."""

from __future__ import annotations

import numpy as np
import pytest

from vary.datagen.chart.crowding import PaintedChart, PaintedText, line_quad, missing_texts, trouble_with


def _text(left: float, top: float, width: float = 60, height: float = 12, word: str = "word") -> PaintedText:
    corners = [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]
    return PaintedText(word, np.array(corners, dtype=float))


def _chart(*texts: PaintedText) -> PaintedChart:
    """A picture that is speckled all over: there is ink everywhere."""
    image = np.zeros((200, 300, 3), np.uint8)
    image[::3, ::3] = 255
    return PaintedChart(image, texts, ())


def test_words_apart_are_no_trouble() -> None:
    assert trouble_with(_chart(_text(10, 10), _text(10, 24), _text(80, 10)), ["word", "word"]) == ""


@pytest.mark.parametrize(
    ("texts", "trouble"),
    [
        ((_text(10, 10), _text(40, 14)), "words upon each other"),
        ((_text(10, 10), _text(10, 10)), "words upon each other"),
        ((_text(-3, 10),), "words cut off"),
        ((_text(260, 10),), "words cut off"),
        ((_text(10, 192),), "words cut off"),
        ((), "words missing"),
    ],
)
def test_trouble_is_named(texts: tuple[PaintedText, ...], trouble: str) -> None:
    assert trouble_with(_chart(*texts), ["word"]) == trouble


def test_words_without_ink_are_noticed() -> None:
    chart = PaintedChart(np.full((200, 300, 3), 90, np.uint8), (_text(10, 10),), ())
    assert trouble_with(chart, ["word"]) == "words without ink"


def test_words_askew_beside_each_other_are_apart() -> None:
    """Their upright rectangles overlap, they themselves do not."""
    turned = [PaintedText("word", line_quad(x, 120, 60, 11, 45)) for x in (40, 62, 84)]
    assert trouble_with(_chart(*turned), ["word"] * 3) == ""
    close = [turned[0], PaintedText("word", turned[0].quad + np.array([6, 0]))]
    assert trouble_with(_chart(*close), ["word"] * 2) == "words upon each other"


def test_a_line_is_turned_around_the_start_of_its_baseline() -> None:
    flat, upright = line_quad(5, 50, 30, 10), line_quad(5, 50, 30, 10, 90)
    np.testing.assert_allclose(flat, [(5, 41.2), (35, 41.2), (35, 52.2), (5, 52.2)])
    np.testing.assert_allclose(upright, [(-3.8, 50), (-3.8, 20), (7.2, 20), (7.2, 50)])


def test_texts_are_counted() -> None:
    texts = (_text(0, 0, word="a"), _text(0, 20, word="a"), _text(0, 40, word="b"))
    assert missing_texts(texts, ["a", "b"]) == []
    assert missing_texts(texts, ["a", "a", "a", "c"]) == ["a", "c"]
