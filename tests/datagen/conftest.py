"""A small corpus and the few fonts that matplotlib brings: enough for every test of the data engine."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest

from vary.datagen.fonts import FontCatalogue, find_fonts
from vary.datagen.lines.engine import LineEngine
from vary.datagen.lines.planning import LineEngineConfig

PARAGRAPHS = (
    "The quick brown fox jumps over the lazy dog, while five boxing wizards jump quickly.",
    "It was the best of times; it was the worst of times: it was the age of wisdom.",
    'He said "no", and went away (as he had come) with 12 books, 3 pens & a 50% rebate.',
    "A reader that has never seen a text must spell what it sees, letter by letter, and must not guess.",
    "See section 4.2 of the report, or write to nobody@example.org before the 30th of June.",
    "Measured café prices rose by 3 € to 7 £; naïve façades – or so the paper said – fell.",
    "x = [i for i in range(10) if i % 2 == 0]  # comments\tand tabs",
    "Une ligne with a snowman ☃ that no page may show.",
)


@pytest.fixture(scope="session")
def font_folder() -> Path:
    """matplotlib's fonts: DejaVu Sans, DejaVu Sans Mono, STIXGeneral, and refused ones."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@pytest.fixture(scope="session")
def catalogue(font_folder: Path) -> FontCatalogue:
    """The usable fonts of `font_folder`."""
    return find_fonts(folders=[font_folder])


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of a few English paragraphs."""
    path = tmp_path_factory.mktemp("corpus") / "small.txt"
    path.write_text("\n".join(PARAGRAPHS) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def config(corpus_file: Path, font_folder: Path) -> LineEngineConfig:
    """A configuration of small pages."""
    return LineEngineConfig(
        corpus=(str(corpus_file),), font_folders=(str(font_folder),), seed=11, lines_per_page=(6, 12)
    )


@pytest.fixture(scope="session")
def engine(config: LineEngineConfig, catalogue: FontCatalogue) -> LineEngine:
    """An engine on the small corpus."""
    return LineEngine(config, fonts=catalogue)
