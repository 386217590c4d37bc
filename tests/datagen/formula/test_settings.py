"""The engine's settings: forms of answers, degradation, what is refused, what is told; its command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vary.datagen.formula import FormulaEngine, FormulaEngineConfig
from vary.datagen.formula.latex import run_latex
from vary.datagen.prompts import wordings
from vary.datagen.sample import Draw, Sample
from vary.datagen.shards import read_shards
from vary.errors import DataError, MissingDependencyError

MakeEngine = Callable[..., FormulaEngine]


def pages(draw: Draw) -> list[Sample]:
    return [sample for sample in draw.samples if sample.task == "markdown"]


def tables(draw: Draw) -> list[Sample]:
    return [sample for sample in draw.samples if sample.task == "table"]


def test_boxes_move_with_degraded_pages(make_engine: MakeEngine) -> None:
    engine = make_engine(clean_share=0.0, tables=(0, 0), blocks=(6, 8))
    clean = make_engine(tables=(0, 0), blocks=(6, 8))
    degraded, plain = pages(engine.draw(1)), pages(clean.draw(1))
    assert [sample.answer for sample in degraded] == [sample.answer for sample in plain]
    assert all(sample.details["degradation"] != "clean" for sample in degraded)


def test_tables_as_html_and_in_both_forms(make_engine: MakeEngine) -> None:
    html = tables(make_engine(table_form="html", blocks=(1, 2), xelatex_share=0.0).draw(0))
    assert html
    for sample in html:
        assert sample.answer == sample.details["html"]
        assert sample.prompt in wordings("table_html", "en")
    both = tables(make_engine(table_form="both", blocks=(1, 1), tables=(12, 12), xelatex_share=0.0).draw(0))
    assert {sample.details["form"] for sample in both} == {"latex", "html"}


def test_dollars_around_formulas(make_engine: MakeEngine) -> None:
    engine = make_engine(delimiters="dollars", xelatex_share=0.0)
    answers = "\n\n".join(sample.answer for sample in engine.draw(0).samples)
    assert re.search(r"^\$\$\n.*\n\$\$$", answers, flags=re.MULTILINE)
    assert r"\(" not in answers
    assert r"\[" not in answers


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": (5, 2)}, "blocks is"),
        ({"blocks": (0, 2)}, "blocks is"),
        ({"tables": (0, 10**6)}, "tables is"),
        ({"dpi": (10, 100)}, "dpi is"),
        ({"depth": 9}, "depth is 9"),
        ({"clean_share": 1.5}, "clean_share is"),
        ({"languages": ("fr",)}, "languages"),
        ({"languages": ()}, "languages"),
        ({"language_weights": (1.0, 2.0)}, "language_weights"),
        ({"table_form": "csv"}, "table_form is 'csv'"),
        ({"delimiters": "none"}, "delimiters is 'none'"),
        ({"time_limit": 0.0}, "time_limit is"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        FormulaEngineConfig(corpus=("x.txt",), **settings)


def test_without_latex_the_packages_are_named(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"apt-get install .*texlive-latex-recommended"):
        make_engine()
    with pytest.raises(MissingDependencyError, match="pdflatex"):
        run_latex("pdflatex", "", height=1.0, first_page=1)


def test_what_samples_depend_on_is_told(make_engine: MakeEngine) -> None:
    described = make_engine(languages=("en", "zh")).describe()
    assert described["seed"] == 3
    assert described["config"]["languages"] == ["en", "zh"]
    assert described["files"][0]["file"] == "both.txt"
    assert "DejaVu Sans" in described["fonts"]["xelatex"]
    assert any("SungtiL" in name for name in described["fonts"]["chinese"])
    assert "pdfTeX" in described["versions"]["pdflatex"]


def test_the_command_writes_shards(formula_corpus: Path, formula_fonts: Path, tmp_path: Path) -> None:
    out = tmp_path / "formulas"
    command = [sys.executable, "-m", "vary", "synth", "formula", "--corpus", str(formula_corpus)]
    command += ["--font-dir", str(formula_fonts), "--languages", "en,zh", "--out", str(out)]
    command += ["--samples", "6", "--samples-per-shard", "3", "--blocks", "4,6", "--tables", "1,2"]
    command += ["--table-form", "html", "--seed", "2", "--workers", "2"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ""
    assert "6 samples" in ran.stderr
    samples = list(read_shards(out))
    assert len(samples) == 6
    assert {sample.task for sample in samples} <= {"markdown", "table"}
    for sample in samples:
        assert sample.answer
        if sample.task == "table":
            assert sample.answer.startswith("<table>")
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["engine"] == "formula"
    assert manifest["config"]["table_form"] == "html"


@pytest.mark.parametrize(
    ("option", "message"),
    [("--blocks=5", "two whole numbers"), ("--blocks=9,2", "blocks is"), ("--languages=xx", "languages")],
)
def test_the_command_refuses(option: str, message: str, formula_corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vary", "synth", "formula", "--corpus", str(formula_corpus)]
    command += ["--out", str(tmp_path / "out"), "--samples", "1", option]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode in (1, 2)
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
