"""Precompiled formats: sheets look as if LaTeX had read the whole preamble; files are found again."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vary.datagen.formula.formats as formats_module
from vary.datagen.formula import FormulaEngine
from vary.datagen.formula.formats import FORMATS, common_preamble, format_file
from vary.datagen.formula.latex import run_latex
from vary.datagen.formula.pages import paint_pages
from vary.datagen.formula.style import POINTS_PER_BIG_POINT, document
from vary.errors import DataError

MakeEngine = Callable[..., FormulaEngine]
SETTINGS: dict[str, dict[str, Any]] = {
    "pdflatex": {"xelatex_share": 0.0},
    "xelatex": {"xelatex_share": 1.0},
    "xelatex-chinese": {"languages": ("zh",)},
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_changes_nothing(name: str, make_engine: MakeEngine) -> None:
    """The whole document, read by LaTeX as it is installed, gives the same places and the same pages."""
    engine = make_engine(**SETTINGS[name])
    sheet, style, typeface, _, running = engine._sheet(engine._rng(1))
    assert typeface.format == name
    short = document(sheet, style, typeface, running)
    assert engine.source(1) == common_preamble(name) + short
    options: dict[str, Any] = {
        "height": style.paper[1] * POINTS_PER_BIG_POINT,
        "first_page": style.first_page,
        "files": typeface.files,
    }
    fast = run_latex(typeface.program, short, start=format_file(name), **options)
    slow = run_latex(typeface.program, engine.source(1), **options)
    assert fast.error is None
    assert slow.error is None
    assert fast.places == slow.places
    assert (fast.faults, fast.left_out) == (slow.faults, slow.left_out)
    pairs = zip(paint_pages(fast.pdf, [72.0] * 99), paint_pages(slow.pdf, [72.0] * 99), strict=True)
    assert all(np.array_equal(one.gray, two.gray) for one, two in pairs)
    # Without its format the short one is refused, so the comparison is one of two ways.
    assert run_latex(typeface.program, short, **options).error is not None


def test_an_engine_makes_the_formats_that_its_languages_need(make_engine: MakeEngine) -> None:
    needed = {
        ("en",): {"pdflatex", "xelatex"},
        ("zh",): {"xelatex-chinese"},
        ("en", "mixed"): set(FORMATS),
    }
    for languages, names in needed.items():
        assert set(make_engine(languages=languages)._formats) == names
    assert set(make_engine(xelatex_share=0.0)._formats) == {"pdflatex"}


def test_a_format_is_made_once_and_again_where_it_has_gone(
    make_engine: MakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert format_file("pdflatex") is format_file("pdflatex")
    engine = make_engine(xelatex_share=0.0)
    twin = pickle.loads(pickle.dumps(engine))
    assert twin._start("pdflatex") == format_file("pdflatex")
    twin._formats = {"pdflatex": tmp_path / "of another machine.fmt"}
    assert twin._start("pdflatex") == format_file("pdflatex")
    for one, two in zip(engine.draw(0).samples, twin.draw(0).samples, strict=True):
        assert np.array_equal(one.image, two.image)


def test_a_preamble_that_latex_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(formats_module._PREAMBLES, "broken", ("pdflatex", r"\nosuchcommand" + "\n"))
    with pytest.raises(DataError, match=r"pdflatex could not precompile.*Undefined control sequence"):
        format_file("broken")
