"""COCO captions as samples: an image and a sentence about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vary.datagen.prompts import draw_prompt
from vary.datagen.provenance import file_records, settings_record
from vary.datagen.readers.base import UNKNOWN_LICENCE, asked_language, open_picture, rng_of
from vary.datagen.readers.conversations import Problem, kind_of
from vary.datagen.readers.pictures import ImageFolder
from vary.datagen.readers.questions import text_problems
from vary.datagen.readers.records import RecordFile, iterate_records
from vary.datagen.sample import Draw, Record, Sample
from vary.datagen.scripts import language_of
from vary.errors import DataError

__all__ = ["CaptionConfig", "CocoCaptionReader", "caption_image_problems", "caption_problems"]


@dataclass(frozen=True, kw_only=True)
class CaptionConfig:
    """What is read of a COCO captions file.

    Attributes:
        file: an object of `images` and `annotations`, which have `image_id` and `caption`.
        image_folder: the images' names are relative to it.
        every_caption: a sample for each caption of an image; else one of them, drawn.
        licence: of images and captions.
        split: recorded.
        seed: of the wordings, and of the caption that is drawn.
    """

    file: str
    image_folder: str
    every_caption: bool = False
    licence: str = UNKNOWN_LICENCE
    split: str = "train"
    seed: int = 0


class CocoCaptionReader:
    """Index in, the captions of one image out."""

    name = "coco-captions"

    def __init__(self, config: CaptionConfig) -> None:
        """Raises `DataError` if the file is no captions file."""
        self.config = config
        self.records = RecordFile.open(config.file, "images")
        self.captions = RecordFile.open(config.file, "annotations")
        self._image_ids, self._of = _ids(config.file)
        self._order = np.argsort(self._of, kind="stable")
        self.images = ImageFolder(Path(config.image_folder))

    @property
    def length(self) -> int:
        """How many images there are."""
        return len(self.records)

    def source_of(self, index: int) -> str:
        """`file#image record`, as samples name their source."""
        return f"{self.records.path.name}#{index}"

    def draw(self, index: int) -> Draw:
        """A caption of image `index`, from 0, or all of them.

        Raises:
            RecordFault: if the record, one of its captions or the image is missing or broken.
        """
        record = self.records.read(index)
        for problem in caption_image_problems(record):
            raise self.records.fault(index, problem.path, problem.reason)
        texts = self._texts(record["id"])
        if not texts:
            return Draw((), dropped=Counter({"images without captions": 1}))
        picture = open_picture(self.records, index, "$.file_name", self.images, record["file_name"])
        rng = rng_of(self.config.seed, self.config.split, index)
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

    @cached_property
    def _files(self) -> list[dict[str, str]]:
        return file_records([self.config.file])

    def describe(self) -> Record:
        """The file with its hash, the settings, and captions that belong to no image."""
        return {
            "format": self.name,
            "files": self._files,
            "records": self.length,
            "captions": len(self.captions),
            "captions_without_image": int(np.sum(~np.isin(self._of, self._image_ids))),
            "settings": settings_record(self.config, leave_out=("file", "image_folder")),
            "split": self.config.split,
            "seed": self.config.seed,
        }


def caption_image_problems(record: Any) -> Iterator[Problem]:
    """Everything that is wrong with a record of `images`."""
    if not isinstance(record, dict):
        yield Problem("$", f"expected an object, found {kind_of(record)}")
        return
    if not isinstance(record.get("id"), int):
        yield Problem("$.id", "expected a whole number")
    yield from text_problems(record, ("file_name",))


def caption_problems(record: Any) -> Iterator[Problem]:
    """Everything that is wrong with a record of `annotations`."""
    if not isinstance(record, dict):
        yield Problem("$", f"expected an object, found {kind_of(record)}")
        return
    if not isinstance(record.get("image_id"), int):
        yield Problem("$.image_id", "expected a whole number")
    yield from text_problems(record, ("caption",))


def _ids(path: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The images' ids, and for each caption that of its image; -1 where there is none."""
    found: dict[str, list[int]] = {"images": [], "annotations": []}
    for span, record in iterate_records(path, found):
        name = "id" if span.key == "images" else "image_id"
        if span.key not in found:
            raise DataError(f"{path}: an array of records, expected an object with images and annotations")
        value = record.get(name) if isinstance(record, dict) else None
        known = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
        found[span.key].append(int(value) if known and value is not None else -1)
    return np.array(found["images"], dtype=np.int64), np.array(found["annotations"], dtype=np.int64)
