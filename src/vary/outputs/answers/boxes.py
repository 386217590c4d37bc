"""Boxes as the models write them: `name: [x1, y1, x2, y2], [..]; other name: [..]`.

Coordinates are whole numbers from 0 to 1000 of the width and height of the image that the model was shown,
with three digits or more (`[012, 045, 345, 999]`; arXiv 2401.12503, 3.2.2): left, top, right, bottom.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from vary.outputs.answers.notes import Notes
from vary.outputs.boxes import NORMALISED_SIDE

__all__ = ["LabelledBox", "ParsedBoxes", "parse_boxes"]

Edges = tuple[int, int, int, int]

_GROUP = re.compile(r"[\[［【]([^\[\]［］【】]*)[\]］】]")
_NUMERIC = re.compile(r"[\d\s,，、.+\-−]*")
_BETWEEN_NUMBERS = re.compile(r"[\s,，、]+")
_NUMBER = re.compile(r"([+\-−]?)0*(\d+)")
_SEPARATOR = re.compile(r"([;；\n\r])")
_OPENING = frozenset("[［【")
_COLONS = frozenset(":：")
_COMMAS = frozenset(",，、")
_CLOSING = frozenset("]］】")
_AFTER_BOX = _COMMAS | _CLOSING
_ENDS = _AFTER_BOX | frozenset(".。!！;；")
_JOINING_WORDS = frozenset({"and", "&", "和"})
_MOST_DIGITS = 6
"""A number of more digits is far beyond every image, whatever it is."""


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """A box and its name (empty where the model wrote none)."""

    label: str
    edges: Edges
    """Left, top, right, bottom, from 0 to 1000 of the image; left <= right and top <= bottom."""
    span: tuple[int, int]
    """Where the box stands in the answer, from its opening to behind its closing bracket."""


@dataclass(frozen=True, slots=True)
class ParsedBoxes:
    """The boxes of an answer in their order, and what was odd about it."""

    boxes: tuple[LabelledBox, ...]
    notes: tuple[str, ...]


def parse_boxes(text: str) -> ParsedBoxes:
    """The boxes in `text`; never raises.

    Names may hold colons, commas and brackets; entries are parted by `;`, full or half width, or by a new
    line.  A box without a name has that of the box before it.  Corners in another order are put right and
    edges beyond 0..1000 are clipped, with a note; what is no box is left out, with a note.
    """
    notes = Notes()
    boxes: list[LabelledBox] = []
    label, end, first = "", 0, True
    for match in _groups(text):
        label = _label(text[end : match.start()], label, first, notes)
        edges = _edges(match, notes)
        if edges is not None:
            boxes.append(LabelledBox(label, edges, match.span()))
        end, first = match.end(), False
    _check_rest(text[end:], first, notes)
    return ParsedBoxes(tuple(boxes), notes.texts())


def _groups(text: str) -> Iterator[re.Match[str]]:
    """The brackets that hold numbers; a single number before a colon belongs to a name (`note [1]: [..]`)."""
    for match in _GROUP.finditer(text):
        content = match[1]
        if not _NUMERIC.fullmatch(content) or not any(map(str.isdecimal, content)):
            continue
        if len(_numbers(content)) == 4 or not _before_colon(text, match.end()):
            yield match


def _label(gap: str, before: str, first: bool, notes: Notes) -> str:
    """The name of the box behind `gap`, which is the text since the box before it (or since the beginning).

    `before` is the name of that box, `first` whether there is none.
    """
    pieces = _SEPARATOR.split(gap)  # text, separator, text, separator, ..., text
    last = len(pieces) - 1
    while last > 0 and pieces[last - 1] in "\n\r" and not pieces[last].strip():
        last -= 2
    if pieces[last].rstrip()[-1:] in _COLONS:
        del pieces[last + 1 :]  # the name stands on a line above its box
    for index, piece in enumerate(pieces[:-1:2]):
        if orphan := _stripped(piece, index == 0 and not first):
            notes.add("text without a box was left out", orphan)
    follows = len(pieces) == 1 and not first
    name = _stripped(pieces[-1], follows)
    if first or any(colon in pieces[-1] for colon in _COLONS):
        return name
    return before if not name or (follows and name in _JOINING_WORDS) else name


def _stripped(piece: str, after_box: bool) -> str:
    """The name in a piece of text: without what parts it from the box before it and from its own."""
    start, end = 0, len(piece)
    while start < end and (piece[start].isspace() or (after_box and piece[start] in _AFTER_BOX)):
        start += 1
    if after_box and piece[start:end][:1] in (".", "。"):
        follows = piece[start + 1 : end][:1]
        if not follows or follows.isspace():
            start = _skip_blanks(piece, start + 1)
    while end > start and (piece[end - 1].isspace() or piece[end - 1] in _COLONS | _OPENING):
        end -= 1
    return piece[start:end]


def _edges(match: re.Match[str], notes: Notes) -> Edges | None:
    """The edges in a bracket, put in order and clipped; None where it is no box."""
    found = [_NUMBER.fullmatch(number) for number in _numbers(match[1])]
    numbers = [_value(number) for number in found if number is not None]
    if len(found) != 4 or len(numbers) != 4:
        notes.add(f"expected four whole numbers from 0 to {NORMALISED_SIDE} in a box", match[0])
        return None
    clipped = [min(max(number, 0), NORMALISED_SIDE) for number in numbers]
    if clipped != numbers:
        notes.add(f"edges beyond 0 to {NORMALISED_SIDE} were clipped", match[0])
    left, top, right, bottom = clipped
    if left > right or top > bottom:
        notes.add("corners in another order were put right", match[0])
    return min(left, right), min(top, bottom), max(left, right), max(top, bottom)


def _numbers(content: str) -> list[str]:
    """What stands between the commas or blanks in a bracket; empty places count."""
    return _BETWEEN_NUMBERS.split(content.strip())


def _value(number: re.Match[str]) -> int:
    sign, digits = number[1], number[2]
    value = int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS
    return -value if sign in ("-", "−") else value


def _check_rest(rest: str, first: bool, notes: Notes) -> None:
    """Say what stands behind the last box, or that there is none."""
    if first:
        notes.add("no box was found in the answer", rest)
        return
    for piece in _SEPARATOR.split(rest)[::2]:
        name = "".join(character for character in piece if character not in _ENDS)
        if not name.strip():
            continue
        opening = max(piece.rfind(mark) for mark in _OPENING)
        if opening >= 0 and _NUMERIC.fullmatch(piece[opening + 1 :]):
            notes.add("the answer ends within a box", piece.strip())
        else:
            notes.add("text without a box was left out", piece.strip())


def _before_colon(text: str, position: int) -> bool:
    position = _skip_blanks(text, position)
    return position < len(text) and text[position] in _COLONS


def _skip_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position
