"""`vary synth text` as users run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib

from vary.datagen.shards import read_manifest, read_shards


def vary(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vary", "synth", "text", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_data_set_of_pages(tmp_path: Path) -> None:
    corpus = tmp_path / "fox.txt"
    corpus.write_text(
        "The quick brown fox jumps over the lazy dog, while five boxing wizards jump quickly.\n" * 4
        + "It was the best of times; it was the worst of times: it was the age of wisdom.\n",
        encoding="utf-8",
    )
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    out = tmp_path / "pages"
    options = ("--corpus", corpus, "--languages", "en", "--out", out, "--samples", 6, "--font-dir", fonts)
    done = vary(*options, "--browser-share", 0, "--layouts", "book,two columns", "--licence", "CC0-1.0")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    samples = list(read_shards(out))
    assert len(samples) == 6
    assert {sample.licence for sample in samples} == {"CC0-1.0"}
    assert {sample.details["layout"] for sample in samples} <= {"book", "two columns"}
    assert all(sample.answer and sample.prompt and sample.boxes for sample in samples)
    assert read_manifest(out)["engine"] == "text"


def test_an_unknown_layout_is_told(tmp_path: Path) -> None:
    corpus = tmp_path / "a.txt"
    corpus.write_text("Some words.\n", encoding="utf-8")
    options = ("--corpus", corpus, "--languages", "en", "--out", tmp_path / "out", "--samples", 1)
    done = vary(*options, "--browser-share", 0, "--layouts", "magazine")
    assert done.returncode != 0
    assert "there is no layout 'magazine'" in done.stderr
    assert "Traceback" not in done.stderr
