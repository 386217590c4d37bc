"""What charts say: the templates, values that can be read, answers that come back from the parser."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

from vary.datagen.chart.answers import chart_answer, chart_data
from vary.datagen.chart.content import KINDS, SHAPES, ChartContent, finished
from vary.datagen.chart.made_up import RandomWords, random_content
from vary.datagen.chart.numbers import reading_step
from vary.datagen.chart.related import related_content, templates_for
from vary.datagen.chart.templates import all_templates, category_lists
from vary.datagen.corpus import Corpus, Paragraph, is_han
from vary.errors import DataError
from vary.outputs.answers import parse_chart

CASES = [(kind, language) for kind in KINDS for language in ("en", "zh")]


def test_there_are_two_hundred_templates_of_varied_topics() -> None:
    templates = all_templates()
    assert len(templates) >= 200
    assert len({template.name for template in templates}) == len(templates)
    assert {template.shape for template in templates} == set(SHAPES)
    for language in ("en", "zh"):
        own = [template for template in templates if template.language == language]
        assert len(own) >= 100
        assert len({template.titles[0] for template in own}) == len(own), "two templates with one title"


def test_templates_are_sound() -> None:
    for template in all_templates():
        lists = category_lists(template.language)
        assert template.low < template.high, template.name
        for text in (*template.titles, *template.series):
            for place in re.findall(r"\{(\w+)\}", text):
                assert place in {*lists.names, "year", "city2"}, template.name
        if isinstance(template.categories, str):
            assert template.categories in {*lists.ordered, *lists.unordered, "years"}, template.name
        elif template.across is None:
            assert len(template.categories) >= 3, template.name
            assert len(set(template.categories)) == len(template.categories), template.name
        assert (template.across is not None) == (template.shape in ("pairs", "distribution")), template.name
        for word in (*template.titles, *template.series, template.value):
            han = any(map(is_han, re.sub(r"\{\w+\}", "", word)))
            assert han == (template.language == "zh") or "{" in word, (template.name, word)


@pytest.mark.parametrize(("name", "language"), CASES)
def test_every_kind_has_templates_in_both_languages(name: str, language: str) -> None:
    assert len(templates_for(KINDS[name], language)) >= 5


def _contents(name: str, language: str, count: int = 40) -> list[ChartContent]:
    kind = KINDS[name]
    found = []
    for seed in range(count):
        rng = np.random.default_rng([seed, 1])
        raw = related_content(kind, language, rng) if seed % 2 else random_content(kind, language, rng, None)
        found.append(finished(raw, kind, language, rng))
    return found


@pytest.mark.parametrize(("name", "language"), CASES)
def test_answers_come_back_as_they_were(name: str, language: str) -> None:
    for content in _contents(name, language):
        parsed = parse_chart(chart_answer(content))
        assert parsed.notes == ()
        assert parsed.data == {"title": content.title, "data": chart_data(content)}
        assert len(set(content.categories)) == len(content.categories)
        assert len(set(content.series)) == len(content.series)
        if name != "box":
            assert len(content.series) == (len(content.values) if len(content.values) > 1 else 0)


@pytest.mark.parametrize(("name", "language"), CASES)
def test_values_are_no_finer_than_the_chart_shows(name: str, language: str) -> None:
    for content in _contents(name, language):
        values = content.values
        if name == "scatter":
            assert content.axis is not None
            assert content.across is not None
            _assert_multiples(values[..., 0], reading_step(content.across))
            _assert_multiples(values[..., 1], reading_step(content.axis))
            continue
        _assert_multiples(values, 10.0**-content.decimals)
        if content.axis is None:
            assert content.labelled, "values that stand nowhere"
            continue
        if not content.labelled:
            _assert_multiples(values, reading_step(content.axis))
        shown = values.sum(axis=0) if name == "bar_stacked" else values
        assert content.axis.low <= shown.min()
        assert shown.max() <= content.axis.high


def _assert_multiples(values: np.ndarray, step: float) -> None:
    parts = values / step
    assert np.abs(parts - np.round(parts)).max() < 1e-6


def test_labelled_and_plain_charts_both_come() -> None:
    labelled = {content.labelled for content in _contents("bar", "en")}
    percent = {content.percent for content in _contents("pie", "en")}
    assert labelled == percent == {True, False}


def test_values_of_lines_are_written_where_there_is_room() -> None:
    """At every category, the lines are at least a line of text apart."""
    labelled = [content for content in _contents("lines", "en", 300) if content.labelled]
    assert len(labelled) >= 5
    for content in labelled:
        assert content.axis is not None
        gaps = np.diff(np.sort(content.values, axis=0), axis=0)
        assert gaps.min() > 0.035 * (content.axis.high - content.axis.low)


def test_values_follow_their_topic() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        raw = related_content(KINDS["funnel"], "en", rng)
        assert (np.diff(raw.values[0]) < 0).all(), "a stage with more than the one before it"
        raw = related_content(KINDS["box"], "zh", rng)
        assert (np.diff(raw.values, axis=1) > 0).all(), "quartiles out of order"
        raw = related_content(KINDS["lines"], "en", rng)
        template = next(t for t in all_templates() if t.name == raw.source)
        margin = 0.02 * (template.high - template.low)
        assert raw.values.min() >= template.low - margin
        assert raw.values.max() <= template.high + margin


def test_random_words_come_from_the_corpus() -> None:
    words = {"aardvark", "zeppelin", "quixotic", "marzipan"}
    paragraph = Paragraph(" ".join(sorted(words)) + ", 12!", "small#1", "en")
    chinese = Paragraph("龘靐齉爩麤灪", "small#2", "zh")
    corpus = Corpus({"en": (paragraph,), "zh": (chinese,)})
    names = RandomWords("en", np.random.default_rng(1), corpus).some(20, 3)
    assert {word.lower() for name in names for word in name.split()} <= words
    names = RandomWords("zh", np.random.default_rng(1), corpus).some(6, 1)
    assert set("".join(names)) <= set(chinese.text)


class _Counted(RandomWords):
    """Stops an endless search for words."""

    drawn = 0

    def name(self, words: int) -> str:
        self.drawn += 1
        assert self.drawn < 20_000, "it goes on for ever"
        return super().name(words)


@pytest.mark.parametrize(("language", "text"), [("en", "the cat sat"), ("zh", "猫坐")])
def test_a_corpus_of_too_few_words(language: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The templates give what it lacks, for this chart's names alone; both together may have too few."""
    corpus = Corpus({language: (Paragraph(text, "small#1", language),)})
    found = []
    for _ in range(2):
        words = _Counted(language, np.random.default_rng(3), corpus)
        found.append(words.some(9, 1))
        assert len(set(found[-1])) == 9
        own = {text} if language == "zh" else {"The", "Cat", "Sat"}
        assert own <= set(found[-1])
        assert words.name(1) in own, "the corpus is forgotten"
    assert found[0] == found[1]
    monkeypatch.setattr("vary.datagen.chart.made_up.template_words", lambda language: ("word",))
    with pytest.raises(DataError, match=r"needs 9 different names .*found \d in .*more words"):
        _Counted(language, np.random.default_rng(3), corpus).some(9, 1)


def test_histograms_tell_whole_bins() -> None:
    for language in ("en", "zh"):
        for content in _contents("histogram", language):
            edges = [re.split(r"[–~-]", word) for word in content.categories]
            for (_, right), (left, _) in pairwise(edges):
                assert right == left
