"""`vary predict`: MindOCR's command line around a tiny random Vary-toy."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from PIL import Image

from checkpoints import SPECIAL
from vary.cli.main import main
from vary.engine.streaming import TextPieces
from vary.inputs import pages

QUERY = "Provide the ocr results of this image."
STATISTICS = r"generated tokens: (\d+); total time: (\d+\.\d\d) s; speed: (\d+\.\d\d) tokens/s\n"


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def predict(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run `vary predict ARGUMENTS` in this process, with something on standard input."""

    def run(*arguments: str | Path, stdin: str | bytes = "") -> Ran:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="ascii"))
        try:
            code = main(["predict", "--device", "cpu", *map(str, arguments)])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def config(tmp_path: Path, tiny_toy_folder: Path) -> Callable[..., Path]:
    """Write a settings file for the tiny checkpoint, changed."""

    def write(**changes: Any) -> Path:
        model = {
            "checkpoint_name_or_path": str(tiny_toy_folder),
            "do_sample": False,
            "eos_token_id": SPECIAL["<|endoftext|>"],
            "compute_dtype": "float32",
            "max_new_tokens": 12,
        }
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump({"model": model | changes}), encoding="utf-8")
        return path

    return write


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "pages" / "page.png"
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def answer(predict: Callable[..., Ran], config: Callable[..., Path], image: Path) -> str:
    """What the checkpoint says of the image."""
    ran = predict("--image_dir", image, "--config_path", config())
    assert ran.code == 0
    assert ran.out.strip()
    return ran.out


def test_the_answer_alone_is_on_standard_output(
    predict: Callable[..., Ran], config: Callable[..., Path], image: Path
) -> None:
    ran = predict(
        f"--image_dir={image}", f"--query={QUERY}", f"--config_path={config()}", "--chat_mode=False"
    )
    assert ran.code == 0
    assert len(ran.out.strip()) <= 12
    *_, statistics = ran.err.splitlines(keepends=True)
    found = re.fullmatch(f"vary: {STATISTICS}", statistics)
    assert found is not None
    assert 0 < int(found[1]) <= 12


def test_dashes_do_as_well_as_underscores(
    predict: Callable[..., Ran], config: Callable[..., Path], image: Path, answer: str
) -> None:
    ran = predict("--image-dir", image, "--config-path", config(), "--chat-mode", "no", "--query", QUERY)
    assert (ran.code, ran.out) == (0, answer)


def test_the_query_and_the_layout_matter(
    predict: Callable[..., Ran], config: Callable[..., Path], image: Path, answer: str
) -> None:
    asked = predict("--image_dir", image, "--config_path", config(), "--query", "What is this?")
    authors = predict("--image_dir", image, "--config_path", config(), "--layout", "default")
    assert len({answer, asked.out, authors.out}) == 3


def test_json_has_the_answer_and_what_it_took(
    predict: Callable[..., Ran], config: Callable[..., Path], image: Path, answer: str
) -> None:
    ran = predict("--image_dir", image, "--config_path", config(), "--json")
    [line] = ran.out.splitlines()
    found = json.loads(line)
    assert found["answer"].strip() == answer.strip()
    assert (found["image"], found["page"], found["query"]) == (str(image), 1, QUERY)
    assert found["tokens"] > 0
    assert found["seconds"] > 0
    assert found["finish_reason"] in ("stop", "length")
    assert found["tokens_per_second"] == pytest.approx(found["tokens"] / found["seconds"], rel=0.05)


