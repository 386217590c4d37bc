"""Programs that read a page: Tesseract as a process, and turns with vary-nano."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from vary.bench import reading
from vary.bench.contestants.tesseract import Tesseract
from vary.bench.orders import Subject
from vary.bench.reading import PageTruth, read_in_turns
from vary.bench.result import Result
from vary.bench.settings import BenchSettings
from vary.errors import VaryError

SETTINGS = BenchSettings(
    subject=Subject(shape="tiny", checkpoint="", seed=0, device="cpu", threads=1),
    against=["tesseract"],
    repeat=2,
)
PROGRAM = """\
#!{python}
import os, sys
if "--version" in sys.argv:
    print("tesseract 9.9")
elif sys.argv[1].endswith("broken.png"):
    sys.exit("no such image")
else:
    print(" ".join(sys.argv[2:]), os.environ["OMP_THREAD_LIMIT"])
"""


@pytest.fixture
def fake_tesseract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name that prints its arguments."""
    program = tmp_path / "tesseract"
    program.write_text(PROGRAM.format(python=sys.executable), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


class FakeReader:
    """A worker with a reader of one text."""

    def ask(self, what: str, seconds: float, **values: Any) -> dict[str, Any]:
        return {"seconds": 0.5, "text": "a pagf"} if what == "read" else {}

    def __enter__(self) -> FakeReader:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def turns(monkeypatch: pytest.MonkeyPatch, page: PageTruth | None) -> Result:
    def running(label: str, threads: int) -> FakeReader:
        return FakeReader()

    def errors(reading: str, truth: str, language: str) -> float:
        return float(reading != truth)

    monkeypatch.setattr(reading.Worker, "running", running)
    monkeypatch.setattr(reading, "_vary_process", lambda path, device: (1.5, "a page"))
    result = Result({}, {}, {}, {}, [])
    read_in_turns(SETTINGS, result, page, errors, lambda _: None)
    return result


@pytest.mark.usefixtures("fake_tesseract")
def test_the_program_is_called_and_its_failure_is_told() -> None:
    seconds, text = Tesseract().read("page.png", "zh", 3)
    assert seconds > 0
    assert text == "stdout -l chi_sim 3\n"
    assert Tesseract().version() == "tesseract 9.9"
    assert Tesseract().missing() == ""
    with pytest.raises(VaryError, match=r"failed on broken\.png: no such image"):
        Tesseract().read("broken.png", "en", 1)


@pytest.mark.usefixtures("fake_tesseract")
def test_all_read_the_same_page(monkeypatch: pytest.MonkeyPatch) -> None:
    result = turns(monkeypatch, PageTruth("page.png", "a page", "en"))
    rates = {one.label: one.character_error_rate for one in result.readings}
    assert rates == {
        "vary-nano, loaded": 1.0,
        "vary-nano, from process start": 0.0,
        "tesseract, from process start": 1.0,
        "tesseract, a blank picture": None,
    }
    assert all(len(one.seconds) == 2 for one in result.readings)
    assert result.versions == {"tesseract": {"tesseract": "tesseract 9.9"}}


@pytest.mark.usefixtures("fake_tesseract")
def test_one_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    result = turns(monkeypatch, PageTruth("broken.png", "", "en"))
    assert [one["label"] for one in result.failures] == ["tesseract, from process start"]
    assert len(result.readings) == 3
    assert all(one.character_error_rate is None for one in result.readings)


def test_vary_alone_reads_where_tesseract_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    result = turns(monkeypatch, None)
    assert [one.label for one in result.readings] == ["vary-nano, loaded", "vary-nano, from process start"]
