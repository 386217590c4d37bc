"""`vary read --overlay` and `--format csv` as a user runs them: a page model whose answers are given."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vary.cli.main import main
from vary.cli.overlay import open_overlay
from vary.cli.writing import OutputError
from vary.outputs.document import Block, Box, Detection, Document, Line, Page
from vary.outputs.overlay import PALETTE

Run = Callable[..., Any]
Start = Callable[..., "subprocess.Popen[str]"]

SCRIPT = Path(__file__).parent / "answering_vary.py"
BOXES = "cat: [250, 250, 750, 750]; 狗: [000, 000, 100, 100]"


@pytest.fixture(scope="session")
def page_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from answering import save_page_model

    return save_page_model(tmp_path_factory.mktemp("checkpoints") / "tiny-pages")


@pytest.fixture
def read_process(page_model: Path, tmp_path: Path) -> Run:
    """Run `vary read ARGUMENTS --model ...` in a process of its own, in an empty folder."""

    def run(*arguments: str, answers: list[str], **options: Any) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), "read", *arguments, "--model", str(page_model)],
            capture_output=True,
            encoding="utf-8",
            cwd=tmp_path,
            env={**os.environ, "ANSWERS": json.dumps(answers), "OMP_NUM_THREADS": "1"},
            check=False,
            **options,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def read(
    page_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """The same in this process, which is faster."""
    from answering import Answers

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, answers: list[str]) -> tuple[int, str, str]:
        Answers(answers).use(monkeypatch.setattr)
        code = main(["read", *arguments, "--model", str(page_model), "--device", "cpu"])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def picture(path: Path, *, pages: int = 1, size: tuple[int, int] = (400, 300)) -> Path:
    images = []
    for number in range(pages):
        image = Image.new("RGB", size, (230, 230, 230))
        ImageDraw.Draw(image).ellipse((100, 75, 300, 225), fill=(60, 60, 40 * number))
        images.append(image)
    more = {"save_all": True, "append_images": images[1:]} if pages > 1 else {}
    images[0].save(path, **more)
    return path


def colour_at(path: Path, x: int, y: int) -> tuple[int, ...]:
    with Image.open(path) as image:
        pixel = image.getpixel((x, y))
    assert isinstance(pixel, tuple)
    return pixel


def test_objects_are_found_drawn_and_listed(read: Run, read_process: Run, tmp_path: Path) -> None:
    picture(tmp_path / "photo.png")
    code, out, err = read_process("photo.png", "--task", "detect", "--overlay", "out.png", answers=[BOXES])
    assert (code, out, err) == (0, f"{BOXES}\n", "")
    assert colour_at(tmp_path / "out.png", 200, 75) == PALETTE[0]
    assert colour_at(tmp_path / "out.png", 20, 29) == PALETTE[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.png", "photo.png"]
    code, out, err = read("photo.png", "--task", "detect", "--format", "csv", answers=[BOXES])
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["label"], row["left"], row["bottom"], row["left_1000"]) for row in rows] == [
        ("cat", "100.0", "225.0", "250"),
        ("狗", "0.0", "30.0", "0"),
    ]
    assert (code, err) == (0, "")


def test_what_is_odd_in_an_answer_is_said_and_the_page_is_still_fine(read: Run, tmp_path: Path) -> None:
    picture(tmp_path / "photo.png")
    answer = "cat: [750, 250, 250, 1200]; dog: [1, 2"
    code, out, err = read("photo.png", "--task", "detect", "--overlay", "o.png", answers=[answer])
    assert (code, out) == (0, f"{answer}\n")
    for words in ("photo.png: page 1: ok: ", "clipped", "another order", "ends within a box ('dog: [1, 2')"):
        assert words in err
    assert colour_at(tmp_path / "o.png", 200, 75) == PALETTE[0]


def test_several_pages_are_numbered_and_nothing_is_overwritten(read: Run, tmp_path: Path) -> None:
    picture(tmp_path / "scan.tiff", pages=3)
    (tmp_path / "out-3.png").write_text("mine", encoding="utf-8")
    answers = ["a: [0, 0, 500, 500]", "a: [500, 500, 1000, 1000]"]
    options = ("--task", "detect", "--overlay", "out.png", "--pages", "2-3", "-o", "texts")
    code, _, err = read("scan.tiff", *options, answers=answers)
    assert code == 0
    assert "overlay written to out-3-2.png, because out-3.png was there already" in err
    assert (tmp_path / "out-3.png").read_text(encoding="utf-8") == "mine"
    assert colour_at(tmp_path / "out-2.png", 100, 149) == PALETTE[0]
    assert colour_at(tmp_path / "out-3-2.png", 300, 299) == PALETTE[0]
    assert (tmp_path / "texts" / "scan.txt").is_file()


def test_a_folder_takes_the_overlays_of_several_files(read: Run, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.tiff", pages=2)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, out, err = read(
        "a.png", "broken.png", "b.tiff", "--task", "detect", "--overlay", "drawn", answers=[BOXES]
    )
    assert code == 1
    assert out.count("cat") == 3
    assert err.count("broken.png") == 1
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a.png", "b-1.png", "b-2.png"]


def test_a_pdf_page_is_drawn_as_it_was_read(read: Run, tmp_path: Path) -> None:
    Image.new("RGB", (200, 100), "gray").save(tmp_path / "page.pdf", resolution=72)
    code, _, err = read(
        "page.pdf", "--dpi", "144", "--task", "detect", "--overlay", "o.png", answers=["a: [0, 0, 500, 1000]"]
    )
    # A page of one colour has nothing to find.
    assert (code, err) == (0, "vary: page.pdf: page 1: there are no boxes to draw\n")
    picture(tmp_path / "photo.pdf")
    code, _, err = read(
        "photo.pdf",
        "--dpi",
        "144",
        "--task",
        "detect",
        "--overlay",
        "p.png",
        answers=["a: [0, 0, 500, 1000]"],
    )
    assert (code, err) == (0, "")
    with Image.open(tmp_path / "p.png") as image:
        assert image.size == (800, 600)
    assert colour_at(tmp_path / "p.png", 399, 400) == PALETTE[0]


def test_charts_become_csv_json_and_markdown(read: Run, tmp_path: Path) -> None:
    picture(tmp_path / "chart.png")
    answer = "{'title': 'Sales', 'data': {'A': {'2020': 1, '2021': 2.5}, '乙': {'2020': None}}}"
    code, out, err = read("chart.png", "--task", "chart", "-o", "chart.csv", answers=[answer])
    assert (code, out, err) == (0, "", "")
    assert (tmp_path / "chart.csv").read_text(encoding="utf-8") == "series,2020,2021\nA,1,2.5\n乙,,\n"
    _, out, _ = read("chart.png", "--task", "chart", "--format", "json", answers=[answer])
    [block] = Document.from_json(out).pages[0].blocks
    assert block.data == {"title": "Sales", "data": {"A": {"2020": 1, "2021": 2.5}, "乙": {"2020": None}}}
    _, out, _ = read("chart.png", "--task", "chart", "--format", "markdown", answers=[answer])
    assert "| series | 2020 | 2021 |" in out


def test_a_malformed_chart_is_kept(read: Run, tmp_path: Path) -> None:
    picture(tmp_path / "chart.png")
    code, out, err = read("chart.png", "--task", "chart", "--format", "csv", answers=["{'title': 'Sales"])
    assert (code, out) == (0, "page,text\n1,{'title': 'Sales\n")
    assert "page 1: ok: the chart could not be taken apart: the string at character 11 has no end" in err


def test_a_full_disk_costs_the_overlay_and_not_the_text(read_process: Run, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    code, out, err = read_process(
        "a.png",
        "b.png",
        "--task",
        "detect",
        "--overlay",
        "drawn",
        answers=[BOXES],
        # A file may not grow beyond 50,000 bytes: to the program, what a full disk is.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert code == 1
    assert out == f"{BOXES}\n\n{BOXES}\n"
    assert "a.png: no overlay was drawn" in err
    assert "File too large" in err
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["b.png"]


def test_the_lines_of_vary_nano_are_drawn_too(tmp_path: Path, tiny_nano_folder: Path) -> None:
    from painted_pages import paint

    paint("short", 0).image.convert("RGB").save(tmp_path / "page.png")
    page, overlay, texts = (str(tmp_path / name) for name in ("page.png", "o.png", "texts"))
    options = ["--model", str(tiny_nano_folder), "--device", "cpu", "--max-new-tokens", "3"]
    main(["read", page, *options, "--overlay", overlay, "-o", texts])
    with Image.open(page) as before, Image.open(overlay) as after:
        changed = np.asarray(before.convert("RGB")).astype(int) - np.asarray(after).astype(int)
    assert np.any(changed)


# What needs no model: the reader of fake_vary.py.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--overlay", "o.jpg"], "overlays are PNG files; name OUT.png, or a folder"),
        (
            ["--format", "csv", "--task", "ocr"],
            "the answer to task 'ocr' is text; choose another --format, or",
        ),
        (["-o", "x.csv", "--task", "ocr"], "or --task chart, detect, locate"),
        (["--format", "csv"], "the answer to task 'ocr' is text"),
        (["--format", "csv", "--prompt", "Hi"], "the answer to a free prompt is text"),
        (["--format", "csv", "--task", "dance"], "does not know the task 'dance'"),
        (["--language", "fr"], "invalid choice: 'fr'"),
    ],
)
def test_what_cannot_start_exits_with_2(
    vary: Run, files: Run, fake_reader: Any, options: list[str], message: str
) -> None:
    ran = vary("read", *files("a.png"), *options)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert fake_reader.calls == [] or "dance" in options


def test_one_picture_for_several_inputs_is_wrong_usage(vary: Run, files: Run, tmp_path: Path) -> None:
    ran = vary("read", *files("a.png", "b.png"), "--overlay", tmp_path / "o.png")
    assert ran.code == 2
    assert "--overlay" in ran.err
    assert "is one file for 2 inputs" in ran.err


def test_a_place_that_cannot_be_written_is_said_before_anything_is_read(
    vary: Run, files: Run, tmp_path: Path, fake_reader: Any
) -> None:
    (tmp_path / "file").touch()
    ran = vary("read", *files("a.png"), "--overlay", tmp_path / "file" / "deeper" / "o.png")
    assert (ran.code, ran.out) == (1, "")
    assert "cannot be written (Not a directory)" in ran.err
    assert fake_reader.loaded == []


def test_the_language_reaches_the_reader(vary: Run, files: Run, fake_reader: Any) -> None:
    vary("read", *files("a.png"), "--language", "zh")
    assert fake_reader.calls == [("a.png", {"language": "zh"})]


def document(*pages: Page) -> Document:
    return Document("a.png", pages)


def detected(number: int = 1, size: tuple[int, int] = (400, 300), **options: Any) -> Page:
    block = Block([Line("x")], "detection", detections=[Detection("a", Box(0, 0, 9, 9))])
    return Page(number, *size, "a.png", blocks=[block], **options)


def test_a_file_that_changed_since_it_was_read_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = picture(tmp_path / "a.png")
    draw = open_overlay(str(tmp_path / "o.png"), 1, {})
    assert not draw(path, document(detected(size=(300, 400))))
    assert "page 1 has 300 x 400 pixels, this image 400 x 300" in capsys.readouterr().err
    assert not draw(path, document(detected(1), detected(2)))
    assert "page 2 is no longer in the file" in capsys.readouterr().err
    path.unlink()
    assert not draw(path, document(detected()))
    assert "no overlay was drawn" in capsys.readouterr().err


def test_pages_that_failed_are_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = picture(tmp_path / "a.tiff", pages=2)
    draw = open_overlay(str(tmp_path / "o.png"), 1, {})
    assert draw(path, document(Page(1, 0, 0, "a.tiff", "failed"), detected(2)))
    assert draw(path, document(Page(1, 0, 0, "a.tiff", "failed")))
    assert [path.name for path in tmp_path.glob("o*")] == ["o-2.png"]
    assert capsys.readouterr().err == ""


def test_an_ending_counts_in_capitals_too(tmp_path: Path) -> None:
    draw = open_overlay(str(tmp_path / "O.PNG"), 1, {})
    assert draw(picture(tmp_path / "a.png"), document(detected()))
    assert (tmp_path / "O.PNG").is_file()


def test_an_existing_folder_may_end_in_png(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    draw = open_overlay(str(tmp_path / "folder.png"), 2, {})
    assert draw(picture(tmp_path / "a.png"), document(detected()))
    assert (tmp_path / "folder.png" / "a.png").is_file()
    with pytest.raises(OutputError):
        open_overlay(str(tmp_path / "a.png" / "o.png"), 1, {})


def test_the_pages_are_opened_as_they_were_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import vary.inputs.pages as pages

    opened: list[dict[str, Any]] = []
    real = pages.open_pages

    def spy(source: Path, **options: Any) -> Any:
        opened.append(options)
        return real(source, **options)

    monkeypatch.setattr(pages, "open_pages", spy)
    options = {"pages": "1-2", "dpi": 72.0, "password": "sesame", "task": "detect", "max_new_tokens": 5}
    draw = open_overlay(str(tmp_path / "o.png"), 1, options)
    assert draw(picture(tmp_path / "a.tiff", pages=2), document(detected(1), detected(2)))
    assert opened == [{"pages": "1-2", "dpi": 72.0, "password": "sesame"}]
