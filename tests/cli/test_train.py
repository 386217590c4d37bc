"""`vary train`: what is refused before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from learners import write_llava
from text_models import text_folder
from vary.cli.main import main
from vary.cli.train.conversations import PARTS
from vary.training.recipes.conversations import PARTS as KNOWN_PARTS


@pytest.mark.parametrize("weights", ["1", "1,2,3", "0,0", "-1,2", "1,x", "1,nan", "1,inf", ""])
def test_language_weights_are_one_number_for_each_language(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("the cat sat on the mat\n", encoding="utf-8")
    options = ["--paint", str(corpus), "--languages", "en,zh", f"--language-weights={weights}"]
    assert main(["train", "lines", *options, "--out", str(tmp_path / "run")]) == 2
    assert "expected 2 numbers of 0 and more" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_language_weights_are_for_painted_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--shards", str(tmp_path), "--language-weights", "1", "--out", str(tmp_path / "run")]
    assert main(["train", "lines", *options]) == 2
    assert "--language-weights is for --paint" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stages", ["", "1", "0.5:12", "0.5:12,0.2:4,1:9", "0:4,1:9", "0.5:0,1:9", "a:b"])
def test_stages_rise_to_the_end_of_the_run(
    stages: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "lines", "--paint", "x.txt", "--stages", stages, "--out", str(tmp_path / "run")])
    assert stopped.value.code == 2
    assert "expected" in capsys.readouterr().err


def test_the_parts_are_those_of_the_recipes() -> None:
    assert PARTS == KNOWN_PARTS


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "either from a checkpoint"),
        (["--model", "vary-toy", "--text", "opt"], "either from a checkpoint"),
        (["--model", "vary-toy", "--image-size", "64"], "--image-size is for a new vision network"),
    ],
)
def test_stage_1_begins_from_one_thing(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "vocabulary", "--data", "x", "--out", str(tmp_path / "run"), *options]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_data_that_is_not_there_is_said_before_anything_is_written(
    tiny_toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", str(tiny_toy_folder), "--data", str(tmp_path / "nothing:2"), "--cpu"]
    assert main(["train", "sft", *options, "--out", str(tmp_path / "run")]) == 1
    assert "no file or folder" in capsys.readouterr().err
    assert not (tmp_path / "run" / "log.csv").exists()


@pytest.mark.slow
def test_stage_1_from_a_language_model_stage_2_and_tuning(tmp_path: Path) -> None:
    """The chain as a user types it, from a small language model to a tuned model that is read with."""
    text = text_folder(tmp_path / "opt", "opt")
    data = str(write_llava(tmp_path / "data", ["cat", "dog", "owl", "bee"]))
    common = ["--data", data, "--batch", "2", "--micro-batch", "2", "--workers", "0", "--cpu"]
    common += ["--precision", "no", "--log-every", "1", "--steps", "2"]
    first, second, third = (str(tmp_path / name) for name in ("one", "two", "three"))
    size = ["--image-size", "128", "--max-length", "120"]
    assert main(["train", "vocabulary", "--text", str(text), *size, *common, "--out", first]) == 0
    options = [*common, "--validation", data, "--validation-samples", "2", "--evaluate-every", "1"]
    assert main(["train", "multitask", "--model", f"{first}/model", *options, "--out", second]) == 0
    assert len(list((tmp_path / "two" / "predictions").glob("*.jsonl"))) == 2
    assert main(["train", "sft", "--model", f"{second}/model", "--lora", "4", *common, "--out", third]) == 0
    image = str(tmp_path / "data" / "0.png")
    assert main(["read", image, "--model", f"{third}/model", "--max-new-tokens", "4"]) in {0, 1}
    assert (tmp_path / "three" / "loss.png").is_file()
