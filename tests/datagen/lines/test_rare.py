"""Paragraphs that are chosen for a rare character, and items of lists."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from vary.datagen.corpus import FEWEST_PARAGRAPHS, Corpus, Paragraph
from vary.datagen.fonts import FontCatalogue
from vary.datagen.lines.engine import LineEngine, LineEngineConfig
from vary.datagen.wording import Writer
from vary.errors import DataError

COMMON, RARE = "的一是不在人有我他中", "龘靐齉"


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """2,000 Chinese paragraphs; each rare character is in ten of them, far from the beginning."""
    rng = np.random.default_rng(1)
    texts = ["".join(rng.choice(list(COMMON), 150)) for _ in range(2000)]
    for number in range(30):
        texts[number * 60] = texts[number * 60][:120] + RARE[number % 3] + texts[number * 60][120:]
    texts[7] += "鼺"  # in one alone
    return Corpus({"zh": tuple(Paragraph(text, f"x#{n}", "zh") for n, text in enumerate(texts))})


def written(corpus: Corpus, count: int = 400, **options: object) -> list[Paragraph]:
    writer = Writer(corpus, "zh", np.random.default_rng(3), 0.0, **options)  # type: ignore[arg-type]
    return [writer.paragraph(40) for _ in range(count)]


def test_places_are_where_the_characters_are(corpus: Corpus) -> None:
    places = corpus.places["zh"]
    assert set(places) == set(COMMON + RARE)
    for character, numbers in places.items():
        assert numbers.tolist() == [n for n, p in enumerate(corpus.paragraphs["zh"]) if character in p.text]
        assert len(numbers) >= FEWEST_PARAGRAPHS


def test_rare_characters_come_as_often_as_others(corpus: Corpus) -> None:
    before = Counter(c for p in written(corpus) for c in p.text)
    after = Counter(c for p in written(corpus, rare_share=1.0) for c in p.text[:61])
    assert sum(before[c] for c in RARE) < 20
    for character in RARE:  # each is what one of 13 paragraphs is chosen for
        assert after[character] > 20


def test_some_paragraphs_are_items_of_a_list(corpus: Corpus) -> None:
    texts = {paragraph.source: paragraph.text for paragraph in corpus.paragraphs["zh"]}
    found = written(corpus, 1500, list_share=0.06)
    marks = Counter(p.text[: -len(texts[p.source])] for p in found)
    assert 0.04 < 1 - marks.pop("") / len(found) < 0.08
    assert max(marks, key=marks.__getitem__) == "• "
    assert {"– ", "- ", "* "} <= set(marks)
    plain = written(corpus, list_share=1.0, paints=lambda character: character != "•")
    assert not any("•" in paragraph.text for paragraph in plain)


def test_paragraphs_are_the_corpus_s_or_strings_of_its_characters(corpus: Corpus) -> None:
    texts = {paragraph.source: paragraph.text for paragraph in corpus.paragraphs["zh"]}
    found = written(corpus, rare_share=1.0)
    for paragraph in found:
        if paragraph.source != "made-up":
            assert texts[paragraph.source].endswith(paragraph.text)
    strings = [p.text for p in found if p.source == "made-up"]
    assert 0.15 < len(strings) / len(found) < 0.35
    assert all(len(text) >= 38 for text in strings)
    assert "鼺" not in "".join(strings)


def test_what_the_font_lacks_is_not_looked_for(corpus: Corpus) -> None:
    found = written(corpus, rare_share=1.0, paints=lambda character: character not in RARE)
    assert sum(p.text.count(c) for p in found for c in RARE) < 20
    nothing = written(corpus, 50, rare_share=1.0, paints=lambda _: False)
    assert all(p.text for p in nothing)


def test_given_characters_come_though_the_corpus_has_none(corpus: Corpus) -> None:
    found = written(corpus, rare_share=1.0, characters="电党纸é")
    counts = Counter(c for p in found for c in p.text)
    for character in "电党纸":  # most paragraphs are written with them, a quarter of the characters
        assert 0.8 < counts[character] / (sum(counts[c] for c in "电党纸") / 3) < 1.2
    with_them = [p.text for p in found if set(p.text) & set("电党纸")]
    assert 0.6 < len(with_them) / len(found) < 0.8
    sentences = [t for t in with_them if set(t) & set(COMMON)]
    assert 0.65 < len(sentences) / len(with_them) < 0.85
    shares = [sum(c in "电党纸" for c in t) / len(t) for t in sentences]
    assert 0.2 < sum(shares) / len(shares) < 0.3
    assert counts["é"] == 0  # not of this language
    none = written(corpus, 50, rare_share=1.0, characters="电党纸", paints=lambda c: c not in "电党纸")
    assert not set("电党纸") & set("".join(p.text for p in none))


def test_without_a_share_nothing_changes(corpus: Corpus) -> None:
    assert written(corpus) == written(corpus, rare_share=0.0)


def test_words_are_not_cut() -> None:
    texts = [f"{'a word or two and ' * 9}naïve façade number {n}" for n in range(20)]
    corpus = Corpus({"en": tuple(Paragraph(text, f"x#{n}", "en") for n, text in enumerate(texts))})
    writer = Writer(corpus, "en", np.random.default_rng(5), 0.0, rare_share=1.0)
    words = {word for text in texts for word in text.split()}
    for paragraph in (writer.paragraph(20) for _ in range(100)):
        if paragraph.source != "made-up":
            assert set(paragraph.text.split()) <= words


def test_the_engine_paints_them(config: LineEngineConfig, catalogue: FontCatalogue) -> None:
    changed = replace(config, rare_share=0.5)
    samples = LineEngine(changed, fonts=catalogue).page(3)
    assert samples
    again = LineEngine(changed, fonts=catalogue).page(3)
    assert [s.text for s in samples] == [s.text for s in again]
    with pytest.raises(DataError, match="rare_share is 2"):
        replace(config, rare_share=2.0)
    with pytest.raises(DataError, match="characters are given, and rare_share"):
        replace(config, characters="é")
