"""The formats of annotation files by name: what each is, how one is recognised, and its reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vary.datagen.readers.base import Reader, ReaderConfig
from vary.datagen.readers.captions import CaptionConfig, CocoCaptionReader
from vary.datagen.readers.dialogues import AlpacaReader, DialogueConfig, SharegptReader
from vary.datagen.readers.llava import LlavaConfig, LlavaReader
from vary.datagen.readers.objects import CocoReader, DetectionConfig, OpenImagesConfig, OpenImagesReader
from vary.datagen.readers.questions import ChartqaReader, DocvqaReader, QuestionConfig
from vary.datagen.readers.records import RecordFault, iterate_records
from vary.datagen.readers.refcoco import RefcocoConfig, RefcocoReader, refuse_pickle
from vary.datagen.sample import Engine
from vary.errors import DataError, did_you_mean

__all__ = ["FORMATS", "Format", "find_format", "recognise_format"]

_RECOGNISED_BY = 200
"""So many records are looked at to find out what a file is."""
_ARRAYS = ("images", "annotations", "data")


@dataclass(frozen=True, slots=True)
class Format:
    """A format of annotation files.

    Attributes:
        description: what its files hold.
        reader_class, config_class: its reader, and what that takes.
    """

    description: str
    reader_class: type[Reader[Any]]
    config_class: type[ReaderConfig]

    @property
    def name(self) -> str:
        """As `--format` has it."""
        return self.reader_class.name

    @property
    def options(self) -> frozenset[str]:
        """The fields of its configuration besides those that all formats have."""
        return frozenset(field.name for field in self._own_fields())

    @property
    def needed(self) -> frozenset[str]:
        """Those of `options` that it cannot do without."""
        return frozenset(field.name for field in self._own_fields() if field.default is MISSING)

    def _own_fields(self) -> list[Field[Any]]:
        common = {field.name for field in fields(ReaderConfig)}
        return [field for field in fields(self.config_class) if field.name not in common]

    def reader(self, **given: Any) -> Engine:
        """The reader with these fields of its configuration; None stands for a field's default.

        Raises:
            DataError: for a field that the format has not, or lacks; and as the reader.
        """
        given = {name: value for name, value in given.items() if value is not None}
        unknown = sorted(given.keys() - {field.name for field in fields(self.config_class)})
        if unknown:
            raise DataError(f"format {self.name} has no {', '.join(unknown)}; leave it out")
        missing = sorted(self.needed - given.keys())
        if missing:
            raise DataError(f"format {self.name} needs {', '.join(missing)}")
        return self.reader_class(self.config_class(**given))


_FORMATS = (
    Format("conversations about an image, or of text alone (LLaVA)", LlavaReader, LlavaConfig),
    Format("objects with boxes (COCO instances, Objects365)", CocoReader, DetectionConfig),
    Format("objects with boxes, as CSV (OpenImages)", OpenImagesReader, OpenImagesConfig),
    Format(
        "expressions that mean an object (RefCOCO, RefCOCO+, RefCOCOg, as JSON)", RefcocoReader, RefcocoConfig
    ),
    Format("sentences about an image (COCO captions)", CocoCaptionReader, CaptionConfig),
    Format("questions about document pages (DocVQA)", DocvqaReader, QuestionConfig),
    Format("questions about charts (ChartQA, human or augmented)", ChartqaReader, QuestionConfig),
    Format("conversations of text alone (ShareGPT, OpenAI messages)", SharegptReader, DialogueConfig),
    Format("instructions of text alone (Alpaca)", AlpacaReader, DialogueConfig),
)

FORMATS: Mapping[str, Format] = MappingProxyType({format.name: format for format in _FORMATS})
"""All formats by name."""


def find_format(name: str | None, path: str | Path) -> Format:
    """The format of that name, or, without one, the one that a file is seen to have.

    Raises:
        DataError: for an unknown name, and for a file that is like none of them.
    """
    refuse_pickle(path)
    name = recognise_format(path) if name is None else name
    if name not in FORMATS:
        known = ", ".join(FORMATS)
        raise DataError(f"there is no format '{name}'; there are {known}" + did_you_mean(name, FORMATS))
    return FORMATS[name]


def recognise_format(path: str | Path) -> str:
    """The name of the format that a file looks like.  Raises `DataError` where it is none."""
    if Path(path).suffix.lower() == ".csv":
        return "openimages"
    fields: dict[str, set[str]] = {}
    fault: RecordFault | None = None
    records = iterate_records(path, _ARRAYS)
    for span, record in islice(records, _RECOGNISED_BY):
        if isinstance(record, RecordFault):
            fault = fault or record
        fields.setdefault(span.key, set()).update(record if isinstance(record, dict) else ())
        if span.key == "images":  # what its annotations are stands far behind
            key, found = next(((s.key, r) for s, r in records if s.key == "annotations"), ("", None))
            if key and isinstance(found, dict):
                return "coco-captions" if "caption" in found else "coco"
    seen = fields.get("", set())
    by_field = (
        ("llava", "conversations" in seen and "image" in seen),
        ("sharegpt", bool({"conversations", "messages"} & seen)),
        ("alpaca", {"instruction", "output"} <= seen),
        ("chartqa", "imgname" in seen),
        ("refcoco", {"ann_id", "sentences"} <= seen),
        ("docvqa", "question" in fields.get("data", ())),
        ("coco-captions", "caption" in fields.get("annotations", ())),
        ("coco", "bbox" in fields.get("annotations", ())),
    )
    for name, is_it in by_field:
        if is_it:
            return name
    if fault is not None:
        raise fault
    known = ", ".join(FORMATS)
    shown = ", ".join(sorted(seen)[:8]) or "no records with fields"
    raise DataError(f"{path}: like no format that is known (it has {shown}); name one with --format: {known}")
