"""COCO captions as samples: an image and a sentence about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vary.datagen.prompts import draw_prompt
from vary.datagen.readers.base import ReaderConfig, RecordReader, asked_language, images_of
from vary.datagen.readers.problems import Problem, id_problems, is_id, of_object, text_problems
from vary.datagen.readers.records import RecordFile, iterate_records
from vary.datagen.sample import Draw, Record, Sample
from vary.datagen.scripts import language_of
from vary.errors import DataError

__all__ = ["CaptionConfig", "CocoCaptionReader", "caption_image_problems", "caption_problems"]


@dataclass(frozen=True, kw_only=True)
class CaptionConfig(ReaderConfig):
    """What is read of a COCO captions file, an object of `images` and of `annotations` with `image_id` and
    `caption`.

    Attributes:
        image_folder: the images' names are relative to it.
        every_caption: a sample for each caption of an image; else one of them, drawn.
    """

    image_folder: str
    every_caption: bool = False


class CocoCaptionReader(RecordReader[CaptionConfig]):
    """Index in, the captions of one image out."""

    name = "coco-captions"
    key = "images"

    def __init__(self, config: CaptionConfig) -> None:
        """Raises `DataError` if the file is no captions file."""
        super().__init__(config)
        self.captions = RecordFile.open(config.file, "annotations")
        self._image_ids, self._of = _ids(config.file)
        self._order = np.argsort(self._of, kind="stable")
        self.images = images_of(config.image_folder, config.file)

    def draw(self, index: int) -> Draw:
        """A caption of image `index`, from 0, or all of them.

        Raises:
            RecordFault: if the record, one of its captions or the image is missing or broken.
        """
        record = self._sound(index, caption_image_problems)
        texts = self._texts(record["id"])
        if not texts:
            return Draw((), dropped=Counter({"images without captions": 1}))
        picture = self._picture(index, "$.file_name", record["file_name"])
        rng = self._rng(index)
        chosen = texts if self.config.every_caption else [texts[int(rng.integers(len(texts)))]]
        samples = []
        for text in chosen:
            language = language_of(text)
            samples.append(
                Sample(
                    image=picture.pixels,
                    task="caption",
                    prompt=draw_prompt("caption", asked_language(language), rng),
                    answer=text,
                    source=self.source_of(index),
                    licence=self.config.licence,
                    language=language,
                    details={"image": record["file_name"], "captions": texts},
                )
            )
        return Draw(tuple(samples), Counter(captions=len(texts)))

    def _texts(self, image_id: int) -> list[str]:
        first, last = (
            int(np.searchsorted(self._of, image_id, side=side, sorter=self._order))
            for side in ("left", "right")
        )
        texts = []
        for number in self._order[first:last].tolist():
            record = self.captions.read(number)
            for problem in caption_problems(record):
                raise self.captions.fault(number, problem.path, problem.reason)
            texts.append(" ".join(record["caption"].split()))
        return texts

    def _counts(self) -> Record:
        """Captions, and those that belong to no image."""
        strays = int(np.sum(~np.isin(self._of, self._image_ids)))
        return {"captions": len(self.captions), "captions_without_image": strays}


@of_object
def caption_image_problems(record: dict[str, Any]) -> Iterator[Problem]:
    """Everything that is wrong with a record of `images`."""
    yield from id_problems(record, "id")
    yield from text_problems(record, "file_name")


@of_object
def caption_problems(record: dict[str, Any]) -> Iterator[Problem]:
    """Everything that is wrong with a record of `annotations`."""
    yield from id_problems(record, "image_id")
    yield from text_problems(record, "caption")


def _ids(path: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The images' ids, and for each caption that of its image; -1 where there is none."""
    found: dict[str, list[int]] = {"images": [], "annotations": []}
    for span, record in iterate_records(path, found):
        name = "id" if span.key == "images" else "image_id"
        if span.key not in found:
            raise DataError(f"{path}: an array of records, expected an object with images and annotations")
        value = record.get(name) if isinstance(record, dict) else None
        found[span.key].append(value if is_id(value) else -1)
    return np.array(found["images"], dtype=np.int64), np.array(found["annotations"], dtype=np.int64)
