"""DocVQA and ChartQA as samples: a question about an image and its short answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vary.datagen.prompts import draw_prompt
from vary.datagen.provenance import file_records, settings_record
from vary.datagen.readers.base import UNKNOWN_LICENCE, asked_language, open_picture, rng_of
from vary.datagen.readers.conversations import Problem, kind_of
from vary.datagen.readers.pictures import ImageFolder
from vary.datagen.readers.records import RecordFile
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
class QuestionConfig:
    """What is read of a file of questions.

    Attributes:
        file: DocVQA: an object with the array `data`; ChartQA: an array, `train_human.json` or
            `train_augmented.json`.
        image_folder: the images' names are relative to it; None: to the folder of `file`, or, of ChartQA, to
            `png` in it.
        licence: of questions and images.
        split: recorded.
        seed: of the wordings.
    """

    file: str
    image_folder: str | None = None
    licence: str = UNKNOWN_LICENCE
    split: str = "train"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Question:
    question: str
    answers: tuple[str, ...]
    image: str
    details: Record


class _QuestionReader:
    """Index in, one question out."""

    name: str
    key = ""
    """The array that holds the records."""
    image_path: str
    """Where a record names its image."""

    def __init__(self, config: QuestionConfig) -> None:
        """Raises `DataError` if the file cannot be read or has no records."""
        self.config = config
        self.records = RecordFile.open(config.file, self.key)
        self.images = ImageFolder(self._folder())

    def _folder(self) -> Path:
        return Path(self.config.image_folder or Path(self.config.file).parent)

    @property
    def length(self) -> int:
        """How many questions there are."""
        return len(self.records)

    def source_of(self, index: int) -> str:
        """`file#record`, as samples name their source."""
        return f"{self.records.path.name}#{index}"

    def _question(self, index: int) -> _Question:
        raise NotImplementedError

    def draw(self, index: int) -> Draw:
        """The question of record `index`, from 0; the answer is the first of those that count as right.

        Raises:
            RecordFault: if the record or its image is missing or broken.
        """
        asked = self._question(index)
        picture = open_picture(self.records, index, self.image_path, self.images, asked.image)
        language = language_of(asked.question)
        rng = rng_of(self.config.seed, self.config.split, index)
        sample = Sample(
            image=picture.pixels,
            task="ask",
            prompt=draw_prompt("ask", asked_language(language), rng, asked.question),
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

    @cached_property
    def _files(self) -> list[dict[str, str]]:
        return file_records([self.config.file])

    def describe(self) -> Record:
        """The file with its hash, and the settings."""
        return {
            "format": self.name,
            "files": self._files,
            "records": self.length,
            "settings": settings_record(self.config, leave_out=("file", "image_folder")),
            "split": self.config.split,
            "seed": self.config.seed,
        }


class DocvqaReader(_QuestionReader):
    """DocVQA: `{"data": [{"question": ..., "image": "documents/a.png", "answers": [...]}, ...]}`."""

    name = "docvqa"
    key = "data"
    image_path = "$.image"

    def _question(self, index: int) -> _Question:
        record = self.records.read(index)
        for problem in docvqa_problems(record):
            raise self.records.fault(index, problem.path, problem.reason)
        details = {name: record[name] for name in ("questionId", "docId") if _plain(record.get(name))}
        answers = tuple(answer.strip() for answer in record["answers"])
        return _Question(record["question"].strip(), answers, record["image"], details)


class ChartqaReader(_QuestionReader):
    """ChartQA: `[{"imgname": "a.png", "query": ..., "label": ...}, ...]`, asked by people or made up."""

    name = "chartqa"
    image_path = "$.imgname"

    def _folder(self) -> Path:
        beside = Path(self.config.file).parent
        if self.config.image_folder is None and (beside / "png").is_dir():
            return beside / "png"
        return super()._folder()

    def _question(self, index: int) -> _Question:
        record = self.records.read(index)
        for problem in chartqa_problems(record):
            raise self.records.fault(index, problem.path, problem.reason)
        return _Question(record["query"].strip(), (_label(record["label"]),), record["imgname"], {})


def docvqa_problems(record: Any) -> Iterator[Problem]:
    """Everything that is wrong with a DocVQA record."""
    if not isinstance(record, dict):
        yield Problem("$", f"expected an object, found {kind_of(record)}")
        return
    yield from text_problems(record, ("question", "image"))
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


def chartqa_problems(record: Any) -> Iterator[Problem]:
    """Everything that is wrong with a ChartQA record."""
    if not isinstance(record, dict):
        yield Problem("$", f"expected an object, found {kind_of(record)}")
        return
    yield from text_problems(record, ("imgname", "query"))
    label = record.get("label")
    if isinstance(label, int | float) and not isinstance(label, bool):
        return
    yield from text_problems(record, ("label",))


def text_problems(record: dict[str, Any], names: tuple[str, ...], prefix: str = "$") -> Iterator[Problem]:
    """A problem for each of these fields that is no text, or an empty one."""
    for name in names:
        value = record.get(name)
        if not isinstance(value, str) or not value.strip():
            found = (
                "nothing"
                if name not in record
                else "an empty one"
                if isinstance(value, str)
                else kind_of(value)
            )
            yield Problem(f"{prefix}.{name}", f"expected a text, found {found}")


def _label(label: str | float) -> str:
    return label.strip() if isinstance(label, str) else f"{label}"


def _plain(value: object) -> bool:
    return isinstance(value, str | int)
