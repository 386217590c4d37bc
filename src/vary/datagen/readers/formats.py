"""The formats of annotation files by name: what each is, how one is recognised, and its reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vary.datagen.readers.captions import CaptionConfig, CocoCaptionReader
from vary.datagen.readers.dialogues import AlpacaReader, DialogueConfig, SharegptReader
from vary.datagen.readers.llava import LlavaConfig, LlavaReader
from vary.datagen.readers.objects import CocoReader, DetectionConfig, OpenImagesReader
from vary.datagen.readers.questions import ChartqaReader, DocvqaReader, QuestionConfig
from vary.datagen.readers.records import iterate_records
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
        name: as `--format` has it.
        description: what its files hold.
        options: the fields of its configuration that a user may set, besides those that all have; those that
            it cannot do without are in `needed`.
        make: the reader of a configuration's fields.
    """

    name: str
    description: str
    make: Callable[..., Engine]
    options: frozenset[str] = frozenset()
    needed: frozenset[str] = frozenset()

    def reader(self, **fields: Any) -> Engine:
        """The reader with these fields of its configuration; None stands for a field's default.

        Raises:
            DataError: for a field that the format has not, or lacks; and as the reader.
        """
        given = {name: value for name, value in fields.items() if value is not None}
        unknown = sorted(given.keys() - self.options - {"file", "licence", "split", "seed"})
        if unknown:
            raise DataError(f"format {self.name} has no {', '.join(unknown)}; leave it out")
        missing = sorted(self.needed - given.keys())
        if missing:
            raise DataError(f"format {self.name} needs {', '.join(missing)}")
        return self.make(**given)


_FORMATS = (
    Format(
        "llava",
        "conversations about an image, or of text alone (LLaVA)",
        lambda **fields: LlavaReader(LlavaConfig(**fields)),
        options=frozenset({"image_folder", "languages", "captions"}),
    ),
    Format(
        "coco",
        "objects with boxes (COCO instances, Objects365)",
        lambda **fields: CocoReader(DetectionConfig(**fields)),
        options=frozenset({"image_folder", "languages"}),
        needed=frozenset({"image_folder"}),
    ),
    Format(
        "openimages",
        "objects with boxes, as CSV (OpenImages)",
        lambda **fields: OpenImagesReader(DetectionConfig(**fields)),
        options=frozenset({"image_folder", "languages", "classes"}),
        needed=frozenset({"image_folder", "classes"}),
    ),
    Format(
        "refcoco",
        "expressions that mean an object (RefCOCO, RefCOCO+, RefCOCOg, as JSON)",
        lambda **fields: RefcocoReader(RefcocoConfig(**fields)),
        options=frozenset({"image_folder", "instances"}),
        needed=frozenset({"image_folder", "instances"}),
    ),
    Format(
        "coco-captions",
        "sentences about an image (COCO captions)",
        lambda **fields: CocoCaptionReader(CaptionConfig(**fields)),
        options=frozenset({"image_folder", "every_caption"}),
        needed=frozenset({"image_folder"}),
    ),
    Format(
        "docvqa",
        "questions about document pages (DocVQA)",
        lambda **fields: DocvqaReader(QuestionConfig(**fields)),
        options=frozenset({"image_folder"}),
    ),
    Format(
        "chartqa",
        "questions about charts (ChartQA, human or augmented)",
        lambda **fields: ChartqaReader(QuestionConfig(**fields)),
        options=frozenset({"image_folder"}),
    ),
    Format(
        "sharegpt",
        "conversations of text alone (ShareGPT, OpenAI messages)",
        lambda **fields: SharegptReader(DialogueConfig(**fields)),
        options=frozenset({"languages", "max_characters"}),
    ),
    Format(
        "alpaca",
        "instructions of text alone (Alpaca)",
        lambda **fields: AlpacaReader(DialogueConfig(**fields)),
        options=frozenset({"languages", "max_characters"}),
    ),
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
    records = iterate_records(path, _ARRAYS)
    for span, record in islice(records, _RECOGNISED_BY):
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
    known = ", ".join(FORMATS)
    shown = ", ".join(sorted(seen)[:8]) or "no records with fields"
    raise DataError(f"{path}: like no format that is known (it has {shown}); name one with --format: {known}")
