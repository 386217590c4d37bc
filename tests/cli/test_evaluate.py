"""`vary evaluate`: the table, the report, what counts as unread, and the calibration of lines."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from raw_pdf import RawPage, raw_pdf, text_lines
from vary.backends.pytorch import PyTorchBackend
from vary.cli.main import main
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
    for option in (("--draft", "off"), ("--batch-size", 2), ("--verbose",)):
        ran = vary("evaluate", "ocr", suite, "--predictions", tmp_path, *option)
        assert ran.code == 2
        assert "--predictions are read already" in ran.err


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


@pytest.mark.parametrize("measure", ["ocr", "calibration"])
def test_options_reach_the_reader(
    vary: Run, suite: Path, tiny_toy_folder: Path, sure_reader: Any, measure: str
) -> None:
    options = ["--model", tiny_toy_folder, "--batch-size", "4", "--draft", "pdf", "--verbose"]
    ran = vary("evaluate", measure, suite, *options)
    given = {"batch_size": 4, "draft": "pdf"}
    assert sure_reader.calls == [("good.png", given), ("half.png", given)]
    assert ran.err.startswith("read by ")
    assert ran.err.endswith("; no draft\n")
    assert ran.code == 0


@pytest.mark.parametrize("measure", ["ocr", "calibration"])
def test_a_file_of_drafts_is_no_guess_of_several_documents(
    vary: Run, suite: Path, tmp_path: Path, fake_reader: Any, measure: str
) -> None:
    (tmp_path / "draft.txt").write_text("a guess", encoding="utf-8")
    ran = vary("evaluate", measure, suite, "--draft", tmp_path / "draft.txt")
    assert (ran.code, ran.out, fake_reader.loaded) == (2, "", [])
    assert "is the text of one document, and 2 are to be read" in ran.err


def test_a_terminated_evaluation_is_interrupted(suite: Path, vary_process: Callable[..., Any]) -> None:
    pages = [{"image": "slow.png", "lang": "en", "kind": "plain", "text": "x"}]
    (suite / "pages.json").write_text(json.dumps(pages), encoding="utf-8")
    (suite / "slow.png").touch()
    process = vary_process("evaluate", "ocr", suite)
    assert process.stderr.readline() == "reading\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60) == ("", "vary: interrupted\n")
    assert process.returncode == 130


@pytest.fixture
def page_suite(tmp_path: Path) -> Path:
    """An image, two PDFs with text, and an image that cannot be read among them."""
    folder = tmp_path / "page suite"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (60, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"no image")
    for name in ("c", "d"):
        (folder / f"{name}.pdf").write_bytes(raw_pdf([RawPage(text_lines([f"The text of {name}."]))]))
    pages = [
        {"image": name, "lang": "en", "kind": "plain", "text": "The text."}
        for name in ("a.png", "b.png", "c.pdf", "d.pdf")
    ]
    (folder / "pages.json").write_text(json.dumps(pages), encoding="utf-8")
    return folder


def test_pages_that_are_read_together_have_the_same_texts(
    page_suite: Path,
    tiny_toy_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    together: list[int] = []
    page_inputs = PyTorchBackend.page_inputs

    def counted(self: PyTorchBackend, windows: Any, request: Any) -> Any:
        together.append(len(windows))
        return page_inputs(self, windows, request)

    monkeypatch.setattr(PyTorchBackend, "page_inputs", counted)
    found = {}
    for size, draft in (("1", "off"), ("3", "pdf")):
        together.clear()
        out, report = tmp_path / f"texts {size}", tmp_path / f"{size}.json"
        options = ["--batch-size", size, "--draft", draft, "--verbose", "--device", "cpu"]
        stored = ["--save-predictions", str(out), "--json", str(report)]
        model = ["--model", str(tiny_toy_folder)]
        assert main(["evaluate", "ocr", str(page_suite), *model, *options, *stored]) == 1
        said = capsys.readouterr().err.splitlines()
        assert said[0].startswith("read by tiny toy on cpu in float32; vision: ")
        assert [line for line in said[1:] if "b.png: failed: " not in line] == []
        told = json.loads(report.read_text(encoding="utf-8"))
        assert [page["status"] == "failed" for page in told["pages"]] == [False, True, False, False]
        assert told["model"]["settings"]["batch_size"] == int(size)
        assert sum(together) == 3
        assert max(together) == int(size)
        found[size] = {path.name: path.read_text(encoding="utf-8") for path in out.iterdir()}, told
    (alone, plain), (at_once, drafted) = found["1"], found["3"]
    assert alone == at_once
    assert alone["b.txt"] == "\n"
    assert len(alone["c.txt"]) > 50
    assert plain["cer"] == drafted["cer"]
    assert "draft_use" not in plain["model"]["settings"]
    use = drafted["model"]["settings"]["draft_use"]
    assert use["pages"] == {"pdf": 2}, "of all pages, not of the first or last"
    assert use["tokens"] > len(alone["c.txt"])
