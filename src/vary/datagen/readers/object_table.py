"""Images and their annotated objects as columns: what COCO's files and their like say, without polygons.

A row costs tens of bytes, so that files of some ten million boxes fit into memory.  Boxes are left, top,
right, bottom, in px of the image, or as shares of its sides where `normalised`.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vary.datagen.readers.problems import (
    Check,
    Problem,
    found_in,
    id_problems,
    is_id,
    of_object,
    text_problems,
)
from vary.datagen.readers.records import RecordFault, Span, iterate_records
from vary.errors import DataError

__all__ = ["ObjectTable", "TableBuilder", "load_coco"]

_KEYS = ("images", "annotations", "categories")
_MOST_FAULTS = 1000
"""So many faults that no image can tell of are kept; the others are counted."""


@dataclass(frozen=True)
class ObjectTable:
    """Images, in the order of their file, and the boxes of each, in the order of theirs.

    Attributes:
        path: the file that names the images, or the boxes where nothing names images.
        names: of the images.
        lines: of the images in the file.
        sizes: (N, 2), width and height as the file says, 0 where it does not.
        starts: (N + 1,); image i has the boxes `starts[i]` to `starts[i + 1]`.
        boxes: (M, 4).
        classes: (M,), keys of `class_names`, or -1.
        groups: (M,), whether a box is a crowd, a group, and no single object.
        numbers, box_lines: (M,), where each box stands in its file.
        ids: (M,), the ids of the annotations, or -1.
        class_names: by number.
        faults: by image, what is wrong with its annotations.
        lost: faults of annotations that belong to no image, and of broken images; the first thousand.
        counts: what else was seen.
    """

    path: Path
    names: list[str] = field(repr=False)
    lines: NDArray[np.int64] = field(repr=False)
    sizes: NDArray[np.float64] = field(repr=False)
    starts: NDArray[np.int64] = field(repr=False)
    boxes: NDArray[np.float64] = field(repr=False)
    classes: NDArray[np.int64] = field(repr=False)
    groups: NDArray[np.bool_] = field(repr=False)
    numbers: NDArray[np.int64] = field(repr=False)
    box_lines: NDArray[np.int64] = field(repr=False)
    ids: NDArray[np.int64] = field(repr=False)
    class_names: Mapping[int, str] = field(repr=False)
    faults: Mapping[int, list[RecordFault]] = field(repr=False)
    lost: tuple[RecordFault, ...] = field(repr=False)
    counts: Counter[str]
    normalised: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, image: int) -> range:
        """The rows of an image's boxes."""
        return range(int(self.starts[image]), int(self.starts[image + 1]))

    def row_of_id(self, annotation: int) -> int | None:
        """The row of the annotation with this id."""
        order = self._by_id
        place = int(np.searchsorted(self.ids, annotation, sorter=order))
        if place == len(order) or self.ids[order[place]] != annotation:
            return None
        return int(order[place])

    def image_of_row(self, row: int) -> int:
        """The image that a box belongs to."""
        return int(np.searchsorted(self.starts, row, side="right")) - 1

    @property
    def _by_id(self) -> NDArray[np.int64]:
        order: NDArray[np.int64] | None = self.__dict__.get("_order")
        if order is None:
            order = np.argsort(self.ids, kind="stable")
            self.__dict__["_order"] = order
        return order

    def image_fault(self, image: int, reason: str, path: str = "$") -> RecordFault:
        """A fault of an image, to be raised."""
        return RecordFault(self.path.name, image, int(self.lines[image]), path, reason)

    def box_fault(self, row: int, reason: str, path: str = "$.bbox") -> RecordFault:
        """A fault of a box, to be raised."""
        return RecordFault(self.path.name, int(self.numbers[row]), int(self.box_lines[row]), path, reason)


