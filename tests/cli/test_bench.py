"""`vary bench` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from PIL import Image

from vary.bench.result import json_schema


def bench(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vary", "bench", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_a_tiny_model_is_measured(tmp_path: Path) -> None:
    options = ["--shape", "tiny", "--threads", "1", "--repeat", "2", "--only", "prefill,decode,page,pages"]
    options += [
        "--quantize",
        "none",
        "--vision",
        "none",
        "--prompt",
        "20",
        "--answer",
        "3",
        "--verify",
        "2",
        "--sequences",
        "3",
        "--pages",
        "10",
    ]
    done = bench(*options, "--json", "result.json", "--plot", "plot.png", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    jsonschema.validate(content, json_schema())
    found = {
        (one["phase"], one["case"].get("sequences"), one["case"].get("tokens"))
        for one in content["measurements"]
    }
    assert found == {
        ("prefill", None, 20),
        ("decode", 1, 1),
        ("decode", 1, 2),
        ("decode", 3, 1),
        ("page", None, 3),
        ("pages", None, 3),
    }
    assert all(len(one["seconds"]) == 2 for one in content["measurements"])
    assert {limit["name"] for limit in content["limits"]} == {"read", "copy", "multiply float32"}
    assert content["machine"]["threads"] == 1
    assert "decode at 20" in done.stdout
    assert "10 pages at once, 3 tokens each" in done.stdout
    assert "vary float32" in done.stdout
    assert Image.open(tmp_path / "plot.png").format == "PNG"


def test_memory_of_a_checkpoint_is_measured(tiny_toy_folder: Path, tmp_path: Path) -> None:
    options = [
        "--only",
        "memory",
        "--quantize",
        "none",
        "--prompt",
        "20",
        "--threads",
        "1",
        "--json",
        "a.json",
    ]
    done = bench(str(tiny_toy_folder), *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    [found] = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["measurements"]
    assert found["bytes"] > 10_000_000
    assert "peak memory" in done.stdout
    assert tiny_toy_folder.name in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--against", "openvion"], "no peer 'openvion'"),
        (["--only", ""], "found nothing"),
        (["--quantize", "int2"], "no precision 'int2'"),
        (["here", "--shape", "tiny"], "not both"),
        (["nowhere"], "no config.json"),
        (["--truth", "page.txt"], "give that too"),
        (["--page", "nowhere.png"], "no such image"),
        (["--json", "no/folder/a.json"], "there is no folder"),
        (["--verify", "4,x"], "expected a whole number"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_measured(
    words: list[str], said: str, tmp_path: Path
) -> None:
    done = bench(*words, folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
