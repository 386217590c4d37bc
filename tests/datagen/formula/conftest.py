"""A small corpus in both languages and few fonts, for sheets that LaTeX typesets in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vary.datagen.corpus import Corpus
from vary.datagen.fonts import FontCatalogue, find_fonts, font_files
from vary.datagen.formula import FormulaEngine, FormulaEngineConfig

CHINESE = (
    "设函数在闭区间上连续，则它在该区间上有界。这是一个常用的结论。",
    "本文介绍了 3 种方法，并给出了 TiDB 数据库中的实验结果：误差为 12%。",
    "春风又绿江南岸，明月何时照我还。",
    "他说“可以”，于是大家都同意了这个方案。",
)
ENGLISH = (
    "The quick brown fox jumps over the lazy dog. Five boxing wizards jump quickly, as they always did.",
    "It was the best of times; it was the worst of times: it was the age of wisdom.",
    'He said "no", and went away (as he had come) with 12 books, 3 pens & a 50% rebate of $8. It\'s fine.',
    "A name such as max_width_px or C:\\temp is not changed -- nor are <tags>, {braces}, #5, ^ and ~.",
    "Measured café prices rose by £7; naïve façades – or so the paper said – fell at once.",
)


@pytest.fixture(scope="session")
def formula_fonts(font_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with links to matplotlib's fonts and to the Chinese font that comes with LaTeX's packages."""
    found = [path for path in font_files() if path.name == "gbsn00lp.ttf"]
    assert found, "no gbsn00lp.ttf: apt-get install texlive-lang-chinese"
    folder = tmp_path_factory.mktemp("fonts")
    for path in [found[0], *font_folder.glob("DejaVuSans*.ttf"), *font_folder.glob("STIXGeneral*.ttf")]:
        (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="session")
def formula_catalogue(formula_fonts: Path) -> FontCatalogue:
    """The fonts of `formula_fonts`."""
    return find_fonts(folders=[formula_fonts])


@pytest.fixture(scope="session")
def formula_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of some English and Chinese paragraphs."""
    path = tmp_path_factory.mktemp("corpus") / "both.txt"
    path.write_text("\n".join((*ENGLISH, *CHINESE)) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def make_engine(formula_corpus: Path, formula_catalogue: FontCatalogue) -> Callable[..., FormulaEngine]:
    """Engines on the small corpus, clean unless told otherwise."""
    corpus = Corpus.load([formula_corpus], ("en", "zh"))

    def make(**settings: Any) -> FormulaEngine:
        values = {"seed": 3, "clean_share": 1.0, "blocks": (10, 14), "tables": (2, 4), **settings}
        config = FormulaEngineConfig(corpus=(str(formula_corpus),), **values)
        return FormulaEngine(config, fonts=formula_catalogue, corpus=corpus)

    return make
