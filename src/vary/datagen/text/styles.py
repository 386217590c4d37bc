"""How a document looks: a style drawn from the engine's settings and fonts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vary.datagen.text.config import TextEngineConfig
from vary.datagen.text.content import Style
from vary.datagen.text.families import FamilyList

__all__ = ["draw_style"]

_PAPERS = (
    (0.46, 595.3, 841.9),  # A4
    (0.22, 612.0, 792.0),  # letter
    (0.10, 419.5, 595.3),  # A5
    (0.07, 498.9, 708.7),  # B5
    (0.05, 432.0, 648.0),  # a trade book
    (0.04, 841.9, 595.3),  # A4 across
    (0.06, 0.0, 0.0),  # any
)
_INKS = ("1a1a1a", "222244", "2b1d0e", "003366", "333333", "40210f")
_PAPER_COLOURS = ("fffef8", "faf6ea", "f4f4f4", "eef3f8", "f7efe0", "e9e4d8")
_ACCENTS = ("8b0000", "00508c", "1f6f3f", "6a1b7a", "b25a00", "444444")
_DARK = (("f2f2f2", "1e1e1e"), ("e8f0ff", "0c2340"), ("fff8e0", "2b2b2b"), ("d8ffd8", "10240f"))


def draw_style(
    config: TextEngineConfig,
    families: FamilyList,
    language: str,
    rng: np.random.Generator,
    usable: Sequence[bool] | None = None,
) -> Style:
    """A page's size, margins, fonts, spacing and colours for a document in `language` (or `mixed`).

    `usable` says which families the typesetter can take, by number.
    """
    width, height = _paper(rng)
    side = float(rng.uniform(0.05, 0.16) * width)
    outer = side if rng.random() < 0.6 else float(rng.uniform(0.05, 0.16) * width)
    margins = (
        float(rng.uniform(0.07, 0.13) * height),
        outer,
        float(rng.uniform(0.07, 0.13) * height),
        side,
    )
    low, high = np.log(config.font_sizes)
    size = float(np.exp(low + (high - low) * rng.beta(1.6, 3.0)))
    size = round(size * 2) / 2 if rng.random() < 0.6 else round(size, 2)
    size = min(max(size, config.font_sizes[0]), config.font_sizes[1])
    if config.widest_column is not None:
        width = min(width, outer + side + config.widest_column * size)
    chinese = language != "en"
    text = families.draw(rng, chinese=chinese, usable=usable)
    code = families.draw(rng, chinese=False, kinds=("mono",), usable=usable)
    latin = None
    if chinese and (language == "mixed" or rng.random() < 0.5):
        latin = families.draw(rng, chinese=False, kinds=("text",), usable=usable)
    heading = text
    if rng.random() < 0.35:
        heading = families.draw(rng, chinese=chinese, kinds=("text",), usable=usable)
    if not chinese and rng.random() < 0.05:
        text = code  # a typewriter's page
    style = Style(
        width=round(width, 1),
        height=round(height, 1),
        margins=(round(margins[0], 1), round(margins[1], 1), round(margins[2], 1), round(margins[3], 1)),
        size=size,
        leading=round(float(rng.uniform(0.45, 1.0) + (0.15 if chinese else 0.0)), 2),
        spacing=round(float(rng.choice([0.0, 0.4, 0.8, 1.2])), 2),
        indent=0.0,
        text_family=text,
        heading_family=heading,
        code_family=code,
        latin_family=latin,
        alignment=str(rng.choice(["justify", "left"], p=[0.7, 0.3])),
        hyphenate=bool(rng.random() < 0.55),
        ligatures=bool(rng.random() < 0.7),
        tracking=round(float(rng.uniform(0.0, 0.08)), 3) if rng.random() < 0.06 else 0.0,
        gutter=round(float(rng.uniform(12, 28)), 1),
        column_rule=bool(rng.random() < 0.25),
        heading_scale=round(float(rng.uniform(1.1, 1.5)), 2),
        heading_align=str(rng.choice(["left", "center"], p=[0.7, 0.3])),
        table_lines=str(rng.choice(["all", "rows", "rules", "none"], p=[0.45, 0.2, 0.25, 0.1])),
    )
    indented = style.spacing < 0.3 or rng.random() < 0.3
    if indented:
        style = replace(style, indent=2.0 if chinese else round(float(rng.uniform(1.0, 2.0)), 1))
    return _coloured(style, rng)


def _paper(rng: np.random.Generator) -> tuple[float, float]:
    shares = np.array([share for share, _, _ in _PAPERS])
    _, width, height = _PAPERS[int(rng.choice(len(_PAPERS), p=shares / shares.sum()))]
    if not width:
        width = float(rng.uniform(330, 700))
        height = width * float(rng.uniform(0.8, 1.6))
    return width, height


def _coloured(style: Style, rng: np.random.Generator) -> Style:
    """Black on white mostly; tinted paper and ink, coloured headings, and light on dark now and then."""
    kind = rng.random()
    accent = str(rng.choice(_ACCENTS))
    if kind < 0.62:
        return style
    if kind < 0.78:
        return replace(style, accent=accent)
    if kind < 0.95:
        ink, paper = str(rng.choice(_INKS)), str(rng.choice(_PAPER_COLOURS))
        return replace(style, ink=ink, paper=paper, accent=accent if rng.random() < 0.5 else ink)
    ink, paper = _DARK[int(rng.integers(len(_DARK)))]
    return replace(style, ink=ink, paper=paper, accent=ink)