def test_on_a_terminal_the_answer_is_shown_as_it_grows(
    predict: Callable[..., Ran],
    config: Callable[..., Path],
    image: Path,
    answer: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    written: list[str] = []
    write = sys.stdout.write

    def record(text: str) -> int:
        written.append(text)
        return write(text)

    monkeypatch.setattr(sys.stdout, "write", record)
    ran = predict("--image_dir", image, "--config_path", config())
    assert ran.out == answer
    assert len([piece for piece in written if piece]) > 3


def test_a_terminal_obeys_no_answer(
    predict: Callable[..., Ran],
    config: Callable[..., Path],
    image: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = TextPieces.feed
    monkeypatch.setattr(TextPieces, "feed", lambda self, ids: real(self, ids) and "\x1b[2J\x9b\t")
    arguments = ("--image_dir", image, "--config_path", config())
    assert "\x1b" in predict(*arguments).out, "into a file it is written as it is"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = predict(*arguments).out
    assert "\ufffd[2J\ufffd\t" in shown
    assert "\x1b" not in shown


def test_what_is_odd_about_a_file_is_said(
    predict: Callable[..., Ran], config: Callable[..., Path], image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pages.open_pages
    monkeypatch.setattr(
        pages, "open_pages", lambda *a, **o: (replace(page, notes=("it is odd",)) for page in real(*a, **o))
    )
    ran = predict("--image_dir", image, "--config_path", config())
    assert f"vary: {image}: it is odd\n" in ran.err


def test_queries_that_are_no_text(
    predict: Callable[..., Ran], config: Callable[..., Path], image: Path
) -> None:
    ran = predict("--image_dir", image, "--config_path", config(), "--query", "what\udcff")
    assert (ran.code, ran.out) == (2, "")
    assert "character 5 of the prompt" in ran.err
    ran = predict(
        *("--image_dir", image, "--config_path", config(), "--chat_mode", "True", "--json"),
        stdin=b"what\xff\nmore\n",
    )
    assert [json.loads(line)["query"] for line in ran.out.splitlines()] == [QUERY, "what\ufffd", "more"]


def test_the_password_opens_the_file(
    predict: Callable[..., Ran], config: Callable[..., Path], image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []
    for name in ("open_pages", "page_count"):
        real = getattr(pages, name)

        def spy(source: Path, *, password: str, real: Any = real) -> Any:
            given.append(password)
            return real(source, password=password)

        monkeypatch.setattr(pages, name, spy)
    ran = predict("--image_dir", image, "--config_path", config(), "--password", "sesame")
    assert (ran.code, given) == (0, ["sesame", "sesame"])


def test_a_cut_answer_is_said(predict: Callable[..., Ran], config: Callable[..., Path], image: Path) -> None:
    ran = predict("--image_dir", image, "--config_path", config(max_new_tokens=2), "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["finish_reason"] == "length"
    assert "cut at 2 tokens; raise max_new_tokens" in ran.err


def test_a_folder_is_answered_page_by_page(
    predict: Callable[..., Ran], config: Callable[..., Path], image: Path, answer: str
) -> None:
    (image.parent / "broken.png").write_bytes(b"no image")
    Image.open(image).save(image.parent / "page 10.png")
    Image.open(image).rotate(180).save(image.parent / "page 2.png")
    ran = predict("--image_dir", image.parent, "--config_path", config())
    assert ran.code == 1
    assert "broken.png" in ran.err
    names = [line for line in ran.out.splitlines() if line.startswith("==> ")]
    assert names == [f"==> {image.parent / name} <==" for name in ("page 2.png", "page 10.png", "page.png")]
    assert ran.out.count(answer) >= 2
    assert ran.err.count("tokens/s") == 3


def test_chat_goes_on_about_the_image_until_exit(
    predict: Callable[..., Ran], config: Callable[..., Path], image: Path, answer: str
) -> None:
    ran = predict(
        "--image_dir",
        image,
        "--config_path",
        config(),
        "--chat_mode",
        "True",
        "--json",
        stdin="What is below?\n\n  And on the left?\nexit\nnot asked any more\n",
    )
    assert ran.code == 0
    turns = [json.loads(line) for line in ran.out.splitlines()]
    assert [turn["query"] for turn in turns] == [QUERY, "What is below?", "And on the left?"]
    assert turns[0]["answer"].strip() == answer.strip()
    # The history counts: without it the second answer is another one.
    alone = predict("--image_dir", image, "--config_path", config(), "--query", "What is below?", "--json")
    assert json.loads(alone.out)["answer"] != turns[1]["answer"]


def test_chat_ends_with_the_input_and_at_the_context(
    predict: Callable[..., Ran], config: Callable[..., Path], image: Path
) -> None:
    arguments = ("--image_dir", image, "--chat_mode", "True", "--json", "--config_path")
    ran = predict(*arguments, config(), stdin="more")
    assert (ran.code, len(ran.out.splitlines())) == (0, 2)
    ran = predict(*arguments, config(seq_length=220), stdin="more " * 100 + "\nnever\n")
    assert (ran.code, len(ran.out.splitlines())) == (1, 1)
    assert "seq_length is 220 in" in ran.err


@pytest.mark.parametrize("given", [[], ["--config_path"], ["--config_path", "vary_toy.yaml"]])
def test_the_shipped_settings_are_taken(
    predict: Callable[..., Ran], image: Path, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(image.parent)
    if len(given) < 2:  # then a file that happens to lie here is not meant
        (image.parent / "vary_toy.yaml").write_text("model: 3", encoding="utf-8")
    ran = predict("--image_dir", image, *given)
    assert ("there is no vary_toy.yaml here" in ran.err) == (len(given) == 2)
    assert (ran.code, ran.out) == (2, "")
    assert "checkpoint_name_or_path is /path/to/vary_toy.ckpt" in ran.err
    assert "--model" in ran.err


def test_the_shipped_settings_are_another_checkpoints(
    predict: Callable[..., Ran], image: Path, tiny_toy_folder: Path
) -> None:
    ran = predict("--image_dir", image, "--model", tiny_toy_folder)
    assert (ran.code, ran.out) == (2, "")
    assert "'model.hidden_size' is 2048, but the checkpoint has 24" in ran.err


def test_a_settings_file_that_is_there_is_not_passed_over(
    predict: Callable[..., Ran], image: Path, config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = config(top_kk=3).rename(image.parent / "vary_toy.yaml")
    monkeypatch.chdir(own.parent)
    ran = predict("--image_dir", image, "--config_path", "vary_toy.yaml")
    assert (ran.code, ran.out) == (2, "")
    assert "did you mean 'model.top_k'?" in ran.err
    ran = predict("--image_dir", image, "--config_path", "elsewhere/vary_toy.yaml")
    assert ran.code == 2
    assert "cannot be read" in ran.err


def test_a_bad_image_is_said_before_weights_are_looked_for(
    predict: Callable[..., Ran], config: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "empty.png").touch()
    for name in ("empty.png", "none.png"):
        ran = predict("--image_dir", tmp_path / name, "--config_path", config(checkpoint_name_or_path="none"))
        assert (ran.code, ran.out) == (1, "")
        assert name in ran.err
        assert "checkpoint" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--chat_mode", "maybe"], "expected True or False, found 'maybe'"),
        (["--query", " "], "--query is empty"),
        (["--layout", "mindorc"], "did you mean 'mindocr'"),
        (["--dtype", "int8"], "invalid choice"),
        (["--seed", "-1"], "expected a whole number"),
    ],
)
def test_wrong_usage(
    predict: Callable[..., Ran],
    config: Callable[..., Path],
    image: Path,
    arguments: list[str],
    message: str,
) -> None:
    ran = predict("--image_dir", image, "--config_path", config(), *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


def test_chat_is_about_one_image(
    predict: Callable[..., Ran], config: Callable[..., Path], image: Path
) -> None:
    Image.open(image).save(image.parent / "second.png")
    ran = predict("--image_dir", image.parent, "--config_path", config(), "--chat_mode")
    assert (ran.code, ran.out) == (2, "")
    assert "asks about one image" in ran.err


def test_vary_nano_is_refused(
    predict: Callable[..., Ran], config: Callable[..., Path], image: Path, tiny_nano_folder: Path
) -> None:
    ran = predict("--image_dir", image, "--config_path", config(), "--model", tiny_nano_folder)
    assert (ran.code, ran.out) == (2, "")
    assert "reads single text lines and cannot answer questions" in ran.err


def test_as_a_process_with_its_streams(config: Callable[..., Path], image: Path, answer: str) -> None:
    command = ["predict", "--image_dir", str(image), "--config_path", str(config(num_beams=2, batch_size=3))]
    ran = subprocess.run(
        [sys.executable, "-m", "vary", *command, "--device", "cpu", "--chat_mode", "True"],
        input="And what else?\nexit\n",
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert ran.stdout.strip()
    assert "note: batch_size is 3" in ran.stderr
    assert ran.stderr.count("tokens/s") == 2
    assert "Traceback" not in ran.stderr
