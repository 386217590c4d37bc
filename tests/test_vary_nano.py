"""The shipped vary-nano: what it reads, how sure it is, and that the command line brings it to the user."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from vary.assets import default_checkpoint
from vary.evaluation.metrics import error_rate
from vary.evaluation.suites import load_suite
from vary.model.presets import CHINESE_ROWS
from vary.outputs.document import Document, PageStatus
from vary.reader import Reader

EXAMPLES = Path(__file__).parent.parent / "examples"
TRUTH = (EXAMPLES / "page.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader.load(device="cpu")


@pytest.fixture(scope="module")
def page() -> Image.Image:
    return Image.open(EXAMPLES / "page.png").convert("RGB")


@pytest.fixture(scope="module")
def read(reader: Reader, page: Image.Image) -> Document:
    return reader.read(page)


def test_the_example_is_read(read: Document) -> None:
    assert read.status is PageStatus.OK
    assert error_rate(read.text, TRUTH, "en").rate < 0.005


def test_chinese_is_read(reader: Reader, shared_dir: Path) -> None:
    """Large and small print, clean, in two typefaces that were not trained on."""
    suite = {page.image.name: page for page in load_suite(shared_dir / "eval" / "pages")}
    for name in ("zh_large_0.png", "zh_short_1.png"):
        page = suite[name]
        assert error_rate(reader.read(page.image).text, page.text, page.language).rate < 0.02


def test_the_checkpoint_says_what_it_is(reader: Reader) -> None:
    """Its card has these facts too."""
    card = " ".join((default_checkpoint() / "README.md").read_text(encoding="utf-8").split())
    config = reader.model.config
    assert tuple(config.languages) == ("en", "zh")
    assert config.text_config.vocab_size == CHINESE_ROWS
    assert f"the first {CHINESE_ROWS:,} ids" in card
    assert f"| {sum(parameter.numel() for parameter in reader.model.parameters()):,}, " in card
    assert config.checkpoint_version in card


def scan(page: Image.Image) -> Image.Image:
    turned = page.convert("L").rotate(1.3, Image.Resampling.BICUBIC, fillcolor=255)
    pixels = np.asarray(turned.filter(ImageFilter.GaussianBlur(0.7)), np.float32)
    return Image.fromarray(
        (0.85 * pixels + 20 + np.random.default_rng(0).normal(0, 6, pixels.shape))
        .clip(0, 255)
        .astype(np.uint8)
    )


@pytest.mark.parametrize(
    ("change", "limit"),
    [
        (scan, 0.01),
        (lambda page: Image.fromarray(255 - np.asarray(page)), 0.01),
        (
            lambda page: page.resize((page.width * 7 // 10, page.height * 7 // 10), Image.Resampling.LANCZOS),
            0.01,
        ),
        (lambda page: page.resize((page.width * 2, page.height * 2), Image.Resampling.BICUBIC), 0.01),
    ],
    ids=["scan", "light on dark", "small", "large"],
)
def test_other_looks_of_the_same_page_are_read(
    reader: Reader, page: Image.Image, change: Callable[[Image.Image], Image.Image], limit: float
) -> None:
    assert error_rate(reader.read(change(page)).text, TRUTH, "en").rate < limit


def test_confidence_falls_with_the_quality_of_the_page(
    reader: Reader, page: Image.Image, read: Document
) -> None:
    blurred = [reader.read(page.filter(ImageFilter.GaussianBlur(radius))).confidence for radius in (1.5, 3)]
    values = [read.confidence, *blurred]
    assert None not in values
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1] + 0.1


def test_faint_print_is_read_and_trusted(reader: Reader, page: Image.Image) -> None:
    faint = reader.read(ImageEnhance.Contrast(page).enhance(0.35).filter(ImageFilter.GaussianBlur(1)))
    assert error_rate(faint.text, TRUTH, "en").rate < 0.01
    assert faint.confidence is not None
    assert faint.confidence > 0.98


def test_a_page_that_is_mostly_too_faint_is_not_ok(reader: Reader, page: Image.Image) -> None:
    """Most of its lines are taken for show-through; what is left alone is read without an error."""
    fainter = reader.read(ImageEnhance.Contrast(page).enhance(0.3).filter(ImageFilter.GaussianBlur(1.5)))
    [found] = fainter.pages
    assert len(fainter.text) < len(TRUTH) / 2
    assert found.status is not PageStatus.OK
    assert "faint line" in found.message


def test_every_word_has_its_place(read: Document) -> None:
    lines = read.pages[0].lines
    assert len(lines) > 15
    for line in lines:
        assert " ".join(word.text for word in line.words) == line.text
        lefts = [word.box.left for word in line.words if word.box]
        assert lefts == sorted(lefts)
        assert len(lefts) == len(line.words)


def run(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vary", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


def test_the_command_line_reads_what_it_can_and_names_what_it_cannot(
    page: Image.Image, tmp_path: Path
) -> None:
    """Good pages beside corrupt, empty, tiny and blank ones; equal stems; the exit code tells."""
    page.save(tmp_path / "page.png")
    (tmp_path / "other").mkdir()
    page.crop((0, 0, page.width, page.height // 3)).save(tmp_path / "other" / "page.jpg", quality=90)
    (tmp_path / "cut.png").write_bytes((tmp_path / "page.png").read_bytes()[:2000])
    (tmp_path / "empty.pdf").touch()
    Image.new("L", (1, 1)).save(tmp_path / "dot.png")
    Image.new("L", (500, 700), 255).save(tmp_path / "white.png")
    names = ["page.png", "cut.png", "empty.pdf", "dot.png", "white.png", "other/page.jpg"]
    done = run("read", *names, "-o", "out", "--device", "cpu", folder=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    for name, words in {"cut.png": "cut off", "empty.pdf": "0 bytes", "dot.png": "1 x 1 pixels"}.items():
        [message] = [line for line in done.stderr.splitlines() if name in line]
        assert words in message
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "page-2.txt",
        "page.txt",
        "white.txt",
    ]
    assert (tmp_path / "out" / "white.txt").read_text(encoding="utf-8") == ""
    text = (tmp_path / "out" / "page.txt").read_text(encoding="utf-8")
    assert error_rate(text, TRUTH, "en").rate < 0.01


def test_a_pdf_of_images_becomes_json_with_provenance(page: Image.Image, tmp_path: Path) -> None:
    blank = Image.new("RGB", page.size, "white")
    page.save(tmp_path / "two pages.pdf", save_all=True, append_images=[blank], resolution=150)
    done = run("read", "two pages.pdf", "--format", "json", "--dpi", "150", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [entry["status"] for entry in document["pages"]] == ["ok", "blank"]
    assert document["model"]["name"] == "vary-nano"
    assert error_rate(Document.from_json(done.stdout).text, TRUTH, "en").rate < 0.01


def test_unknown_tasks_are_refused_with_the_reason(tmp_path: Path, page: Image.Image) -> None:
    page.save(tmp_path / "page.png")
    done = run("read", "page.png", "--task", "detect", folder=tmp_path)
    assert done.returncode == 2
    assert "ocr" in done.stderr


def _trust_pages() -> ModuleType:
    """The pages without text that the benchmark draws."""
    file = Path(__file__).parent.parent / "benchmarks" / "trust_pages.py"
    spec = importlib.util.spec_from_file_location("trust_pages", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "kind",
    [
        "gaussian noise",
        "salt and pepper",
        "noise as JPEG",
        "gradient",
        "bare paper",
        "picture",
        "line art",
        "bar and square codes",
    ],
)
def test_pages_without_text_give_none(reader: Reader, kind: str) -> None:
    for index in (1, 2, 3):
        page, words = _trust_pages().draw(kind, 5, index)
        document = reader.read(page)
        assert not words
        assert document.text == "", index
        assert document.status in (PageStatus.BLANK, PageStatus.LOW_CONFIDENCE)


@pytest.mark.parametrize("kind", ["form", "table"])
def test_the_words_of_forms_and_tables_are_read(reader: Reader, kind: str) -> None:
    found = wanted = 0
    for index in range(1, 9):
        page, words = _trust_pages().draw(kind, 5, index)
        read = Counter(reader.read(page).text.lower().split())
        found += sum((read & Counter(word.lower() for word in words)).values())
        wanted += len(words)
    assert found > 0.9 * wanted
