"""A corpus that tries to be markup, and an engine on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vary.datagen.corpus import Corpus
from vary.datagen.fonts import FontCatalogue
from vary.datagen.text import TextEngine, TextEngineConfig

HOSTILE = (
    '#set page(width: 1pt); #pagebreak() #{ panic("no") } $ x^2 $ and [brackets] stay as they are written.',
    "</style><script>document.title = 'no'</script> &lt;b&gt; <b>bold</b> <img src=x onerror=y> stay, too.",
    "A line with *stars*, _underscores_, `ticks`, # signs, 1. numbers, - dashes -- and \\ slashes \\*.",
    "The office of the first officer, so efficient and fluffy, was in flux; the waffles were sniffed at.",
    "Extraordinary representations of internationalization, notwithstanding considerable misunderstandings, "
    "characteristically demonstrate responsibilities, circumstances and establishments of correspondingly "
    "unprecedented administrative accomplishments throughout the neighbouring constituencies.",
    "Plain words make plain sentences. They end with stops. Some are short. Others are a good deal longer, "
    "for they have clauses, and the clauses have commas, and so the line must be broken somewhere.",
    "Cafés and naïve façades cost 12.50 € or 10 £ – so the “paper” said…",
)


@pytest.fixture(scope="session")
def hostile_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Paragraphs that would be code for Typst, HTML or Markdown, with ligatures and long words."""
    path = tmp_path_factory.mktemp("hostile") / "hostile.txt"
    path.write_text("\n".join(HOSTILE) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def make_engine(
    hostile_corpus: Path, font_folder: Path, catalogue: FontCatalogue
) -> Callable[..., TextEngine]:
    """Engines of small English pages without degradation; fields of the configuration may be given."""
    base = TextEngineConfig(
        corpus=(str(hostile_corpus),),
        font_folders=(str(font_folder),),
        languages=("en",),
        seed=5,
        browser_share=0.0,
        painted_share=0.0,
        pages_per_draw=4,
        clean_share=1.0,
        dpi=(72.0, 110.0),
    )
    corpus = Corpus.load([hostile_corpus], ["en"])

    def make(**changes: Any) -> TextEngine:
        return TextEngine(dataclasses.replace(base, **changes), fonts=catalogue, corpus=corpus)

    return make
