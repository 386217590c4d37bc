"""Text lines cut from typeset pages: the reader's lines with the text that stands on them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from typeset_pages import document, page, paragraph
from vary.datagen.fonts import FontCatalogue
from vary.datagen.lines.engine import LineEngine
from vary.datagen.lines.planning import LineEngineConfig
from vary.datagen.text.content import Block, spans
from vary.datagen.text.cutting import rows_of
from vary.datagen.text.matching import Matcher
from vary.errors import DataError


@pytest.fixture(scope="module")
def typeset(config: LineEngineConfig, catalogue: FontCatalogue) -> LineEngine:
    return LineEngine(
        dataclasses.replace(config, typeset_share=1.0, clean_share=1.0, jitter=0.0), fonts=catalogue
    )


def test_most_lines_of_a_typeset_page_are_found_and_cut(typeset: LineEngine) -> None:
    pages = [typeset.page_samples(index) for index in range(8)]
    cut, printed = sum(len(p.samples) for p in pages), sum(p.painted for p in pages)
    assert printed > 100
    assert cut > 0.75 * printed, [p.dropped for p in pages]
    for sample in (sample for p in pages for sample in p.samples):
        assert sample.image.shape[0] == 32
        assert sample.text == " ".join(sample.text.split())
        assert sample.image.min() < 120 < sample.image.max()


def test_a_line_shows_as_many_words_as_its_text_has(typeset: LineEngine) -> None:
    """The widest gaps of a justified line are those between its words: a line with the text of another would
    have others."""
    checked = 0
    for sample in typeset.page(1) + typeset.page(2):
        words = sample.text.split()
        if len(words) < 4 or not all(word.strip(",.;").isalpha() for word in words):
            continue
        columns = (sample.image < 128).any(axis=0)
        edges = np.flatnonzero(np.diff(columns.astype(np.int8)))
        gaps = np.sort(edges[2::2] - edges[1:-1:2])[::-1]
        wide = gaps[: len(words) - 1].min()
        rest = gaps[len(words) - 1 :].max() if len(gaps) >= len(words) else 0
        assert wide > rest, sample.text
        checked += 1
    assert checked > 3


def test_the_same_page_again_and_none_by_default(
    typeset: LineEngine, config: LineEngineConfig, catalogue: FontCatalogue
) -> None:
    again = typeset.page_samples(3)
    assert [s.text for s in again.samples] == [s.text for s in typeset.page_samples(3).samples]
    plain = LineEngine(config, fonts=catalogue)
    none = LineEngine(dataclasses.replace(config, typeset_share=0.0), fonts=catalogue)
    assert (
        [s.text for s in plain.page(3)] == [s.text for s in none.page(3)] != [s.text for s in again.samples]
    )


def test_longer_lines_than_are_wanted_are_left_out(
    config: LineEngineConfig, catalogue: FontCatalogue
) -> None:
    short = LineEngine(
        dataclasses.replace(config, typeset_share=1.0, max_chars=20, columns=(6, 20), max_words=3),
        fonts=catalogue,
    )
    pages = [short.page_samples(index) for index in range(4)]
    texts = [sample.text for p in pages for sample in p.samples]
    assert all(len(text) <= 20 and len(text.split()) <= 3 for text in texts)
    assert sum(p.dropped["more than max_chars"] for p in pages) > 0


def test_a_share_must_be_one(config: LineEngineConfig) -> None:
    with pytest.raises(DataError, match="typeset_share is 2"):
        dataclasses.replace(config, typeset_share=2.0)


def test_markers_stand_in_the_row_of_their_items() -> None:
    made = document(Block("item", (spans("•"), spans("first words"))), paragraph("alone"))
    matched = Matcher(made).match(page((50, "•  first"), (66, "words"), (82, "alone")))
    rows = rows_of(matched.lines, 10)
    assert [[line.text for line in row] for row in rows] == [["•", "first"], ["words"], ["alone"]]