class TableBuilder:
    """Takes images and boxes in any order, and joins them at the end."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.counts: Counter[str] = Counter()
        self.names: list[str] = []
        self.lost: list[RecordFault] = []
        self.class_names: dict[int, str] = {}
        self._image_keys, self._lines = array("q"), array("q")
        self._sizes, self._boxes = array("d"), array("d")
        self._of, self._classes, self._ids = array("q"), array("q"), array("q")
        self._numbers, self._box_lines, self._groups = array("q"), array("q"), array("b")
        self._faults: list[tuple[int, RecordFault]] = []

    def add_image(self, key: int, name: str, line: int, width: float = 0, height: float = 0) -> None:
        """An image under the key that its boxes have."""
        self._image_keys.append(key)
        self.names.append(name)
        self._lines.append(line)
        self._sizes.extend((width, height))

    def add_box(
        self,
        key: int,
        edges: tuple[float, float, float, float],
        class_number: int,
        *,
        group: bool = False,
        number: int = -1,
        line: int = 0,
        id: int = -1,
    ) -> None:
        """A box of the image with that key."""
        self._of.append(key)
        self._boxes.extend(edges)
        for column, value in (
            (self._classes, class_number),
            (self._ids, id),
            (self._numbers, number),
            (self._box_lines, line),
            (self._groups, int(group)),
        ):
            column.append(value)

    def add_fault(self, key: int | None, fault: RecordFault) -> None:
        """What is wrong with an annotation, of the image with that key, or of none."""
        if key is None:
            self.counts["broken records without an image"] += 1
            if len(self.lost) < _MOST_FAULTS:
                self.lost.append(fault)
        else:
            self._faults.append((key, fault))

    def table(self, *, normalised: bool = False) -> ObjectTable:
        """Everything joined.  Raises `DataError` without an image, or with two of the same id."""
        keys = np.array(self._image_keys, dtype=np.int64)
        if not len(keys):
            raise DataError(f"{self.path}: no images; check the format that was named for this file")
        order = np.argsort(keys, kind="stable")
        twice = np.flatnonzero(np.diff(keys[order]) == 0)
        if len(twice):
            raise DataError(
                f"{self.path}: two images have the id {int(keys[order][twice[0]])}; mend the file"
            )
        of = np.array(self._of, dtype=np.int64)
        places = np.minimum(np.searchsorted(keys, of, sorter=order), len(keys) - 1)
        image = order[places]
        known = keys[image] == of
        for row in np.flatnonzero(~known):
            reason = f"no image has the id {int(of[row])}"
            self.add_fault(
                None,
                RecordFault(self.path.name, self._numbers[row], self._box_lines[row], "$.image_id", reason),
            )
        rows = np.flatnonzero(known)
        rows = rows[np.argsort(image[rows], kind="stable")]
        faults: dict[int, list[RecordFault]] = {}
        index_of = {int(key): number for number, key in enumerate(keys)} if self._faults else {}
        for key, fault in self._faults:
            if key in index_of:
                faults.setdefault(index_of[key], []).append(fault)
            else:
                self.add_fault(None, fault)
        return ObjectTable(
            path=self.path,
            names=self.names,
            lines=np.array(self._lines, dtype=np.int64),
            sizes=np.array(self._sizes, dtype=np.float64).reshape(-1, 2),
            starts=np.searchsorted(image[rows], np.arange(len(keys) + 1)).astype(np.int64),
            boxes=np.array(self._boxes, dtype=np.float64).reshape(-1, 4)[rows],
            classes=np.array(self._classes, dtype=np.int64)[rows],
            groups=np.array(self._groups, dtype=bool)[rows],
            numbers=np.array(self._numbers, dtype=np.int64)[rows],
            box_lines=np.array(self._box_lines, dtype=np.int64)[rows],
            ids=np.array(self._ids, dtype=np.int64)[rows],
            class_names=self.class_names,
            faults=faults,
            lost=tuple(self.lost),
            counts=self.counts,
            normalised=normalised,
        )


def load_coco(path: str | Path) -> ObjectTable:
    """The table of a COCO instances file, or one of its shape (Objects365); polygons are not kept.

    Raises:
        DataError: if the file is no JSON object with `images`, `annotations` and `categories`.
    """
    builder = TableBuilder(path)
    seen: Counter[str] = Counter()
    for span, value in iterate_records(path, _KEYS):
        seen[span.key] += 1
        if span.key == "":
            raise DataError(f"{path}: an array of records, expected an object with {', '.join(_KEYS)}")
        problem = value if isinstance(value, RecordFault) else _add(builder, span, value)
        if isinstance(problem, Problem):
            problem = RecordFault(Path(path).name, span.number, span.line, problem.path, problem.reason)
        if problem is not None:
            key = value.get("image_id") if isinstance(value, dict) and span.key == "annotations" else None
            builder.add_fault(key if is_id(key) else None, problem)
    missing = [key for key in _KEYS if not seen[key]]
    if missing:
        raise DataError(f"{path}: no {' and no '.join(missing)}; expected COCO's {', '.join(_KEYS)}")
    return builder.table()


def _add(builder: TableBuilder, span: Span, value: Any) -> Problem | None:
    """Take a record of one of the three arrays; what is wrong with it."""
    for problem in _CHECKS[span.key](value):
        return problem
    if span.key == "categories":
        builder.class_names[value["id"]] = value["name"].strip()
    elif span.key == "images":
        sides = (value.get(side) or 0 for side in ("width", "height"))
        builder.add_image(value["id"], value["file_name"], span.line, *sides)
    else:
        left, top, width, height = map(float, value["bbox"])
        builder.add_box(
            value["image_id"],
            (left, top, left + width, top + height),
            value["category_id"],
            group=bool(value.get("iscrowd")),
            number=span.number,
            line=span.line,
            id=value["id"] if is_id(value.get("id")) else -1,
        )
    return None


@of_object
def _category_problems(record: dict[str, Any]) -> Iterator[Problem]:
    yield from id_problems(record, "id")
    yield from text_problems(record, "name")


@of_object
def _image_problems(record: dict[str, Any]) -> Iterator[Problem]:
    yield from id_problems(record, "id")
    yield from text_problems(record, "file_name")
    sides = [record.get(side) or 0 for side in ("width", "height")]
    if not all(_is_number(side) and side >= 0 for side in sides):
        yield Problem("$.width", f"expected numbers of pixels, found {sides}")


@of_object
def _annotation_problems(record: dict[str, Any]) -> Iterator[Problem]:
    yield from id_problems(record, "image_id", "category_id")
    box = record.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        yield Problem("$.bbox", f"expected [left, top, width, height], found {found_in(record, 'bbox')}")
    elif min(box[2:]) < 0:
        yield Problem("$.bbox", f"a width or height below 0: {box}")


_CHECKS: Mapping[str, Check] = {
    "categories": _category_problems,
    "images": _image_problems,
    "annotations": _annotation_problems,
}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
