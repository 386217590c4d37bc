"""DocVQA and ChartQA as samples: a question about an image and its short answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vary.datagen.prompts import draw_prompt
from vary.datagen.readers.base import ReaderConfig, RecordReader, asked_language, images_of
from vary.datagen.readers.pictures import ImageFolder
from vary.datagen.readers.problems import Problem, kind_of, of_object, text_problems
from vary.datagen.sample import Draw, Record, Sample
from vary.datagen.scripts import language_of

__all__ = [
    "ChartqaReader",
    "DocvqaReader",
    "QuestionConfig",
    "chartqa_problems",
    "docvqa_problems",
]


@dataclass(frozen=True, kw_only=True)
class QuestionConfig(ReaderConfig):
    """What is read of a file of questions.

    DocVQA's `file` is an object with the array `data`; ChartQA's an array, `train_human.json` or
    `train_augmented.json`.

    Attributes:
        image_folder: the images' names are relative to it; None: to the folder of `file`, or, of ChartQA, to
            `png` in it.
    """

    image_folder: str | None = None


@dataclass(frozen=True, slots=True)
class _Question:
    question: str
    answers: tuple[str, ...]
    image: str
    details: Record


class _QuestionReader(RecordReader[QuestionConfig]):
    """Index in, one question out."""

    image_path: str
    """Where a record names its image."""

    def __init__(self, config: QuestionConfig) -> None:
        """Raises `DataError` if the file cannot be read or has no records."""
        super().__init__(config)
        self.images = self._images()

    def _images(self) -> ImageFolder:
        return images_of(self.config.image_folder, self.config.file)

    def _question(self, index: int) -> _Question:
        raise NotImplementedError

    def draw(self, index: int) -> Draw:
        """The question of record `index`, from 0; the answer is the first of those that count as right.

        Raises:
            RecordFault: if the record or its image is missing or broken.
        """
        asked = self._question(index)
        picture = self._picture(index, self.image_path, asked.image)
        language = language_of(asked.question)
        sample = Sample(
            image=picture.pixels,
            task="ask",
            prompt=draw_prompt("ask", asked_language(language), self._rng(index), asked.question),
            answer=asked.answers[0],
            source=self.source_of(index),
            licence=self.config.licence,
            language=language,
            details={
                "question": asked.question,
                "answers": list(asked.answers),
                "image": asked.image,
                **asked.details,
            },
        )
        return Draw((sample,), counts=Counter(questions=1))


class DocvqaReader(_QuestionReader):
    """DocVQA: `{"data": [{"question": ..., "image": "documents/a.png", "answers": [...]}, ...]}`."""

    name = "docvqa"
    key = "data"
    image_path = "$.image"

    def _question(self, index: int) -> _Question:
        record = self._sound(index, docvqa_problems)
        details = {name: record[name] for name in ("questionId", "docId") if _plain(record.get(name))}
        answers = tuple(answer.strip() for answer in record["answers"])
        return _Question(record["question"].strip(), answers, record["image"], details)


class ChartqaReader(_QuestionReader):
    """ChartQA: `[{"imgname": "a.png", "query": ..., "label": ...}, ...]`, asked by people or made up."""

    name = "chartqa"
    image_path = "$.imgname"

    def _images(self) -> ImageFolder:
        beside = Path(self.config.file).parent / "png"
        if self.config.image_folder is None and beside.is_dir():
            return ImageFolder(beside)
        return super()._images()

    def _question(self, index: int) -> _Question:
        record = self._sound(index, chartqa_problems)
        return _Question(record["query"].strip(), (_label(record["label"]),), record["imgname"], {})


@of_object
def docvqa_problems(record: dict[str, Any]) -> Iterator[Problem]:
    """Everything that is wrong with a DocVQA record."""
    yield from text_problems(record, "question", "image")
    answers = record.get("answers")
    if answers is None:
        yield Problem("$.answers", "no answers; the files of test splits have none, and teach nothing")
    elif not isinstance(answers, list) or not answers:
        yield Problem(
            "$.answers", f"expected an array of texts, found {'none' if answers == [] else kind_of(answers)}"
        )
    else:
        for place, answer in enumerate(answers):
            if not isinstance(answer, str) or not answer.strip():
                found = "an empty one" if isinstance(answer, str) else kind_of(answer)
                yield Problem(f"$.answers[{place}]", f"expected a text, found {found}")


@of_object
def chartqa_problems(record: dict[str, Any]) -> Iterator[Problem]:
    """Everything that is wrong with a ChartQA record."""
    yield from text_problems(record, "imgname", "query")
    label = record.get("label")
    if not isinstance(label, int | float) or isinstance(label, bool):
        yield from text_problems(record, "label")


def _label(label: str | float) -> str:
    return label.strip() if isinstance(label, str) else f"{label}"


def _plain(value: object) -> bool:
    return isinstance(value, str | int)
