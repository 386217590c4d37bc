"""RefCOCO, RefCOCO+ and RefCOCOg as samples: an expression, and the box of the object that it means.

Their files of expressions, `refs(unc).p` and the like, are Python pickles, which can run any program while
they are read: they are refused, and the message says how to turn one that is trusted into JSON.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vary.datagen.box_answers import box_answer
from vary.datagen.prompts import draw_prompt
from vary.datagen.readers.base import ReaderConfig, RecordReader, asked_language
from vary.datagen.readers.object_table import ObjectTable, load_coco
from vary.datagen.readers.objects import boxes_on, picture_of
from vary.datagen.readers.pictures import ImageFolder
from vary.datagen.readers.problems import Problem, id_problems, kind_of, of_object
from vary.datagen.readers.records import RecordFault, iterate_records
from vary.datagen.sample import Box, Draw, Record, Sample
from vary.datagen.scripts import language_of
from vary.errors import DataError

__all__ = ["RefcocoConfig", "RefcocoReader", "refcoco_problems", "refuse_pickle"]

_MOST_EXPRESSIONS = 100
_CONVERSION = (
    'python -c "import json, pickle, sys; '
    "json.dump(pickle.load(open(sys.argv[1], 'rb')), open(sys.argv[2], 'w'))\" 'refs(unc).p' refs.json"
)


@dataclass(frozen=True, kw_only=True)
class RefcocoConfig(ReaderConfig):
    """What is read of RefCOCO: its expressions as JSON, an array of
    `{"ann_id": ..., "split": ..., "sentences": [{"sent": ...}, ...]}`.

    Only objects of `split` are taken (`train`, `val`, `testA`, `testB`, `test`).

    Attributes:
        instances: `instances.json` beside it, in COCO's format.
        image_folder: COCO's `train2014`.
    """

    instances: str
    image_folder: str


class RefcocoReader(RecordReader[RefcocoConfig]):
    """Index in, one object out: a sample for each of its expressions."""

    name = "refcoco"
    samples_per_index = 3
    """About as many expressions as an object has."""

    def __init__(self, config: RefcocoConfig) -> None:
        """Raises `DataError` if a file cannot be read, is a pickle, or has nothing of the split."""
        refuse_pickle(config.file)
        super().__init__(config)
        self.rows, self.splits = _rows_of_split(config.file, config.split)
        self.table: ObjectTable = load_coco(config.instances)
        self.images = ImageFolder(Path(config.image_folder))

    @property
    def length(self) -> int:
        """How many objects of the split there are."""
        return len(self.rows)

    def source_of(self, index: int) -> str:
        """`file#record`, as samples name their source."""
        return super().source_of(int(self.rows[index]))

    def draw(self, index: int) -> Draw:
        """The expressions of object `index` of the split, from 0, each with its box as the answer.

        Raises:
            RecordFault: if the record, its annotation or its image is missing or broken.
        """
        number = int(self.rows[index])
        record = self._sound(number, refcoco_problems)
        row = self.table.row_of_id(record["ann_id"])
        if row is None:
            reason = f"no annotation of {self.table.path.name} has the id {record['ann_id']}"
            raise self.records.fault(number, "$.ann_id", reason)
        image = self.table.image_of_row(row)
        picture = picture_of(self.table, image, self.images)
        [box] = boxes_on(self.table, image, [row], picture)
        rng = self._rng(number)
        samples = []
        for sentence in record["sentences"]:
            expression = " ".join((sentence.get("sent") or sentence["raw"]).split())
            language = language_of(expression)
            named = Box(_label(expression), box.left, box.top, box.right, box.bottom)
            try:
                answer = box_answer([named], picture.width, picture.height)
            except DataError as error:
                raise self.table.box_fault(row, str(error)) from error
            samples.append(
                Sample(
                    image=picture.pixels,
                    task="locate",
                    prompt=draw_prompt("locate", asked_language(language), rng, expression),
                    answer=answer,
                    source=self.source_of(index),
                    licence=self.config.licence,
                    language=language,
                    boxes=(Box(expression, box.left, box.top, box.right, box.bottom),),
                    details={
                        "expression": expression,
                        "class": box.label,
                        "image": self.table.names[image],
                    },
                )
            )
        return Draw(tuple(samples), Counter(objects=1))

    def _counts(self) -> Record:
        """How many objects each split has."""
        return {"records_by_split": dict(self.splits)}


def _label(expression: str) -> str:
    """The expression as the name of its box, which may hold no `;` and ends in no mark."""
    return re.sub(r"\s*[;；]\s*", ", ", expression).strip(" .。,，、:：;；[]［］【】")


@of_object
def refcoco_problems(record: dict[str, Any]) -> Iterator[Problem]:
    """Everything that is wrong with a record of expressions."""
    yield from id_problems(record, "ann_id")
    if not isinstance(record.get("split"), str):
        yield Problem("$.split", "expected train, val, testA, testB or test")
    sentences = record.get("sentences")
    if not isinstance(sentences, list) or not 0 < len(sentences) <= _MOST_EXPRESSIONS:
        found = f"{len(sentences)}" if isinstance(sentences, list) else kind_of(sentences)
        yield Problem("$.sentences", f"expected 1 to {_MOST_EXPRESSIONS} expressions, found {found}")
        return
    for place, sentence in enumerate(sentences):
        path = f"$.sentences[{place}]"
        if not isinstance(sentence, dict):
            yield Problem(path, f"expected an object, found {kind_of(sentence)}")
            continue
        text = sentence.get("sent") or sentence.get("raw")
        if not isinstance(text, str) or not text.strip():
            yield Problem(f"{path}.sent", "no expression, neither as sent nor as raw")


def refuse_pickle(path: str | Path) -> None:
    """Raises `DataError` for a Python pickle, by its name or its first bytes, with the way out."""
    try:
        with Path(path).open("rb") as stream:
            head = stream.read(2)
    except OSError as error:
        raise DataError(f"{path}: cannot be read, {error.strerror or error}") from error
    if Path(path).suffix.lower() in (".p", ".pkl", ".pickle") or head[:1] == b"\x80" or head == b"(l":
        raise DataError(
            f"{path}: a Python pickle, which can run any program while it is read, so it is not read here. "
            f"If you trust where it came from, turn it into JSON: {_CONVERSION}"
        )


def _rows_of_split(path: str, split: str) -> tuple[NDArray[np.int64], Counter[str]]:
    """The records of a split, and broken ones, whose fault drawing them tells; how many each split has."""
    rows = []
    splits: Counter[str] = Counter()
    for span, record in iterate_records(path):
        of = record.get("split") if isinstance(record, dict) else None
        if isinstance(of, str):
            splits[of] += 1
        if of == split or not isinstance(of, str) or isinstance(record, RecordFault):
            rows.append(span.number)
    if not splits[split]:
        there = ", ".join(f"{name} ({count})" for name, count in splits.items()) or "none"
        raise DataError(
            f"{path}: no object of the split {split!r}; the file has {there}: --split-name takes one"
        )
    return np.array(rows, dtype=np.int64), splits
