"""The reader from file to document, with a tiny random vary-nano: what becomes of pages, not their words."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from vary.backends.pytorch import PyTorchBackend
from vary.engine.lines import LineReading
from vary.errors import CheckpointError, DeviceError, InputError, TaskError
from vary.inputs.windows import Window
from vary.outputs.document import Document, PageStatus
from vary.reader import Reader

FONT = str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf")
GOOD = {PageStatus.OK, PageStatus.LOW_CONFIDENCE, PageStatus.TRUNCATED, PageStatus.LOOPED}
"""What a page with text may come to with a random model; `blank` and `failed` it may not."""


def paint(lines: list[str], size: tuple[int, int] = (600, 400)) -> Image.Image:
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        draw.text((40, 40 + 34 * number), line, fill="black", font=ImageFont.truetype(FONT, 20))
    return page


@pytest.fixture(scope="module")
def reader(tiny_nano_folder: Path) -> Reader:
    return Reader.load(tiny_nano_folder, device="cpu")


@pytest.fixture(scope="module")
def page() -> Image.Image:
    return paint(["The quick brown fox", "jumps over the lazy dog", "and runs away."])


def test_a_page_becomes_lines_with_places_words_and_confidence(reader: Reader, page: Image.Image) -> None:
    document = reader.read(page, max_new_tokens=12)
    [read] = document.pages
    assert (read.number, read.width, read.height, read.source) == (1, 600, 400, "<image>")
    assert read.status in GOOD
    assert len(read.lines) == 3
    tops = [line.box.top for line in read.lines if line.box]
    assert tops == sorted(tops)
    assert all(38 < top < 140 for top in tops)
    for line in read.lines:
        assert line.confidence is not None
        assert 0 < line.confidence < 1
        for word in line.words:
            assert word.box is not None
            assert line.box is not None
            assert line.box.left - 1 <= word.box.left <= word.box.right <= line.box.right + 1
    assert document.model.task == "ocr"
    assert document.model.name == "tiny nano"
    assert Document.from_json(document.to_json()) == document


def test_the_length_limit_is_said_and_what_was_read_stays(reader: Reader, page: Image.Image) -> None:
    [read] = reader.read(page, max_new_tokens=1).pages
    assert read.status is PageStatus.TRUNCATED
    assert "raise max_new_tokens" in read.message
    assert not read.ok


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_batching_over_windows_and_pages_changes_nothing(
    reader: Reader, tmp_path: Path, batch_size: int
) -> None:
    pages = [
        paint([f"line {n} of page {p}, " * (1 + n) for n in range(1 + p % 3)], (900, 300)) for p in range(4)
    ]
    path = tmp_path / "pages.tiff"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    together = reader.read(path, batch_size=batch_size, max_new_tokens=10)
    alone = [reader.read(page, max_new_tokens=10).pages[0] for page in pages]
    assert [page.text for page in together.pages] == [page.text for page in alone]
    assert [page.number for page in together.pages] == [1, 2, 3, 4]


def test_what_does_not_fit_into_memory_is_read_in_halves(
    reader: Reader, page: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = reader.read(page, max_new_tokens=10).text
    read_windows, sizes = PyTorchBackend._read_lines, list[int]()

    def small_memory(self: PyTorchBackend, windows: Sequence[Window], *rest: Any) -> list[LineReading]:
        sizes.append(len(windows))
        if len(windows) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee there.")
        return read_windows(self, windows, *rest)

    monkeypatch.setattr(PyTorchBackend, "_read_lines", small_memory)
    fits = 1
    assert reader.read(page, max_new_tokens=10).text == expected
    assert sizes[0] > 1
    assert sizes.count(1) == sizes[0]
    fits = 0
    with pytest.raises(DeviceError, match=r"single window of tiny nano \(CUDA out of memory.*2.00 GiB"):
        reader.read(page, max_new_tokens=10)


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((300, 200), 255, np.uint8),
        np.zeros((300, 200), np.uint8),
        np.random.default_rng(0).integers(225, 255, (300, 200), dtype=np.uint8),
    ],
    ids=["white", "black", "noise"],
)
def test_pages_without_text_are_blank_and_stay_empty(reader: Reader, pixels: np.ndarray) -> None:
    document = reader.read(pixels)
    assert document.status is PageStatus.BLANK
    assert document.ok
    assert document.text == ""


def test_one_bad_frame_does_not_take_the_others_down(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "frames.tiff"
    paint(["first"]).save(path, save_all=True, append_images=[Image.new("L", (1, 1)), paint(["third"])])
    document = reader.read(path, max_new_tokens=5)
    assert [page.status in GOOD for page in document.pages] == [True, False, True]
    assert document.pages[1].status is PageStatus.FAILED
    assert "frames.tiff" in document.pages[1].message
    assert "1 x 1" in document.pages[1].message
    assert document.status is PageStatus.FAILED


def test_exif_orientation_gives_the_same_text(reader: Reader, page: Image.Image) -> None:
    turned = page.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    turned.save(stream, "PNG", exif=exif)
    read = reader.read(stream.getvalue(), max_new_tokens=8).pages[0]
    assert (read.width, read.height) == (600, 400)
    assert read.text == reader.read(page, max_new_tokens=8).pages[0].text


def test_what_cannot_be_read_at_all_is_an_error_that_names_it(reader: Reader, tmp_path: Path) -> None:
    empty = tmp_path / "empty.png"
    empty.touch()
    with pytest.raises(InputError, match=r"empty\.png.*0 bytes"):
        reader.read(empty)


def test_a_task_that_the_checkpoint_does_not_know_is_refused(reader: Reader, page: Image.Image) -> None:
    with pytest.raises(TaskError, match="ocr"):
        reader.read(page, task="chart")


def test_a_folder_without_a_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nothing here: there is no such folder"):
        Reader.load(tmp_path / "nothing here")


def test_a_device_that_is_missing_is_an_error(tiny_nano_folder: Path) -> None:
    with pytest.raises(DeviceError, match="cpu"):
        Reader.load(tiny_nano_folder, device="cuda:7")


def test_progress_counts_pages(reader: Reader, page: Image.Image) -> None:
    seen: list[tuple[int, int | None]] = []
    reader.read(page, max_new_tokens=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 1)]


def test_reading_is_silent_and_needs_no_network(
    tiny_nano_folder: Path, tmp_path: Path, page: Image.Image
) -> None:
    page.save(tmp_path / "page.png")
    program = """
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("the network was used")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import vary
document = vary.read(sys.argv[2], model=sys.argv[1], device="cpu", max_new_tokens=3)
assert len(document.pages) == 1
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tiny_nano_folder), str(tmp_path / "page.png")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_lines_that_are_too_faint_are_not_lost_in_silence(reader: Reader) -> None:
    page = Image.new("RGB", (600, 200), "white")
    font = ImageFont.truetype(FONT, 20)
    ImageDraw.Draw(page).text((40, 40), "a line that is hardly there", fill=(226, 226, 226), font=font)
    read = reader.read(page, max_new_tokens=5).pages[0]
    assert read.status is PageStatus.BLANK
    assert "1 faint line" in read.message
    ImageDraw.Draw(page).text((40, 100), "and one that is", fill="black", font=font)
    read = reader.read(page, max_new_tokens=5).pages[0]
    assert len(read.lines) == 1
    assert "1 faint line" in read.message
