"""Every problem of an annotation file, with record, line and place, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vary.datagen.readers.captions import caption_image_problems, caption_problems
from vary.datagen.readers.conversations import conversation_problems
from vary.datagen.readers.dialogues import alpaca_problems, sharegpt_problems
from vary.datagen.readers.object_table import ObjectTable, load_coco
from vary.datagen.readers.objects import boxes_on, outside, picture_of
from vary.datagen.readers.openimages import load_openimages
from vary.datagen.readers.pictures import ImageFolder
from vary.datagen.readers.problems import Check, Problem
from vary.datagen.readers.questions import chartqa_problems, docvqa_problems
from vary.datagen.readers.records import RecordFault, iterate_records
from vary.datagen.readers.refcoco import refcoco_problems
from vary.errors import DataError, InputError

__all__ = ["FileCheck"]

_RECORD_CHECKS: Mapping[str, Mapping[str, Check]] = {
    "llava": {"": conversation_problems},
    "docvqa": {"data": docvqa_problems},
    "chartqa": {"": chartqa_problems},
    "sharegpt": {"": sharegpt_problems},
    "alpaca": {"": alpaca_problems},
    "refcoco": {"": refcoco_problems},
    "coco-captions": {"images": caption_image_problems, "annotations": caption_problems},
}
"""By format and array: what is wrong with a record."""
_IMAGE_FIELDS = {"llava": "image", "docvqa": "image", "chartqa": "imgname", "coco-captions": "file_name"}


@dataclass
class FileCheck:
    """The problems of one file, as an iterator that reads it; `records` and `broken` count as it goes.

    Attributes:
        path: the file.
        format: a name of `FORMATS`.
        image_folder: look up and read the images too; None: leave them alone.
        classes, instances: the second file of OpenImages (needed) and of RefCOCO (for the ids).
        records: how many records were seen.
        broken: how many of them have a problem.
    """

    path: Path
    format: str
    image_folder: Path | None = None
    classes: Path | None = None
    instances: Path | None = None
    records: int = field(default=0, init=False)
    broken: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[RecordFault]:
        """One fault after the other.  Raises `DataError` where the file cannot be read on."""
        if self.format in ("coco", "openimages"):
            yield from self._objects(self._table())
            return
        checks = _RECORD_CHECKS[self.format]
        known = load_coco(self.instances) if self.format == "refcoco" and self.instances else None
        images, references = set[int](), list[tuple[int, RecordFault]]()
        for span, record in iterate_records(self.path, [key for key in checks if key]):
            self.records += 1
            found = self._problems(record, checks.get(span.key) or next(iter(checks.values())), known)
            self.broken += bool(found)
            for problem in found:
                yield RecordFault(self.path.name, span.number, span.line, problem.path, problem.reason)
            if self.format == "coco-captions" and not found:
                if span.key == "images":
                    images.add(record["id"])
                else:
                    reason = f"no image has the id {record['image_id']}"
                    fault = RecordFault(self.path.name, span.number, span.line, "$.image_id", reason)
                    references.append((record["image_id"], fault))
        for image_id, fault in references:
            if image_id not in images:
                self.broken += 1
                yield fault
        if not self.records:
            raise DataError(f"{self.path}: no records")

    def _problems(self, record: Any, check: Check, known: ObjectTable | None) -> list[Problem]:
        if isinstance(record, RecordFault):
            return [Problem(record.path, record.reason)]
        return list(check(record)) or [*self._image_problems(record), *_unknown_ids(record, known)]

    def _image_problems(self, record: dict[str, Any]) -> Iterator[Problem]:
        name = _IMAGE_FIELDS.get(self.format)
        if self.image_folder is None or name is None or name not in record:
            return
        try:
            ImageFolder(self.image_folder).open(record[name])
        except InputError as error:
            yield Problem(f"$.{name}", str(error))

    def _table(self) -> ObjectTable:
        if self.format == "coco":
            return load_coco(self.path)
        if self.classes is None:
            raise DataError(
                f"{self.path}: OpenImages' classes are codes; name the file of their names (--classes)"
            )
        return load_openimages(self.path, self.classes)

    def _objects(self, table: ObjectTable) -> Iterator[RecordFault]:
        """Of annotations, images and, where they are looked at, boxes on the images as they are."""
        self.records = len(table) + len(table.boxes)
        for fault in table.lost:
            self.broken += 1
            yield fault
        more = table.counts["broken records without an image"] - len(table.lost)
        self.broken += max(more, 0)
        for image in range(len(table)):
            found = [*table.faults.get(image, ()), *self._box_faults(table, image)]
            if self.image_folder is not None and not found:
                found = list(self._picture_faults(table, image))
            self.broken += len(found)
            yield from found

    def _box_faults(self, table: ObjectTable, image: int) -> Iterator[RecordFault]:
        width, height = (1.0, 1.0) if table.normalised else table.sizes[image].tolist()
        for row in table.rows(image):
            if int(table.classes[row]) not in table.class_names:
                reason = f"no class has the id {int(table.classes[row])}"
                yield table.box_fault(row, reason, "$.category_id")
            elif not table.normalised and width and height and not table.groups[row]:
                edges = table.boxes[row].tolist()
                if outside(edges, width, height):
                    place = ", ".join(f"{edge:g}" for edge in edges)
                    reason = f"the box {place} lies outside of its image of {width:g} x {height:g} px"
                    yield table.box_fault(row, reason)

    def _picture_faults(self, table: ObjectTable, image: int) -> Iterator[RecordFault]:
        assert self.image_folder is not None
        try:
            picture = picture_of(table, image, ImageFolder(self.image_folder))
            boxes_on(table, image, [row for row in table.rows(image) if not table.groups[row]], picture)
        except RecordFault as fault:
            yield fault


def _unknown_ids(record: dict[str, Any], table: ObjectTable | None) -> Iterator[Problem]:
    if table is not None and table.row_of_id(record["ann_id"]) is None:
        yield Problem("$.ann_id", f"no annotation of {table.path.name} has the id {record['ann_id']}")
