"""What all readers of annotation files share: settings, records whose faults are named, images, chance."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from vary.datagen.provenance import file_records, settings_record
from vary.datagen.readers.pictures import ImageFolder, Picture
from vary.datagen.readers.problems import Check
from vary.datagen.readers.records import RecordFile
from vary.datagen.sample import Draw, Record
from vary.errors import InputError

__all__ = ["Reader", "ReaderConfig", "RecordReader", "asked_language", "images_of"]

_FILES = ("file", "classes", "instances")
_PLACES = (*_FILES, "image_folder")
"""Fields that say where files lie, and not what is in them."""


@dataclass(frozen=True, kw_only=True)
class ReaderConfig:
    """What is said of every annotation file.

    Attributes:
        file: the annotations.
        licence: of texts and images, as it is recorded with each sample.
        split: recorded; a file of annotations is one split.
        seed: of what is drawn, such as wordings.
    """

    file: str
    licence: str = "see the data set"
    split: str = "train"
    seed: int = 0


Config = TypeVar("Config", bound=ReaderConfig)


class Reader(Generic[Config]):
    """Index in, the samples of a record or an image of an annotation file out."""

    name: str

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def length(self) -> int:
        """How many indices there are."""
        raise NotImplementedError

    def draw(self, index: int) -> Draw:
        """The samples of an index, from 0.  Raises `RecordFault` where it is broken."""
        raise NotImplementedError

    def describe(self) -> Record:
        """The files with their hashes, the settings, and what else is known of the whole."""
        return {
            "format": self.name,
            "files": self._files,
            "records": self.length,
            **self._counts(),
            "settings": settings_record(self.config, leave_out=_PLACES),
            "split": self.config.split,
            "seed": self.config.seed,
        }

    def _counts(self) -> Record:
        return {}

    @cached_property
    def _files(self) -> list[dict[str, str]]:
        return file_records([path for name in _FILES if (path := getattr(self.config, name, None))])

    def _rng(self, index: int) -> np.random.Generator:
        """The random numbers of one index, whatever process asks for them."""
        return np.random.default_rng([self.config.seed, zlib.crc32(self.config.split.encode()), index])


class RecordReader(Reader[Config]):
    """A reader of a JSON file's records; making one reads the file once to find them.

    Attributes:
        key: the array that holds the records; empty for the file's own.
        records: the file.
        images: where its images are; an image is read when its record is drawn.
    """

    key: ClassVar[str] = ""
    images: ImageFolder

    def __init__(self, config: Config) -> None:
        """Raises `DataError` if the file cannot be read or has no records."""
        super().__init__(config)
        self.records = RecordFile.open(config.file, self.key)

    @property
    def length(self) -> int:
        """How many records there are."""
        return len(self.records)

    def source_of(self, index: int) -> str:
        """`file#record`, as samples name their source."""
        return f"{self.records.path.name}#{index}"

    def _sound(self, number: int, check: Check) -> dict[str, Any]:
        """A record that has no problem.  Raises `RecordFault` with the first that it has."""
        record: dict[str, Any] = self.records.read(number)
        for problem in check(record):
            raise self.records.fault(number, problem.path, problem.reason)
        return record

    def _picture(self, number: int, path: str, name: str) -> Picture:
        """The image that a record names at `path`.  Raises `RecordFault` where it is missing or broken."""
        try:
            return self.images.open(name)
        except InputError as error:
            raise self.records.fault(number, path, str(error)) from error


def images_of(folder: str | None, file: str) -> ImageFolder:
    """The images of a folder, or of the one that `file` lies in."""
    return ImageFolder(Path(folder or Path(file).parent))


def asked_language(language: str) -> str:
    """The language to ask in about something in `language`."""
    return language if language in ("en", "zh", "mixed") else "en"
