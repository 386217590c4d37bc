"""Words that run into each other, off the image or are missing are noticed."""

from __future__ import annotations

import numpy as np
import pytest

from vary.datagen.chart.crowding import PaintedChart, PaintedText, missing_texts, rotated_quad, trouble_with


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
    turned = []
    for x in (40.0, 62.0, 84.0):
        side = (60 + 12) * np.sqrt(0.5)
        quad = rotated_quad(x, 40, x + side, 40 + side, 60, 12, 45)
        turned.append(PaintedText("word", quad))
    assert trouble_with(_chart(*turned), ["word"] * 3) == ""
    close = [turned[0], PaintedText("word", turned[0].quad + np.array([6, 0]))]
    assert trouble_with(_chart(*close), ["word"]) == "words upon each other"


def test_a_turned_quad_fills_its_rectangle() -> None:
    width, height, degrees = 50.0, 10.0, 30.0
    angle = np.radians(degrees)
    wide = width * np.cos(angle) + height * np.sin(angle)
    high = width * np.sin(angle) + height * np.cos(angle)
    quad = rotated_quad(5, 7, 5 + wide, 7 + high, width, height, degrees)
    np.testing.assert_allclose(quad.min(axis=0), (5, 7), atol=1e-9)
    np.testing.assert_allclose(quad.max(axis=0), (5 + wide, 7 + high), atol=1e-9)


def test_texts_are_counted() -> None:
    texts = (_text(0, 0, word="a"), _text(0, 20, word="a"), _text(0, 40, word="b"))
    assert missing_texts(texts, ["a", "b"]) == []
    assert missing_texts(texts, ["a", "a", "a", "c"]) == ["a", "c"]
