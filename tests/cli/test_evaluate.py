"""`vary evaluate`: the table, the report, what counts as unread, and the calibration of lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vary.outputs.document import Block, Document, Line, Page

Run = Callable[..., Any]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    folder = tmp_path / "suite"
    folder.mkdir()
    pages = [
        {"image": "good.png", "lang": "en", "kind": "plain", "text": "文 of good.png\n1"},
        {"image": "half.png", "lang": "en", "kind": "large", "text": "文 of half.png"},
    ]
    (folder / "pages.json").write_text(json.dumps(pages), encoding="utf-8")
    for page in pages:
        (folder / page["image"]).touch()
    return folder


def test_the_rates_of_what_a_reader_reads(vary: Run, suite: Path) -> None:
    ran = vary("evaluate", "ocr", suite)
    assert ran.out.splitlines() == [
        "en                 CER 0.0714  (28 characters)",
        "en large           CER 0.1538  (13 characters)",
        "en plain           CER 0.0000  (15 characters)",
        "overall            CER 0.0714  (28 characters)",
    ]
    assert (ran.code, ran.err) == (0, "")


def test_a_page_that_cannot_be_read_counts_and_is_named(vary: Run, suite: Path) -> None:
    (suite / "half.png").unlink()
    ran = vary("evaluate", "ocr", suite)
    assert "en large           CER 1.0000" in ran.out
    assert ran.code == 1
    assert ran.err.startswith(f"vary: {suite / 'half.png'}: failed: ")


def test_texts_that_are_there_are_scored_without_a_model(
    vary: Run, suite: Path, tmp_path: Path, fake_reader: Any
) -> None:
    predictions = tmp_path / "texts"
    predictions.mkdir()
    (predictions / "good.txt").write_text("文 of good.png 1", encoding="utf-8")
    ran = vary("evaluate", "ocr", suite, "--predictions", predictions)
    assert "en plain           CER 0.0000" in ran.out
    assert ran.code == 1
    assert ran.err == f"vary: {suite / 'half.png'}: missing: no prediction for this page\n"
    assert fake_reader.loaded == []


def test_the_report_says_what_was_measured_and_how(vary: Run, suite: Path, tmp_path: Path) -> None:
    vary("evaluate", "ocr", suite, "--device", "cpu", "--json", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["model"]["name"] == "fake"
    assert len(report["suite_sha256"]) == 64
    assert report["cer"]["overall"]["edits"] == 2
    assert [page["status"] for page in report["pages"]] == ["ok", "ok"]


def test_what_was_read_can_be_kept_and_scored_again(vary: Run, suite: Path, tmp_path: Path) -> None:
    first = vary("evaluate", "ocr", suite, "--save-predictions", tmp_path / "texts")
    again = vary("evaluate", "ocr", suite, "--predictions", tmp_path / "texts")
    assert first.out == again.out
    assert sorted(path.name for path in (tmp_path / "texts").iterdir()) == ["good.txt", "half.txt"]


def test_a_folder_that_is_no_suite(vary: Run, tmp_path: Path) -> None:
    ran = vary("evaluate", "ocr", tmp_path)
    assert (ran.code, ran.out) == (1, "")
    assert "pages.json: cannot be read" in ran.err


def test_options_that_do_not_go_together(vary: Run, suite: Path, tmp_path: Path) -> None:
    ran = vary("evaluate", "ocr", suite, "--predictions", tmp_path, "--save-predictions", tmp_path)
    assert ran.code == 2
    assert "--save-predictions has nothing to store" in ran.err


@pytest.fixture
def sure_reader(fake_reader: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A fake reader that is quite sure of the first line of a page, and less of the second."""
    plain = fake_reader.read

    def read(self: Any, source: Path, **options: Any) -> Document:
        text = plain(self, source, **options).text
        lines = (Line(text, confidence=0.9), Line("noise", confidence=0.3), Line("", confidence=0.1))
        return Document(str(source), (Page(1, 10, 10, str(source), blocks=(Block(lines),)),))

    monkeypatch.setattr(fake_reader, "read", read)
    return fake_reader


def test_the_calibration_of_what_a_reader_reads(
    vary: Run, suite: Path, tmp_path: Path, sure_reader: Any
) -> None:
    pages = json.loads((suite / "pages.json").read_text(encoding="utf-8"))
    pages[0]["text"] = "文 of good.png 1"
    pages[1]["text"] = "quite another text"
    (suite / "pages.json").write_text(json.dumps(pages), encoding="utf-8")
    ran = vary(
        "evaluate", "calibration", suite, "--plot", tmp_path / "plot.png", "--json", tmp_path / "report.json"
    )
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == (
        "en   4 lines, 0.2500 exact, mean confidence 0.6000, calibration error 0.3500 "
        "(bins of equal mass: 0.4000), area 0.833"
    )
    assert [line.split() for line in lines[3:]] == [["0.300", "0.000", "2"], ["0.900", "0.500", "2"]]
    assert (tmp_path / "plot.png").stat().st_size < 150_000
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [line["exact"] for line in report["lines"]] == [True, False, False, False]
    assert report["calibration"]["en"]["ece"] == pytest.approx(0.35)
    assert len(report["suite_sha256"]) == 64


def test_calibration_names_the_pages_that_it_lacks(vary: Run, suite: Path, sure_reader: Any) -> None:
    (suite / "half.png").unlink()
    ran = vary("evaluate", "calibration", suite)
    assert ran.code == 1
    assert "half.png" in ran.err


def test_calibration_needs_lines_with_confidence(vary: Run, suite: Path) -> None:
    ran = vary("evaluate", "calibration", suite)
    assert (ran.code, ran.out) == (1, "")
    assert "no line with a confidence was read" in ran.err
