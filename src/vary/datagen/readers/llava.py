"""LLaVA JSON as samples: conversations about an image, or text alone; also captions that are stored so."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from vary.datagen.prompts import draw_prompt
from vary.datagen.readers.base import ReaderConfig, RecordReader, asked_language, images_of
from vary.datagen.readers.conversations import Conversation, conversation_of, conversation_problems
from vary.datagen.sample import Draw, Sample
from vary.datagen.scripts import language_of

__all__ = ["LlavaConfig", "LlavaReader"]


@dataclass(frozen=True, kw_only=True)
class LlavaConfig(ReaderConfig):
    """What is read of a LLaVA file, a JSON array or JSON lines of records with `image` and `conversations`.

    Attributes:
        image_folder: the images' names are relative to it; None: to the folder of `file`.
        languages: of `en`, `zh`, `mixed` and `other`, what to keep; None keeps all.  By script, so `en` is
            everything in Latin letters.
        captions: take each record's first answer as the image's caption and ask for it in our own wordings:
            files of captions have them as a conversation.
    """

    image_folder: str | None = None
    languages: tuple[str, ...] | None = None
    captions: bool = False


class LlavaReader(RecordReader[LlavaConfig]):
    """The records of a LLaVA file: index in, one sample out."""

    name = "llava"

    def __init__(self, config: LlavaConfig) -> None:
        """Raises `DataError` if the file cannot be read or is no JSON."""
        super().__init__(config)
        self.images = images_of(config.image_folder, config.file)

    def size_of(self, index: int) -> int:
        """The bytes of a record: about how long its text is, without reading it."""
        return int(self.records.ends[index] - self.records.starts[index])

    def conversation(self, index: int) -> Conversation:
        """A record's texts, without its image.  Raises `RecordFault` with the first problem it has."""
        return conversation_of(self._sound(index, conversation_problems))

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
        image = None if talk.image is None else self._picture(index, "$.image", talk.image)
        (prompt, answer), *later = talk.rounds
        details: dict[str, Any] = {} if talk.image is None else {"image": talk.image}
        if talk.image_place:
            details["image_place"] = talk.image_place
        if self.config.captions:
            language = language_of(answer)
            prompt = draw_prompt("caption", asked_language(language), self._rng(index))
            answer, later = answer.strip(), []
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
