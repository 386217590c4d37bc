"""`vary vocabulary` as a process: what it writes, what it says, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from factories import random_model, tiny_toy_config
from text_models import text_folder
from vary.cli import vocabulary as command
from vary.cli.main import main
from vary.model.grafting import GraftLayout
from vary.model.loading import load_model
from vary.model.vision_vocabulary import VisionVocabulary
from vary.weights.manifest import check_manifest

AWKWARD = "a.b c/模型"


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "vary", "vocabulary", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "tiny toy"
    random_model(tiny_toy_config()).save_pretrained(folder)
    return folder


def test_extract_then_graft(toy: Path, tmp_path: Path) -> None:
    ran = run("extract", toy, AWKWARD, cwd=tmp_path)
    assert (ran.returncode, ran.stderr.count("\n")) == (0, 1), ran.stderr
    assert ran.stderr.startswith("vary: the checkpoint records no preprocessing of images")
    first, second, *files = ran.stdout.splitlines()
    network = VisionVocabulary.from_folder(tmp_path / AWKWARD)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert first == f"vision vocabulary of tiny toy (vary): {count:,} parameters, float32"
    assert second == "an image of 128 x 128 pixels becomes 4 tokens of 20"
    assert [line.split(maxsplit=1)[1] for line in files] == [
        f"{AWKWARD}/{name}" for name in sorted(os.listdir(tmp_path / AWKWARD))
    ]

    text = text_folder(tmp_path / "text", "llama")
    options = ("--vocabulary", AWKWARD, "--text", text, "--clip", toy, "--dtype", "bfloat16", "--seed", "3")
    ran = run("graft", *options, "grafted", cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    model = load_model(tmp_path / "grafted")
    count = sum(parameter.numel() for parameter in model.parameters())
    assert ran.stdout.splitlines()[0] == f"{count:,} parameters, bfloat16"
    assert "image tokens: <img> 258, </img> 259, <imgpad> 260\nlayout of prompts: own\n" in ran.stdout
    assert "The projector is not trained" in ran.stdout
    assert check_manifest(tmp_path / "grafted") == []


def test_a_killed_run_leaves_no_half_folder(toy: Path, tmp_path: Path) -> None:
    code = (
        "import sys, os, signal\n"
        "import vary.weights.vocabulary as module\n"
        "from vary.cli.main import main\n"
        "module.write_manifest = lambda folder: os.kill(os.getpid(), getattr(signal, sys.argv[1]))\n"
        "sys.exit(main(['vocabulary', 'extract', *sys.argv[2:]]))"
    )
    for name in ("SIGTERM", "SIGKILL"):
        words = [sys.executable, "-c", code, name, str(toy), str(tmp_path / name)]
        ran = subprocess.run(words, capture_output=True, text=True, check=False)
        assert ran.returncode == (130 if name == "SIGTERM" else -signal.SIGKILL), ran.stderr
        assert not (tmp_path / name).exists()
    left = [path.name for path in tmp_path.iterdir()]
    assert len(left) == 1
    assert left[0].startswith("SIGKILL.part-")


def ended(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    try:
        code: Any = main(["vocabulary", *map(str, arguments)])
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_what_is_in_the_way_stays(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("mine")
    code, out, err = ended(capsys, "extract", toy, tmp_path)
    assert (code, out) == (2, "")
    assert "is a folder that is not empty; name a new one, nothing is overwritten" in err
    (tmp_path / "new.part-0").mkdir()
    code, _, err = ended(capsys, "extract", toy, tmp_path / "new")
    assert code == 0
    assert "new.part-0 is left over from a run that was killed, or still runs; delete it" in err
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("extract", "nowhere", "out"), "nowhere: there is no such folder or file"),
        (("graft", "--vocabulary", "nowhere", "--text", "text", "out"), "nowhere: there is no such folder"),
        (("graft", "--vocabulary", "{toy}", "--text", "nowhere", "out"), "nowhere: no such folder"),
        (
            ("graft", "--vocabulary", "{toy}", "--text", "{toy}", "out"),
            "a 'vary' is no causal language model",
        ),
        (
            ("graft", "--vocabulary", "{toy}", "--text", "text", "--layout", "chatml", "out"),
            "the layout 'chatml' needs <|im_start|> and <|im_end|>",
        ),
    ],
)
def test_what_cannot_start_says_why(
    arguments: tuple[str, ...],
    message: str,
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    text_folder(tmp_path / "text", "llama")
    code, out, err = ended(capsys, *(word.replace("{toy}", str(toy)) for word in arguments))
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments", [(), ("extract",), ("graft", "out"), ("graft", "--vocabulary", "v", "out")]
)
def test_wrong_usage(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ended(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("usage: vary vocabulary")


def test_the_shipped_checkpoint_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ended(capsys, "extract", "vary-nano", tmp_path / "out")
    assert (code, err) == (0, "")
    assert "becomes 128 tokens of 192" in out
    text = text_folder(tmp_path / "text", "qwen2")
    capsys.readouterr()  # the library's bars
    code, out, err = ended(capsys, "graft", "--vocabulary", "vary-nano", "--text", text, tmp_path / "grafted")
    assert (code, err) == (0, "")
    assert "layout of prompts: plain" in out
    assert load_model(tmp_path / "grafted").config.window == "lines"


def test_the_layouts_of_the_command_are_those_of_the_library() -> None:
    assert get_args(GraftLayout) == command.LAYOUTS
