"""`vary train`: what is refused before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from vary.cli.main import main

pytest.importorskip("accelerate", reason="training needs it")
pytest.importorskip("matplotlib", reason="training needs it")


@pytest.mark.parametrize("weights", ["1", "1,2,3", "0,0", "-1,2", "1,x", "1,nan", "1,inf", ""])
def test_language_weights_are_one_number_for_each_language(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("the cat sat on the mat\n", encoding="utf-8")
    options = ["--paint", str(corpus), "--languages", "en,zh", f"--language-weights={weights}"]
    assert main(["train", "vocabulary", *options, "--out", str(tmp_path / "run")]) == 2
    assert "expected 2 numbers of 0 and more" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_language_weights_are_for_painted_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--shards", str(tmp_path), "--language-weights", "1", "--out", str(tmp_path / "run")]
    assert main(["train", "vocabulary", *options]) == 2
    assert "--language-weights is for --paint" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
