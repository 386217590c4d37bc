"""Expressions that name one object of a scene and no other: by class, colour, place, size, order, neighbour.

An expression is made only where it is clear by a margin: `left` of two objects, where the left one ends
before the right one begins; `large`, where the areas differ by at least a factor of two; and so on.  What
each form claims is written beside the function that makes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vary.datagen.scene.classes import COLOUR_NAMES
from vary.datagen.scene.composing import Placed

__all__ = ["Expression", "expressions"]

_AREA_RATIO = 2.0
"""How much larger a `large` object's box is than any it is compared with."""
_GAP = 0.01
"""Part of the image's side that lies at least between objects told apart by their place."""
_CORNER = 0.42
"""Part of the image's sides within which an object in a corner ends."""
_BESIDE = 0.4
"""Part of the image's side that lies at most between an object and its neighbour."""
_LEVEL = 0.4
"""Part of the smaller one's height (or width) that an object shares with its neighbour at least."""
_SIDES = (
    ("left", "to the left of", "左边"),
    ("right", "to the right of", "右边"),
    ("above", "above", "上方"),
    ("below", "below", "下方"),
)

_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_CHINESE_NUMBERS = ("一", "二", "三", "四", "五")


@dataclass(frozen=True, slots=True)
class Expression:
    """What one object is called, its number, and the form: `colour`, `side`, `extreme`, `order`, ..."""

    text: str
    number: int
    form: str


@dataclass(frozen=True, slots=True)
class _Group:
    """Objects that share a class, or a class and a colour: their numbers and names."""

    numbers: tuple[int, ...]
    english: str
    chinese: str
    coloured: bool


def expressions(objects: Sequence[Placed], width: int, height: int, language: str) -> list[Expression]:
    """Every expression that is clear, in the order of the forms and objects."""
    found: list[Expression] = []
    maker = _Maker(objects, width, height, language)
    for group in _groups(objects):
        for form in (maker.alone, maker.sides, maker.sizes, maker.order, maker.corners, maker.neighbours):
            found += form(group)
    return found


def _groups(objects: Sequence[Placed]) -> list[_Group]:
    classes: dict[str, list[int]] = {}
    coloured: dict[tuple[str, str], list[int]] = {}
    for number, item in enumerate(objects):
        classes.setdefault(item.kind.name, []).append(number)
        coloured.setdefault((item.colour, item.kind.name), []).append(number)
    groups = [
        _Group(tuple(numbers), name, objects[numbers[0]].kind.chinese, False)
        for name, numbers in classes.items()
    ]
    for (colour, name), numbers in coloured.items():
        chinese = f"{COLOUR_NAMES[colour]}的{objects[numbers[0]].kind.chinese}"
        groups.append(_Group(tuple(numbers), f"{colour} {name}", chinese, True))
    return groups


