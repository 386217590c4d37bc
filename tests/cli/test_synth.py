"""`vary synth` as users run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from PIL import Image

from vary.datagen.shards import read_manifest, read_shards

TEXT = "The quick brown fox jumps over the lazy dog, while five boxing wizards jump quickly.\n"


def vary(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vary", "synth", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def fonts() -> Path:
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "fox.txt"
    path.write_text(TEXT * 5, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def data(corpus: Path, fonts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "lines"
    done = vary(
        *("text", "--corpus", corpus, "--out", out, "--lines", 30, "--seed", 3, "--workers", 2),
        *("--lines-per-shard", 15, "--split-name", "val", "--font-dir", fonts, "--licence", "CC0-1.0"),
        *("--exclude-fonts", "DejaVu Sans Mono, STIX*"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "30 lines" in done.stderr
    return out


def test_text_writes_a_data_set(data: Path) -> None:
    manifest = read_manifest(data)
    assert (manifest["seed"], manifest["split"], manifest["lines"]) == (3, "val", 30)
    assert set(manifest["fonts"]) == {"DejaVu Sans"}
    items = list(read_shards(data))
    assert len(items) == 30
    assert {item.record["family"] for item in items} == {"DejaVu Sans"}
    assert {item.record["licence"] for item in items} == {"CC0-1.0"}


@pytest.mark.parametrize("what", ["", "shard-000001.tar"])
def test_preview_draws_a_contact_sheet(data: Path, tmp_path: Path, what: str) -> None:
    sheet = tmp_path / "contact.png"
    done = vary("preview", data / what, "-o", sheet, "--lines", 10)
    assert done.returncode == 0, done.stderr
    with Image.open(sheet) as image:
        colours = image.convert("RGB").getcolors(2**24)
    assert colours is not None
    assert any(red > 150 and green < 30 for _, (red, green, _) in colours), "no captions"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["text", "--corpus", "nowhere.txt", "--out", "OUT", "--lines", "5"], "nowhere.txt"),
        (["preview", "nowhere.tar", "-o", "OUT.png"], "nowhere.tar"),
    ],
)
def test_a_missing_file_is_named(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = vary(*(argument.replace("OUT", str(tmp_path / "out")) for argument in arguments))
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_usage(tmp_path: Path) -> None:
    done = vary("text", "--corpus", "a.txt", "--out", tmp_path, "--lines", "0")
    assert done.returncode == 2
    assert "at least 1" in done.stderr
