"""Pages of real PDF files: the painted page, and the text of its text layer in reading order."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vary.datagen.degradation import degrade
from vary.datagen.pdf.config import PdfConfig
from vary.datagen.pdf.documents import Document, find_documents, open_document, split_of
from vary.datagen.pdf.filters import layer_reason, text_reason, unseen_share
from vary.datagen.pdf.reading_order import (
    Line,
    Region,
    goes_on,
    joined_lines,
    paragraphs,
    regions,
    words_within,
)
from vary.datagen.pdf.text_layer import PageText, read_text_layer
from vary.datagen.prompts import draw_prompt
from vary.datagen.provenance import package_versions, settings_record
from vary.datagen.sample import Box, Draw, Record, Sample
from vary.datagen.scripts import language_of
from vary.errors import DataError, InputError
from vary.inputs.pdf import PdfFile

__all__ = ["PdfEngine"]

_POINTS_PER_INCH = 72.0
_COLOURLESS = 12
"""A page whose channels differ by no more is stored as gray."""


class PdfEngine:
    """Index in, the pages of one document out.

    The documents are found, hashed and opened once when the engine is made.
    """

    name = "pdf"

    def __init__(self, config: PdfConfig) -> None:
        """Raises `DataError` if nothing of the split is there."""
        self.config = config
        every, self.left_out = find_documents(config.files)
        self.splits = Counter(split_of(document.sha256, config.shares) for document in every)
        self.documents = [d for d in every if split_of(d.sha256, config.shares) == config.split]
        if not self.documents:
            there = ", ".join(f"{name} {count}" for name, count in sorted(self.splits.items()))
            raise DataError(
                f"no document of the split {config.split!r}: {len(every)} documents fall into {there}; give "
                "more documents, or other shares"
            )

    @property
    def length(self) -> int:
        """How many documents there are."""
        return len(self.documents)

    @property
    def samples_per_index(self) -> int:
        """About how many pages a document gives."""
        most = self.config.max_pages_per_document
        return max(sum(min(document.pages, most) for document in self.documents) // self.length, 1)

    def source_of(self, index: int) -> str:
        """The document's name."""
        return self.documents[index].name

    def draw(self, index: int) -> Draw:
        """The pages of document `index`, from 0; those that are not learned from are counted by reason.

        Raises:
            DataError: if the document cannot be opened, or none of its pages can be read.
        """
        document = self.documents[index]
        rng = _rng(self.config, document)
        numbers = np.arange(document.pages)
        if document.pages > self.config.max_pages_per_document:
            numbers = np.sort(rng.choice(numbers, self.config.max_pages_per_document, replace=False))
        samples: list[Sample] = []
        dropped: Counter[str] = Counter()
        faults: list[str] = []
        try:
            with closing(open_document(document.path, document.name)) as file:
                for number in numbers.tolist():
                    page_rng = np.random.default_rng(rng.integers(2**63))
                    try:
                        made = self._page(file, document, number, page_rng)
                    except InputError as error:
                        faults.append(str(error))
                        made = "broken page"
                    if isinstance(made, str):
                        dropped[made] += 1
                    else:
                        samples.append(made)
        except InputError as error:
            raise DataError(str(error)) from error
        if len(faults) == len(numbers):
            raise DataError(f"no page of {document.name} can be read: {faults[0]}")
        return Draw(tuple(samples), Counter(pages=len(numbers)), dropped)

    def _page(self, file: PdfFile, document: Document, number: int, rng: np.random.Generator) -> Sample | str:
        """The sample of a page, or why there is none."""
        config = self.config
        with file.loaded(number) as page:
            size = page.get_size()
            if not (all(map(math.isfinite, size)) and min(size) > 0):
                raise InputError(f"page {number + 1} has no size")
            longest = max(size) / _POINTS_PER_INCH
            dpi = round(min(rng.uniform(*config.dpi), config.max_side_px / longest), 1)
            # Painting rounds both sides up: the boxes are wanted on the image that comes of it.
            width, height = (int(np.ceil(side * dpi / _POINTS_PER_INCH)) for side in size)
            text = read_text_layer(page, width, height)
            if reason := layer_reason(text, config):
                return reason
            parts = regions(text.words)
            answer = _answer(parts, config.answer)
            if reason := text_reason(answer, config):
                return reason
            image = np.asarray(file.paint(page, number, dpi).image, dtype=np.uint8)
        gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        if unseen_share(text.words, gray) > config.max_unseen_share:
            return "text that the page does not show"
        language = language_of(answer)
        sample = Sample(
            image=gray if _is_gray(image) else image,
            task="ocr",
            prompt=draw_prompt("ocr", language, rng),
            answer=answer,
            source=f"{document.name}#{number + 1}",
            licence=config.licence,
            language=language,
            boxes=_boxes(parts, config.word_boxes),
            details=_details(document, number, dpi, text, parts, config.answer),
        )
        em = float(np.percentile([line.em for part in parts for line in part.lines], 10))
        return degrade(sample, rng, clean_share=config.clean_share, em=em)

    def describe(self) -> Record:
        """The settings, the documents with their hashes and pages, and what was left out and why."""
        return {
            "split": self.config.split,
            "seed": self.config.seed,
            "settings": settings_record(self.config, leave_out=("files",)),
            "documents": [
                {"file": document.name, "sha256": document.sha256, "pages": document.pages}
                for document in self.documents
            ],
            "documents_by_split": dict(sorted(self.splits.items())),
            "left_out": [asdict(entry) for entry in self.left_out],
            "versions": package_versions("pypdfium2"),
        }


def _rng(config: PdfConfig, document: Document) -> np.random.Generator:
    """By the document and not by its index, so that more documents change nothing about this one."""
    return np.random.default_rng(
        [config.seed, zlib.crc32(config.split.encode()), int(document.sha256[:16], 16)]
    )


def _answer(parts: Sequence[Region], form: str) -> str:
    if form == "lines":
        return "\n".join(line.text for part in parts for line in part.lines)
    whole_words = words_within(parts)
    found: list[list[Line]] = []
    for part in parts:
        blocks = paragraphs(part)
        if found and blocks and goes_on(found[-1], blocks[0]):
            found[-1] = [*found[-1], *blocks.pop(0)]
        found.extend(blocks)
    return "\n".join(joined_lines(block, whole_words) for block in found)


def _boxes(parts: Sequence[Region], word_boxes: bool) -> tuple[Box, ...]:
    boxes = []
    for part in parts:
        for line in part.lines:
            boxes.append(_box(line.text, line.ink, "line"))
            if word_boxes:
                boxes.extend(_box(word.text, word.ink, "word") for word in line.words)
    return tuple(boxes)


def _box(text: str, ink: tuple[float, float, float, float], level: str) -> Box:
    left, top, right, bottom = (round(edge, 2) for edge in ink)
    return Box(text, left, top, right, bottom, level)


def _details(
    document: Document, number: int, dpi: float, text: PageText, parts: Sequence[Region], answer: str
) -> dict[str, Any]:
    return {
        "sha256": document.sha256,
        "page": number + 1,
        "pages": document.pages,
        "dpi": dpi,
        "answer": answer,
        "regions": len(parts),
        "turned_characters": text.counts["turned"],
        "image_share": round(text.image_share, 3),
    }


def _is_gray(image: NDArray[np.uint8]) -> bool:
    red, green, blue = cv2.split(image)
    return max(int(cv2.absdiff(red, green).max()), int(cv2.absdiff(green, blue).max())) <= _COLOURLESS
