"""Documents drawn at random: language, layout, style and texts that the style's fonts can print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vary.datagen.corpus import Corpus
from vary.datagen.text.author import Author
from vary.datagen.text.config import TextEngineConfig
from vary.datagen.text.content import Block, Document, Span, plain
from vary.datagen.text.families import FamilyList, missing_characters
from vary.datagen.text.layouts import LAYOUTS, PAINTER, Draft
from vary.datagen.text.styles import draw_style
from vary.errors import DataError, did_you_mean

__all__ = ["check_layouts", "draw_document"]

_TRIES = 12


def check_layouts(names: Sequence[str] | None) -> tuple[str, ...]:
    """The layouts' names; raises `DataError` for one that does not exist."""
    if names is None:
        return tuple(LAYOUTS)
    for name in names:
        if name not in LAYOUTS:
            known = ", ".join(LAYOUTS)
            raise DataError(f"there is no layout {name!r}; there are {known}" + did_you_mean(name, LAYOUTS))
    if not names:
        raise DataError("layouts is empty: name some, or none for all")
    return tuple(dict.fromkeys(names))


def draw_document(
    config: TextEngineConfig,
    corpus: Corpus,
    families: FamilyList,
    usable: Sequence[bool],
    renderer: str,
    pages: int,
    rng: np.random.Generator,
    language: str | None = None,
) -> Document:
    """A document of at most `pages` pages for a renderer that can take the `usable` families.

    `language` is drawn where it is not given.

    Raises:
        DataError: if no layout suits the renderer, or the fonts print next to nothing of the corpus.
    """
    language = language or _language(config, rng)
    names = [name for name in check_layouts(config.layouts) if renderer in LAYOUTS[name].renderers]
    if not names:
        raise DataError(f"none of the layouts {', '.join(config.layouts or ())} can be set by {renderer}")
    weights = np.array([LAYOUTS[name].weight for name in names])
    name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    problem: DataError | None = None
    for _ in range(_TRIES):
        try:
            document = _draft(config, corpus, families, usable, renderer, pages, rng, language, name)
        except DataError as error:  # fonts of few characters: another draw has others
            problem = error
            continue
        if not _lacking(document, families):
            return document
    raise problem or DataError(
        f"{_TRIES} drawings of fonts lacked characters of the layout {name!r} in language {language!r}: "
        "install fonts with more (vary/datagen/font_packages.txt)"
    )


def _language(config: TextEngineConfig, rng: np.random.Generator) -> str:
    if len(config.languages) > 1 and rng.random() < config.mixed_share:
        return "mixed"
    shares = np.array(config.language_weights or [1.0] * len(config.languages), dtype=np.float64)
    return str(rng.choice(list(config.languages), p=shares / shares.sum()))


def _draft(
    config: TextEngineConfig,
    corpus: Corpus,
    families: FamilyList,
    usable: Sequence[bool],
    renderer: str,
    pages: int,
    rng: np.random.Generator,
    language: str,
    name: str,
) -> Document:
    style = draw_style(config, families, language, rng, usable)
    if renderer == PAINTER:
        style = replace(style, latin_family=None, heading_family=style.text_family)
    text, headings, _ = families.of_style(style)

    def missing(characters: str) -> set[str]:
        return missing_characters(text, characters) | missing_characters(headings, characters)

    languages = ("en", "zh") if language == "mixed" else (language,)
    # A column of a newspaper is narrow: longer words would stand in the next one.
    longest = max(10, int(style.width / style.size / 3.6))
    authors = [
        Author(corpus, each, rng, missing, min(26, longest), config.made_up_share) for each in languages
    ]
    italic = text[-1].italic is not None and language == "en"
    draft = Draft(language, style, authors, rng, pages, italic)
    document = LAYOUTS[name].make(draft)
    return _painted(document) if renderer == PAINTER else document


def _painted(document: Document) -> Document:
    """The document without what the painter cannot show: several columns and styles of letters."""
    blocks = [
        Block(b.kind, tuple((Span(plain(part)),) for part in b.parts), b.level, b.align, b.source)
        for b in document.blocks
        if b.parts
    ]
    return replace(document, blocks=tuple(blocks), style=replace(document.style, columns=1))


def _lacking(document: Document, families: FamilyList) -> set[str]:
    """The characters of a document that its fonts lack: the layouts' own words are not the corpus's."""
    text, headings, code = families.of_style(document.style)
    texts: set[str] = set()
    codes: set[str] = set()
    for block in document.blocks:
        for part in block.parts:
            (codes if block.kind == "code" else texts).update(plain(part))
    for marginals in (document.header, document.footer, document.header_even, document.footer_even):
        if marginals is not None:
            texts.update("".join(marginals.texts(0)))
    for note in document.notes.values():
        texts.update(plain(note))
    characters = "".join(sorted(texts))
    lacking = missing_characters(text, characters) | missing_characters(code, "".join(sorted(codes)))
    if headings != text:
        titles = {c for b in document.blocks if b.kind == "heading" for c in plain(b.parts[0])}
        lacking |= missing_characters(headings, "".join(sorted(titles)))
    return lacking
