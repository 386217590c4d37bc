"""What a line model's confidence is fitted on, and the command that fits it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vary.cli.main import main
from vary.datagen.lines.engine import LineEngine, LineEngineConfig
from vary.engine.confidence import LineConfidence
from vary.engine.generation import Generation
from vary.engine.lines import LineReading
from vary.errors import TrainingError
from vary.model.modeling import VaryForConditionalGeneration
from vary.training import confidence
from vary.training.confidence import JudgedLine, read_judged_lines
from vary.weights.loading import load_checkpoint

TRUE = LineConfidence(half=1.2, slope=1.5)


@pytest.fixture(autouse=True)
def few_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One family instead of all validation families: opening all fonts of a machine takes its time."""
    found = sorted(Path("/usr/share/fonts").rglob("Carlito-Regular.ttf"))
    assert found, "install the fonts of vary/datagen/font_packages.txt: fonts-crosextra-carlito is missing"
    folders = (str(found[0].parent),)
    monkeypatch.setattr(
        confidence, "validation_engine", lambda paint: LineEngine(replace(paint, font_folders=folders))
    )


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    file = tmp_path / "heldout.txt"
    sentences = [
        f"The {n}th sentence of a small text about nothing, held out of training." for n in range(40)
    ]
    file.write_text("\n".join(sentences), encoding="utf-8")
    return file


def test_lines_are_read_of_many_pages_and_always_the_same(tiny_nano_folder: Path, corpus: Path) -> None:
    model, processor = load_checkpoint(tiny_nano_folder)
    asked: list[tuple[str, str, str]] = []
    done: list[int] = []

    def same(text: str, truth: str, language: str) -> bool:
        asked.append((text, truth, language))
        return len(truth) > 30

    paint = LineEngineConfig(corpus=(str(corpus),))
    judged = read_judged_lines(model.eval(), processor, paint, 20, same, progress=lambda n, _: done.append(n))
    assert len(judged) == len(asked) == done[-1] == 20
    assert max(np.bincount([line.page for line in judged])) <= 16
    assert [line.exact for line in judged] == [len(truth) > 30 for _, truth, _ in asked]
    assert {language for _, _, language in asked} == {"en"}
    again = read_judged_lines(model, processor, paint, 3, same)
    assert [line.reading.generation.ids for line in again] == [
        line.reading.generation.ids for line in judged[:3]
    ]


def test_models_of_whole_pages_have_no_lines(
    tiny_nano: VaryForConditionalGeneration,
    tiny_nano_folder: Path,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, processor = load_checkpoint(tiny_nano_folder)
    monkeypatch.setattr(tiny_nano.config, "window", "whole")
    with pytest.raises(TrainingError, match="this one reads whole pages"):
        read_judged_lines(tiny_nano, processor, LineEngineConfig(corpus=(str(corpus),)), 4, lambda *_: True)


def _drawn_lines(*_: Any, **__: Any) -> Sequence[JudgedLine]:
    """Lines that are as often exact as `TRUE` says."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(3000):
        probabilities = rng.uniform(0.9 ** rng.integers(0, 8), 1, 10).tolist()
        logprobs = np.log(probabilities).tolist()
        reading = LineReading(Generation([1] * 10, logprobs, "stop", -0.01), probabilities, None, 0)
        lines.append(JudgedLine(reading, bool(rng.random() < TRUE(reading)), number // 16))
    return lines


@pytest.fixture
def folder(tiny_nano_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(confidence, "read_judged_lines", _drawn_lines)
    return Path(shutil.copytree(tiny_nano_folder, tmp_path / "model"))


def test_the_command_writes_what_it_fits(
    folder: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert main(["train", "confidence", str(folder), "--validation", str(corpus), "--dry-run"]) == 0
    assert json.loads((folder / "config.json").read_text(encoding="utf-8")) == before
    assert main(["train", "confidence", str(folder), "--validation", str(corpus)]) == 0
    after = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    found = LineConfidence.of(after.pop("confidence"))
    before.pop("confidence", None)
    assert after == before
    assert found is not None
    assert found.half == pytest.approx(TRUE.half, rel=0.15)
    assert found.slope == pytest.approx(TRUE.slope, rel=0.15)
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("1008 unseen lines: 0.")
    assert out[1] == f"half {found.half}, slope {found.slope}"
    assert load_checkpoint(folder)[0].config.confidence == found.as_dict()


def test_a_model_that_reads_nothing_right_is_not_fitted(
    tiny_nano_folder: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "confidence", str(tiny_nano_folder), "--validation", str(corpus), "--lines", "8"]
    assert main(command) == 1
    assert "nothing to fit: 0 of" in capsys.readouterr().err


def test_a_folder_that_is_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "confidence", str(tmp_path), "--validation", "x.txt"]) == 2
    assert "no config.json" in capsys.readouterr().err
