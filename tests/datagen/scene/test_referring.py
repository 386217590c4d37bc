"""Descriptions name one object and no other: each is understood again by code that shares nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from vary.datagen.scene.classes import CLASSES, COLOUR_NAMES, COLOURS
from vary.datagen.scene.composing import Placed
from vary.datagen.scene.referring import expressions

WIDTH, HEIGHT = 800, 600


@dataclass(frozen=True)
class Thing:
    """An object as a reader of the picture sees it."""

    name: str
    colour: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def x(self) -> float:
        return (self.left + self.right) / 2

    @property
    def y(self) -> float:
        return (self.top + self.bottom) / 2

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.bottom - self.top)


NAMES = "|".join(sorted(CLASSES, key=len, reverse=True))
HUES = "|".join(COLOURS)
THING = rf"(?:(?P<colour>{HUES}) )?(?P<name>{NAMES})"
CHINESE_CLASSES = {kind.chinese: name for name, kind in CLASSES.items()}
CHINESE_HUES = {chinese: name for name, chinese in COLOUR_NAMES.items()}
HAN_THING = (
    rf"(?:(?P<colour>{'|'.join(CHINESE_HUES)})的)?"
    rf"(?P<name>{'|'.join(sorted(CHINESE_CLASSES, key=len, reverse=True))})"
)
ORDINALS = {"second": 1, "third": 2, "fourth": 3, "二": 1, "三": 2, "四": 3}
WORDS = {
    "左边的": "left",
    "最左边的": "leftmost",
    "右边的": "right",
    "最右边的": "rightmost",
    "上面的": "upper",
    "最上面的": "topmost",
    "下面的": "lower",
    "最下面的": "bottommost",
    "小的": "small",
    "最小的": "smallest",
    "大的": "large",
    "最大的": "largest",
}
SIDES = {"左边": "to the left of", "右边": "to the right of", "上方": "above", "下方": "below"}
EXTREME: dict[str, Callable[[Thing], float]] = {
    **dict.fromkeys(("left", "leftmost"), lambda t: t.x),
    **dict.fromkeys(("right", "rightmost"), lambda t: -t.x),
    **dict.fromkeys(("upper", "topmost"), lambda t: t.y),
    **dict.fromkeys(("lower", "bottommost"), lambda t: -t.y),
    **dict.fromkeys(("small", "smallest"), lambda t: t.area),
    **dict.fromkeys(("large", "largest"), lambda t: -t.area),
}


def meant(text: str, things: Sequence[Thing]) -> list[int]:
    """The numbers of all objects that a description can mean."""
    if any("\u4e00" <= character <= "\u9fff" for character in text):
        return _meant_in_chinese(text, things)
    match = re.fullmatch(rf"the (?P<word>{'|'.join(EXTREME)}) {THING}", text)
    if match:
        return _extreme(match["word"], _fitting(match["name"], match["colour"], things), things)
    match = re.fullmatch(rf"the (?P<place>\w+) {THING} from the left", text)
    if match:
        return _in_order(ORDINALS[match["place"]], _fitting(match["name"], match["colour"], things), things)
    match = re.fullmatch(rf"the {THING} in the (?P<down>upper|lower) (?P<side>left|right) corner", text)
    if match:
        fit = _fitting(match["name"], match["colour"], things)
        return _in_corner(fit, things, match["side"] == "right", match["down"] == "lower")
    match = re.fullmatch(
        rf"the {THING} (?P<side>to the left of|to the right of|above|below) the (?P<anchor>{NAMES})", text
    )
    if match:
        fit = _fitting(match["name"], match["colour"], things)
        return _beside(fit, things, match["side"], _fitting(match["anchor"], None, things))
    match = re.fullmatch(f"the {THING}", text)
    assert match is not None, f"not understood: {text}"
    return _fitting(match["name"], match["colour"], things)


def _meant_in_chinese(text: str, things: Sequence[Thing]) -> list[int]:
    def fit(match: re.Match[str]) -> list[int]:
        colour = CHINESE_HUES[match["colour"]] if match["colour"] else None
        return _fitting(CHINESE_CLASSES[match["name"]], colour, things)

    match = re.fullmatch(rf"(?P<word>{'|'.join(sorted(WORDS, key=len, reverse=True))}){HAN_THING}", text)
    if match:
        return _extreme(WORDS[match["word"]], fit(match), things)
    match = re.fullmatch(rf"从左数第(?P<place>.)个{HAN_THING}", text)
    if match:
        return _in_order(ORDINALS[match["place"]], fit(match), things)
    match = re.fullmatch(rf"(?P<side>左|右)(?P<down>上|下)角的{HAN_THING}", text)
    if match:
        return _in_corner(fit(match), things, match["side"] == "右", match["down"] == "下")
    match = re.fullmatch(
        rf"(?P<anchor>{'|'.join(CHINESE_CLASSES)})(?P<side>{'|'.join(SIDES)})的{HAN_THING}", text
    )
    if match:
        anchors = _fitting(CHINESE_CLASSES[match["anchor"]], None, things)
        return _beside(fit(match), things, SIDES[match["side"]], anchors)
    match = re.fullmatch(HAN_THING, text)
    assert match is not None, f"not understood: {text}"
    return fit(match)


def _fitting(name: str, colour: str | None, things: Sequence[Thing]) -> list[int]:
    return [n for n, t in enumerate(things) if t.name == name and colour in (None, t.colour)]


def _extreme(word: str, fit: list[int], things: Sequence[Thing]) -> list[int]:
    """All that could be meant: within a hundredth of the picture, or a tenth of the area, of the first."""
    comparative = word in ("left", "right", "upper", "lower", "small", "large")
    assert len(fit) == 2 if comparative else len(fit) > 2, f"{word} of {len(fit)}"
    values = {n: EXTREME[word](things[n]) for n in fit}
    least = min(values.values())
    slack = 0.1 * abs(least) if "small" in word or "larg" in word else 0.01 * WIDTH
    return [n for n in fit if values[n] <= least + slack]


def _in_order(place: int, fit: list[int], things: Sequence[Thing]) -> list[int]:
    ranked = sorted(fit, key=lambda n: things[n].x)
    assert sorted(fit, key=lambda n: things[n].left) == ranked
    assert sorted(fit, key=lambda n: things[n].right) == ranked
    assert 0 < place < len(ranked) - 1
    return [ranked[place]]


def _in_corner(fit: list[int], things: Sequence[Thing], right: bool, lower: bool) -> list[int]:
    """Whose middle lies in that quarter of the picture."""
    return [n for n in fit if (things[n].x > WIDTH / 2) == right and (things[n].y > HEIGHT / 2) == lower]


def _beside(fit: list[int], things: Sequence[Thing], side: str, anchors: list[int]) -> list[int]:
    """Whose middle lies on that side of the only anchor."""
    assert len(anchors) == 1
    anchor = things[anchors[0]]
    return [
        n
        for n in fit
        if {
            "to the left of": things[n].x < anchor.x,
            "to the right of": things[n].x > anchor.x,
            "above": things[n].y < anchor.y,
            "below": things[n].y > anchor.y,
        }[side]
    ]


def _random_scene(rng: np.random.Generator) -> list[Placed]:
    names = [list(CLASSES)[n] for n in rng.permutation(len(CLASSES))[: int(rng.integers(1, 4))]]
    colours = [list(COLOURS)[n] for n in rng.permutation(len(COLOURS))[: int(rng.integers(1, 3))]]
    placed = []
    for _ in range(int(rng.integers(1, 9))):
        width, height = (int(side) for side in rng.integers(30, 200, 2))
        left, top = int(rng.integers(0, WIDTH - width)), int(rng.integers(0, HEIGHT - height))
        kind = CLASSES[names[int(rng.integers(len(names)))]]
        colour = colours[int(rng.integers(len(colours)))]
        placed.append(Placed(kind, colour, left, top, left + width, top + height, 1.0))
    return placed


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_description_means_one_object(language: str) -> None:
    forms: Counter[str] = Counter()
    for seed in range(1500):
        placed = _random_scene(np.random.default_rng(seed))
        things = [Thing(p.kind.name, p.colour, p.left, p.top, p.right, p.bottom) for p in placed]
        for expression in expressions(placed, WIDTH, HEIGHT, language):
            forms[expression.form] += 1
            assert meant(expression.text, things) == [expression.number], (seed, expression, things)
    assert set(forms) == {"class", "colour", "side", "extreme", "size", "order", "corner", "neighbour"}
    assert min(forms.values()) >= 20, forms


def test_both_languages_say_the_same() -> None:
    for seed in range(50):
        placed = _random_scene(np.random.default_rng(seed))
        english = expressions(placed, WIDTH, HEIGHT, "en")
        chinese = expressions(placed, WIDTH, HEIGHT, "zh")
        assert [(e.number, e.form) for e in english] == [(e.number, e.form) for e in chinese]


def _cup(left: int, top: int, size: int = 60, colour: str = "red") -> Placed:
    return Placed(CLASSES["cup"], colour, left, top, left + size, top + size, 1.0)


def test_what_is_not_clear_is_not_said() -> None:
    close = expressions([_cup(100, 100), _cup(130, 105)], WIDTH, HEIGHT, "en")
    assert close == [], "two cups upon each other"
    sizes = expressions([_cup(100, 100, 60), _cup(400, 100, 70)], WIDTH, HEIGHT, "en")
    assert not [e for e in sizes if e.form == "size"], "one hardly larger"
    assert {e.text for e in sizes} >= {"the left cup", "the right cup"}
    assert not [e for e in sizes if "upper" in e.text and e.form == "side"], "both at one height"


def test_known_descriptions() -> None:
    cups = [_cup(20, 20), _cup(390, 280, colour="blue"), _cup(600, 420, 150)]
    found = {e.text: e.number for e in expressions(cups, WIDTH, HEIGHT, "en")}
    assert found["the blue cup"] == 1
    assert found["the left red cup"] == 0
    assert found["the rightmost cup"] == 2
    assert found["the second cup from the left"] == 1
    assert found["the largest cup"] == 2
    assert found["the large red cup"] == 2
    assert found["the cup in the upper left corner"] == 0
    assert "the cup" not in found
    assert "the red cup" not in found
