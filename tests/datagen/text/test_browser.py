"""Pages printed by Chromium: with the given fonts alone, from escaped text, without a network."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake_programs import SLEEP, still_running, wait_for_programs
from vary.datagen.fonts import FontCatalogue
from vary.datagen.text import TextEngine
from vary.datagen.text.browser import PageFont, find_browser, print_html
from vary.datagen.text.pdf_glyphs import PdfPages
from vary.errors import DataError, MissingDependencyError

Make = Callable[..., TextEngine]


@pytest.fixture(scope="module")
def sans(catalogue: FontCatalogue) -> PageFont:
    face = next(face for face in catalogue.faces if face.family == "DejaVu Sans" and not face.italic)
    return PageFont("F0", face)


def test_a_sheet_of_documents(make_engine: Make) -> None:
    draw = make_engine(browser_share=1.0, pages_per_draw=8, layouts=None).draw(0)
    assert len(draw.samples) >= 5, draw.dropped
    assert {sample.details["renderer"] for sample in draw.samples} == {"chromium"}
    assert len({sample.details["layout"] for sample in draw.samples}) >= 2


def test_a_sheet_is_the_same_again(make_engine: Make) -> None:
    one, two = (make_engine(browser_share=1.0, pages_per_draw=3).draw(1) for _ in range(2))
    assert [s.answer for s in one.samples] == [s.answer for s in two.samples]
    assert [s.boxes for s in one.samples] == [s.boxes for s in two.samples]
    assert all((a.image == b.image).all() for a, b in zip(one.samples, two.samples, strict=True))


def test_a_letter_that_no_font_has_leaves_no_ink(sans: PageFont) -> None:
    """So that its page is left out: a box in its place would be read as the letter."""
    page = '<meta charset="utf-8"><p style="font-family: F0">ab国'
    with PdfPages(print_html(page, [sans])) as pdf:
        glyphs = pdf.glyphs(0)
    inked = (glyphs.ink[:, 2] > glyphs.ink[:, 0]) & (glyphs.ink[:, 3] > glyphs.ink[:, 1])
    assert glyphs.text.startswith("ab")
    assert inked[:2].all()
    assert not (glyphs.text == "ab国" and inked.all())
    with PdfPages(print_html(page.replace("国", "c"), [sans])) as pdf:
        assert pdf.glyphs(0).text == "abc"


def test_a_font_that_is_cut_prints_the_same_page(sans: PageFont, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Flügel, 12 %"
    page = f'<meta charset="utf-8"><p style="font-family: F0">{text}'
    cut = replace(sans, characters=text)
    with PdfPages(print_html(page, [sans])) as pdf:
        whole = pdf.image(0, 2.0, coloured=False)
    monkeypatch.setattr("vary.datagen.text.browser._LARGE_FONT", 0)
    pdf_of_cut = print_html(page, [cut])
    with PdfPages(pdf_of_cut) as pdf:
        assert pdf.glyphs(0).text == text.replace(" ", "")
        assert np.array_equal(pdf.image(0, 2.0, coloured=False), whole)
    # What is not asked for is gone, so it was the cut font that printed the page.
    with PdfPages(print_html(page.replace("12", "34"), [cut])) as pdf:
        glyphs = pdf.glyphs(0)
        inked = glyphs.ink[:, 2] > glyphs.ink[:, 0]
        assert not (glyphs.text == "Flügel,34%" and inked.all())


def test_without_chromium_the_line_that_installs_it_is_told(
    make_engine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingDependencyError, match="apt-get install chromium"):
        make_engine(browser_share=0.5)


def test_a_browser_that_prints_nothing_is_an_error(sans: PageFont, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = shutil.which("true")
    assert quiet is not None
    monkeypatch.setattr("vary.datagen.text.browser.find_browser", lambda: quiet)
    with pytest.raises(DataError, match="printed no PDF file"):
        print_html("<p>a", [sans])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_interrupt_ends_the_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = tmp_path / "browser"
    browser.write_text("#!/bin/sh\n" + SLEEP.format(folder=tmp_path), encoding="utf-8")
    browser.chmod(0o755)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setattr("vary.datagen.text.browser.find_browser", lambda: str(browser))

    def interrupted(self: object, timeout: float) -> None:
        wait_for_programs(tmp_path, 1)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        print_html("<p>a", [])
    assert still_running(tmp_path) == []
    assert list(scratch.iterdir()) == []


def test_there_is_a_browser() -> None:
    assert find_browser()