class _Maker:
    """Makes the expressions of one scene."""

    def __init__(self, objects: Sequence[Placed], width: int, height: int, language: str) -> None:
        self._objects = objects
        self._width, self._height = width, height
        self._chinese = language == "zh"

    def _say(self, number: int, form: str, english: str, chinese: str) -> Expression:
        return Expression(chinese if self._chinese else f"the {english}", number, form)

    def alone(self, group: _Group) -> Iterator[Expression]:
        """`the red cup`: the only one of its class (and colour)."""
        if len(group.numbers) == 1:
            form = "colour" if group.coloured else "class"
            yield self._say(group.numbers[0], form, group.english, group.chinese)

    def sides(self, group: _Group) -> Iterator[Expression]:
        """`the left cup` of two, `the leftmost cup` of more: apart from the next by a gap."""
        if len(group.numbers) < 2:
            return
        two = len(group.numbers) == 2
        for words, chinese, edges in (
            (("left", "leftmost"), ("左边的", "最左边的"), ("left", "right")),
            (("upper", "topmost"), ("上面的", "最上面的"), ("top", "bottom")),
        ):
            first, last = self._ends(group.numbers, *edges)
            other = {"left": (("right", "rightmost"), ("右边的", "最右边的"))}.get(
                edges[0], (("lower", "bottommost"), ("下面的", "最下面的"))
            )
            form = "side" if two else "extreme"
            for number, (word, sign) in ((first, (words, chinese)), (last, other)):
                if number is not None:
                    yield self._say(
                        number, form, f"{word[not two]} {group.english}", f"{sign[not two]}{group.chinese}"
                    )

    def _ends(self, numbers: tuple[int, ...], low: str, high: str) -> tuple[int | None, int | None]:
        """The objects that come first and last along an axis, each clearly apart from the next."""
        gap = _GAP * (self._width if low == "left" else self._height)
        edge = {
            number: (getattr(self._objects[number], low), getattr(self._objects[number], high))
            for number in numbers
        }
        first = min(numbers, key=lambda number: edge[number][1])
        last = max(numbers, key=lambda number: edge[number][0])
        clear_first = all(edge[first][1] + gap <= edge[number][0] for number in numbers if number != first)
        clear_last = all(edge[number][1] + gap <= edge[last][0] for number in numbers if number != last)
        return first if clear_first else None, last if clear_last else None

    def sizes(self, group: _Group) -> Iterator[Expression]:
        """`the large cup` of two, `the largest cup` of more: by the areas of the boxes."""
        if len(group.numbers) < 2:
            return
        two = len(group.numbers) == 2
        area = {number: self._area(number) for number in group.numbers}
        ranked = sorted(group.numbers, key=lambda number: area[number])
        if area[ranked[0]] * _AREA_RATIO <= area[ranked[1]]:
            word, chinese = ("small", "小的") if two else ("smallest", "最小的")
            yield self._say(ranked[0], "size", f"{word} {group.english}", f"{chinese}{group.chinese}")
        if area[ranked[-2]] * _AREA_RATIO <= area[ranked[-1]]:
            word, chinese = ("large", "大的") if two else ("largest", "最大的")
            yield self._say(ranked[-1], "size", f"{word} {group.english}", f"{chinese}{group.chinese}")

    def _area(self, number: int) -> int:
        item = self._objects[number]
        return (item.right - item.left) * (item.bottom - item.top)

    def order(self, group: _Group) -> Iterator[Expression]:
        """`the second cup from the left` of three to five that stand clear of each other."""
        count = len(group.numbers)
        if not 3 <= count <= len(_ORDINALS):
            return
        ranked = sorted(group.numbers, key=lambda number: self._objects[number].left)
        gap = _GAP * self._width
        for before, after in pairwise(ranked):
            if self._objects[before].right + gap > self._objects[after].left:
                return
        for place in range(1, count - 1):
            yield self._say(
                ranked[place],
                "order",
                f"{_ORDINALS[place]} {group.english} from the left",
                f"从左数第{_CHINESE_NUMBERS[place]}个{group.chinese}",
            )

    def corners(self, group: _Group) -> Iterator[Expression]:
        """`the cup in the upper left corner`: it lies within the corner; of every other one no part does, and
        its middle is not in that quarter of the picture."""
        if len(group.numbers) < 2:
            return
        for down, english_down, chinese_down in ((False, "upper", "上"), (True, "lower", "下")):
            for right, english_side, chinese_side in ((False, "left", "左"), (True, "right", "右")):
                inside = [n for n in group.numbers if self._in_corner(n, right, down, whole=True)]
                touching = [n for n in group.numbers if self._in_corner(n, right, down, whole=False)]
                if len(inside) == 1 and touching == inside:
                    yield self._say(
                        inside[0],
                        "corner",
                        f"{group.english} in the {english_down} {english_side} corner",
                        f"{chinese_side}{chinese_down}角的{group.chinese}",
                    )

    def _in_corner(self, number: int, right: bool, down: bool, *, whole: bool) -> bool:
        """Whether an object lies within a corner: `whole`, or so that one could think so."""
        item = self._objects[number]
        across = _from_edge(item.left, item.right, self._width, right)
        upright = _from_edge(item.top, item.bottom, self._height, down)
        if whole:
            return across[1] <= _CORNER and upright[1] <= _CORNER
        return all(near <= _CORNER or near + far <= 2 * (0.5 + _GAP) for near, far in (across, upright))

    def neighbours(self, group: _Group) -> Iterator[Expression]:
        """`the cup to the left of the house`, `above the house`: next to the only house, and no other cup
        reaches over to that side of it."""
        if len(group.numbers) < 2:
            return
        names = [item.kind.name for item in self._objects]
        for anchor, item in enumerate(self._objects):
            if names.count(item.kind.name) > 1 or anchor in group.numbers:
                continue
            for side, english, chinese in _SIDES:
                over = [n for n in group.numbers if _reaches(self._objects[n], item, side)]
                if len(over) == 1 and self._beside(over[0], item, side):
                    yield self._say(
                        over[0],
                        "neighbour",
                        f"{group.english} {english} the {item.kind.name}",
                        f"{item.kind.chinese}{chinese}的{group.chinese}",
                    )

    def _beside(self, number: int, anchor: Placed, side: str) -> bool:
        """Whether an object lies next to another: apart from it, near, and at its height (or width)."""
        item = self._objects[number]
        across = side in ("left", "right")
        length = self._width if across else self._height
        distance = {
            "left": anchor.left - item.right,
            "right": item.left - anchor.right,
            "above": anchor.top - item.bottom,
            "below": item.top - anchor.bottom,
        }[side]
        low, high = ("top", "bottom") if across else ("left", "right")
        shared = min(getattr(item, high), getattr(anchor, high)) - max(
            getattr(item, low), getattr(anchor, low)
        )
        smaller = min(getattr(thing, high) - getattr(thing, low) for thing in (item, anchor))
        return _GAP * length <= distance <= _BESIDE * length and shared >= _LEVEL * smaller


def _from_edge(low: int, high: int, length: int, far_side: bool) -> tuple[float, float]:
    """How far an object begins and ends from one edge of the picture, in parts of its side."""
    return ((length - high) / length, (length - low) / length) if far_side else (low / length, high / length)


def _reaches(item: Placed, anchor: Placed, side: str) -> bool:
    """Whether an object lies on that side of another, with any part or with its middle."""
    low, high = ("left", "right") if side in ("left", "right") else ("top", "bottom")
    begins, ends = getattr(item, low), getattr(item, high)
    other_begins, other_ends = getattr(anchor, low), getattr(anchor, high)
    if side in ("left", "above"):
        return bool(begins < other_begins or begins + ends < other_begins + other_ends)
    return bool(ends > other_ends or begins + ends > other_begins + other_ends)
