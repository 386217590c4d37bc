"""`vary synth` as users run it: a data set of lines, going on with it, looking at it."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from vary.datagen.sample import Box, Draw, Record, Sample
from vary.datagen.shards import read_manifest, read_shards, write_shards

TEXT = "The quick brown fox jumps over the lazy dog, while five boxing wizards jump quickly.\n"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "vary", "synth", *map(str, arguments)]


def vary(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def fonts() -> Path:
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "fox.txt"
    path.write_text(TEXT * 5, encoding="utf-8")
    return path


def lines(corpus: Path, fonts: Path, out: Path, *more: object) -> list[object]:
    return [
        *("lines", "--corpus", corpus, "--out", out, "--samples", 30, "--seed", 3),
        *("--samples-per-shard", 10, "--split-name", "val", "--font-dir", fonts, "--licence", "CC0-1.0"),
        *("--exclude-fonts", "DejaVu Sans Mono, STIX*", "--clean-share", 0.5, *more),
    ]


@pytest.fixture(scope="module")
def data(corpus: Path, fonts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "lines"
    done = vary(*lines(corpus, fonts, out, "--workers", 2))
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "30 samples in 3 shards" in done.stderr
    return out


def test_lines_are_a_data_set(data: Path) -> None:
    manifest = read_manifest(data)
    assert (manifest["engine"], manifest["seed"], manifest["split"], manifest["samples"]) == (
        *("lines", 3, "val", 30),
    )
    assert set(manifest["fonts"]) == {"DejaVu Sans"}
    assert manifest["config"]["clean_share"] == 0.5
    samples = list(read_shards(data))
    assert len(samples) == 30
    assert {sample.details["family"] for sample in samples} == {"DejaVu Sans"}
    assert {sample.licence for sample in samples} == {"CC0-1.0"}


def test_a_run_that_was_interrupted_goes_on(data: Path, corpus: Path, fonts: Path, tmp_path: Path) -> None:
    """SIGTERM in the middle: nothing half is left, no traceback; the same command ends it."""
    arguments = command(*lines(corpus, fonts, tmp_path / "lines"))
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "lines" / "shard-000000.tar").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, messages = process.communicate()
    assert process.returncode in (130, 0)  # 0: it was done before the signal came
    assert "Traceback" not in messages
    assert not list((tmp_path / "lines").glob(".*"))
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "lines")["shards"] == read_manifest(data)["shards"]


@pytest.mark.slow  # a cluster is started for this alone; tests/datagen/test_ray.py has the quick ones
def test_ray_makes_the_same(data: Path, corpus: Path, fonts: Path, tmp_path: Path) -> None:
    done = vary(*lines(corpus, fonts, tmp_path / "ray", "--ray", "local", "--workers", 2))
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "ray")["shards"] == read_manifest(data)["shards"]
    assert [line for line in done.stderr.splitlines() if "tmp" not in line] == [], "Ray talks"


def test_a_bar_on_a_terminal(corpus: Path, fonts: Path, tmp_path: Path) -> None:
    """Standard error is a terminal: a bar with the label and the number of samples is drawn there."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen(
        command(*lines(corpus, fonts, tmp_path / "lines")), stdout=subprocess.DEVNULL, stderr=slave
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(master)
    assert process.wait() == 0
    assert b"painting" in shown
    assert b"/30" in shown


def test_other_options_are_another_data_set(data: Path, corpus: Path, fonts: Path) -> None:
    done = vary(*lines(corpus, fonts, data, "--seed", 4))
    assert done.returncode == 1
    assert "another folder" in done.stderr
    assert "seed: 3, now 4" in done.stderr


@pytest.mark.parametrize("what", ["", "shard-000001.tar"])
def test_preview_of_lines(data: Path, tmp_path: Path, what: str) -> None:
    sheet = tmp_path / "contact.png"
    done = vary("preview", data / what, "-o", sheet, "--samples", 8)
    assert done.returncode == 0, done.stderr
    with Image.open(sheet) as image:
        colours = image.convert("RGB").getcolors(2**24)
    assert colours is not None
    assert any(red > 150 and green < 30 for _, (red, green, _) in colours), "no captions"


class Pages:
    """Three pages, one of them Chinese, and a conversation."""

    name, length = "pages", 3

    def draw(self, index: int) -> Draw:
        image = np.full((400, 300, 3), 255, np.uint8)
        boxes = (Box("x", 40, 60, 200, 90, "line"), Box("y", 40, 60, 90, 90, "word"))
        page = Sample(
            image, "ocr", "写出这幅图中所有文字。", "第一行\nsecond", "file.pdf#1", "CC0-1.0", "zh", boxes
        )
        talk = Sample(None, "chat", "Why?", "Because.", "talk#1", "CC0-1.0", later=(("为什么？", "因为。"),))
        return Draw((page, talk))

    def describe(self) -> Record:
        return {"split": "train", "seed": 0}


def test_preview_of_pages_and_conversations(tmp_path: Path) -> None:
    write_shards(Pages(), tmp_path / "pages")
    sizes = {}
    for name, options in {
        "all": (),
        "bare": ("--no-boxes",),
        "one": ("--samples", 1),
        "last": ("--skip", 5),
    }.items():
        done = vary("preview", tmp_path / "pages", "-o", tmp_path / f"{name}.png", *options)
        assert done.returncode == 0, done.stderr
        with Image.open(tmp_path / f"{name}.png") as image:
            sizes[name] = image.size
            pixels = np.array(image)
        red = bool(((pixels == (214, 40, 40)).all(axis=2)).any())
        assert red == (name in ("all", "one")), "boxes of lines are red"
    assert sizes["all"][1] > sizes["one"][1] > sizes["last"][1]
    done = vary("preview", tmp_path / "pages", "-o", tmp_path / "none.png", "--skip", 6)
    assert done.returncode == 1
    assert "no sample after the first 6" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lines", "--corpus", "nowhere.txt", "--out", "OUT", "--samples", "5"], "nowhere.txt"),
        (["preview", "nowhere.tar", "-o", "OUT.png"], "nowhere.tar"),
        (["preview", "OUT", "-o", "OUT.png"], "OUT"),
    ],
)
def test_a_missing_file_is_named(tmp_path: Path, arguments: list[str], message: str) -> None:
    out = str(tmp_path / "out")
    done = vary(*(argument.replace("OUT", out) for argument in arguments))
    assert done.returncode == 1
    assert message.replace("OUT", out) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--samples", "0"], "at least 1"),
        ([], "--samples"),
        (["--samples", "5", "--clean-share", "1.5"], "0 to 1"),
        (["--samples", "5", "--workers", "0"], "at least 1"),
    ],
)
def test_wrong_usage(tmp_path: Path, options: list[str], message: str) -> None:
    done = vary("lines", "--corpus", "a.txt", "--out", tmp_path, *options)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_cluster_that_is_not_there(corpus: Path, fonts: Path, tmp_path: Path) -> None:
    done = vary(*lines(corpus, fonts, tmp_path / "lines", "--ray", "127.0.0.1:9"))
    assert done.returncode == 1
    assert "no Ray cluster at '127.0.0.1:9'" in done.stderr
