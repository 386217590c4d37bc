"""LLaVA JSON as samples: conversations about an image, or text alone; also captions that are stored so."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vary.datagen.prompts import draw_prompt
from vary.datagen.provenance import file_records, settings_record
from vary.datagen.readers.base import UNKNOWN_LICENCE, asked_language, open_picture, rng_of
from vary.datagen.readers.conversations import Conversation, conversation_of, conversation_problems
from vary.datagen.readers.pictures import ImageFolder
from vary.datagen.readers.records import RecordFile
from vary.datagen.sample import Draw, Record, Sample
from vary.datagen.scripts import language_of
from vary.errors import DataError

__all__ = ["LlavaConfig", "LlavaReader"]


@dataclass(frozen=True, kw_only=True)
class LlavaConfig:
    """What is read of a LLaVA file.

    Attributes:
        file: JSON array or JSON lines of records with `image` and `conversations`.
        image_folder: the images' names are relative to it; None: to the folder of `file`.
        languages: of `en`, `zh`, `mixed` and `other`, what to keep; None keeps all.  By script, so `en` is
            everything in Latin letters.
        licence: of texts and images, as it is recorded with each sample.
        captions: take each record's first answer as the image's caption and ask for it in our own wordings:
            files of captions have them as a conversation.
        split: recorded; a file of annotations is one split.
        seed: of the wordings.
    """

    file: str
    image_folder: str | None = None
    languages: tuple[str, ...] | None = None
    licence: str = UNKNOWN_LICENCE
    captions: bool = False
    split: str = "train"
    seed: int = 0


class LlavaReader:
    """The records of a LLaVA file: index in, one sample out.

    Making one reads the file once to find its records; an image is read when its record is drawn.
    """

    name = "llava"

    def __init__(self, config: LlavaConfig) -> None:
        """Raises `DataError` if the file cannot be read or is no JSON."""
        self.config = config
        self.records = RecordFile.open(config.file)
        self.images = ImageFolder(Path(config.image_folder or Path(config.file).parent))

    @property
    def length(self) -> int:
        """How many records there are."""
        return len(self.records)

    def source_of(self, index: int) -> str:
        """`file#record`, as samples name their source."""
        return f"{self.records.path.name}#{index}"

    def size_of(self, index: int) -> int:
        """The bytes of a record: about how long its text is, without reading it."""
        return int(self.records.ends[index] - self.records.starts[index])

    def conversation(self, index: int) -> Conversation:
        """A record's texts, without its image.  Raises `RecordFault` with the first problem it has."""
        record: Any = self.records.read(index)
        for problem in conversation_problems(record):
            raise self.records.fault(index, problem.path, problem.reason)
        return conversation_of(record)

    def draw(self, index: int) -> Draw:
        """The sample of record `index`, from 0.

        Raises:
            RecordFault: (a `DataError`) if the record or its image is missing or broken; it names file, line,
                record and place.
        """
        talk = self.conversation(index)
        text = "\n".join(part for turn in talk.rounds for part in turn)
        language = language_of(text)
        if self.config.languages is not None and language not in self.config.languages:
            return Draw((), dropped=Counter({f"language {language}": 1}))
        if self.config.captions and talk.image is None:
            raise self.records.fault(index, "$.image", "a caption without an image")
        image = (
            None
            if talk.image is None
            else open_picture(self.records, index, "$.image", self.images, talk.image)
        )
        (prompt, answer), *later = talk.rounds
        details: dict[str, Any] = {} if talk.image is None else {"image": talk.image}
        if talk.image_place:
            details["image_place"] = talk.image_place
        if self.config.captions:
            language = language_of(answer)
            rng = rng_of(self.config.seed, self.config.split, index)
            prompt, answer, later = draw_prompt("caption", asked_language(language), rng), answer.strip(), []
        sample = Sample(
            image=None if image is None else image.pixels,
            task="caption" if self.config.captions else "chat",
            prompt=prompt,
            answer=answer,
            source=self.source_of(index),
            licence=self.config.licence,
            language=language,
            later=tuple(later),
            system=None if self.config.captions else talk.system,
            details=details,
        )
        return Draw((sample,))

    @cached_property
    def _files(self) -> list[dict[str, str]]:
        return file_records([self.config.file])

    def describe(self) -> Record:
        """The file with its hash, and the settings."""
        if not self.length:
            raise DataError(f"{self.config.file}: no records")
        return {
            "format": "llava",
            "files": self._files,
            "records": self.length,
            "settings": settings_record(self.config, leave_out=("file", "image_folder")),
            "split": self.config.split,
            "seed": self.config.seed,
        }
