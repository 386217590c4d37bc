"""COCO, Objects365 and OpenImages as samples: an image, and its objects with their boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vary.datagen.box_answers import box_answer, detection_prompt
from vary.datagen.readers.base import Reader, ReaderConfig
from vary.datagen.readers.object_table import ObjectTable, load_coco
from vary.datagen.readers.openimages import load_openimages
from vary.datagen.readers.pictures import ImageFolder, Picture
from vary.datagen.sample import Box, Draw, Record, Sample
from vary.errors import DataError, InputError

__all__ = [
    "CocoReader",
    "DetectionConfig",
    "OpenImagesConfig",
    "OpenImagesReader",
    "boxes_on",
    "outside",
    "picture_of",
]

_OUTSIDE = 1.0
"""px by which a box may lie outside of its image: annotation tools round."""


@dataclass(frozen=True, kw_only=True)
class DetectionConfig(ReaderConfig):
    """What is read of annotated objects, COCO's or Objects365's JSON.

    Attributes:
        image_folder: the images' names are relative to it.
        languages: what to ask in, one drawn for each image; the classes keep their names.
    """

    image_folder: str
    languages: tuple[str, ...] = ("en",)


Config = TypeVar("Config", bound=DetectionConfig)


@dataclass(frozen=True, kw_only=True)
class OpenImagesConfig(DetectionConfig):
    """What is read of OpenImages, whose `file` is a CSV of boxes.

    Attributes:
        classes: the CSV that gives the codes of classes names, `class-descriptions-boxable.csv`.
    """

    classes: str


class _DetectionReader(Reader[Config]):
    """Index in, one image with its objects out."""

    def __init__(self, config: Config) -> None:
        """Raises `DataError` if the annotations cannot be read."""
        if not config.languages or set(config.languages) - {"en", "zh"}:
            raise DataError(f"languages {config.languages}: expected some of en, zh")
        super().__init__(config)
        self.table = self._load()
        self.images = ImageFolder(Path(config.image_folder))

    def _load(self) -> ObjectTable:
        raise NotImplementedError

    @property
    def length(self) -> int:
        """How many images there are."""
        return len(self.table)

    def source_of(self, index: int) -> str:
        """`file#image`, as samples name their source."""
        return f"{self.table.path.name}#{self.table.names[index]}"

    def draw(self, index: int) -> Draw:
        """The objects of image `index`, from 0, in the order of the file.

        Crowds and boxes without area are left out and counted; an image without any box gives no sample.

        Raises:
            RecordFault: if the image is missing or broken, an annotation of it is, its class has no name or
                its box lies outside of the image.
        """
        table = self.table
        for fault in table.faults.get(index, ()):
            raise fault
        dropped: Counter[str] = Counter()
        rows = [row for row in table.rows(index) if not _left_out(table, row, dropped)]
        if not rows:
            dropped["images without boxes"] += 1
            return Draw((), dropped=dropped)
        picture = picture_of(table, index, self.images)
        boxes = boxes_on(table, index, rows, picture)
        rng = self._rng(index)
        language = self.config.languages[int(rng.integers(len(self.config.languages)))]
        try:
            prompt, told = detection_prompt(boxes, language, rng)
            answer = box_answer(told, picture.width, picture.height)
        except DataError as error:
            raise table.image_fault(index, str(error)) from error
        sample = Sample(
            image=picture.pixels,
            task="detect",
            prompt=prompt,
            answer=answer,
            source=self.source_of(index),
            licence=self.config.licence,
            language=language,
            boxes=tuple(boxes),
            details={"image": table.names[index], "told_boxes": len(told)},
        )
        return Draw((sample,), Counter(told_boxes=len(told)), dropped)

    def _counts(self) -> Record:
        """What the file has, and what belongs to no image."""
        return {
            "classes": len(self.table.class_names),
            "left_out": [str(fault) for fault in self.table.lost],
            "counts_of_file": dict(self.table.counts),
        }


class CocoReader(_DetectionReader[DetectionConfig]):
    """COCO instances and Objects365: one JSON object of images, annotations and categories."""

    name = "coco"

    def _load(self) -> ObjectTable:
        return load_coco(self.config.file)


class OpenImagesReader(_DetectionReader[OpenImagesConfig]):
    """OpenImages: a CSV of normalised boxes, and a CSV that gives its classes names."""

    name = "openimages"

    def _load(self) -> ObjectTable:
        return load_openimages(self.config.file, self.config.classes)


def _left_out(table: ObjectTable, row: int, dropped: Counter[str]) -> bool:
    left, top, right, bottom = table.boxes[row]
    if table.groups[row]:
        dropped["boxes of crowds or groups"] += 1
        return True
    if right <= left or bottom <= top:
        dropped["boxes without area"] += 1
        return True
    return False


def outside(edges: Sequence[float], width: float, height: float) -> bool:
    """Whether a box (left, top, right, bottom) lies outside of its image by more than a pixel."""
    left, top, right, bottom = edges
    return min(left, top) < -_OUTSIDE or right > width + _OUTSIDE or bottom > height + _OUTSIDE


def picture_of(table: ObjectTable, index: int, images: ImageFolder) -> Picture:
    """An image of a table.  Raises `RecordFault` where it is missing or broken."""
    try:
        return images.open(table.names[index])
    except InputError as error:
        raise table.image_fault(index, str(error), "$.file_name") from error


def boxes_on(table: ObjectTable, index: int, rows: list[int], picture: Picture) -> list[Box]:
    """Boxes of an image in px of the picture as it was read: upright, and of its own size.

    Raises:
        RecordFault: if a class has no name, the picture has another size than the file says, or a box lies
            outside of it by more than a pixel.
    """
    said = tuple(table.sizes[index].tolist())
    size = (picture.width, picture.height)
    stored = size[::-1] if picture.rotation in (90, 270) else size
    turned = (picture.rotation or picture.mirrored) and said == stored and said != size
    if table.normalised:
        width, height = size
    elif all(said) and said not in (size, stored):
        reason = f"the image has {size[0]} x {size[1]} px, the file says {said[0]:g} x {said[1]:g}"
        raise table.image_fault(index, f"{reason}; its boxes would not be true", "$.width")
    else:
        width, height = stored if turned else size
    boxes = []
    for row in rows:
        label = table.class_names.get(int(table.classes[row]))
        if label is None:
            raise table.box_fault(row, f"no class has the id {int(table.classes[row])}", "$.category_id")
        left, top, right, bottom = table.boxes[row].tolist()
        if table.normalised:
            left, top, right, bottom = left * width, top * height, right * width, bottom * height
        if outside((left, top, right, bottom), width, height):
            place = ", ".join(f"{edge:g}" for edge in (left, top, right, bottom))
            raise table.box_fault(row, f"the box {place} lies outside of its image of {width} x {height} px")
        box = Box(label, max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
        boxes.append(picture.moved(box, width, height) if turned else box)
    return boxes
