"""Drafts of pages: where they come from, that they change nothing, and what is said about them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from raw_pdf import RawPage, raw_pdf, text_lines
from vary.errors import InputError, LimitError, VaryError
from vary.inputs.page_image import PageImage
from vary.inputs.pages import open_pages
from vary.outputs.document import Document
from vary.page_drafts import PageDrafts, choose_drafts, draft_pages
from vary.reader import Reader

LINES = ["The first line of the page.", "And the second, with (brackets)."]


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    """Three pages: one with text, one whose characters mean nothing, one that is an image."""
    pages = [
        RawPage(text_lines(LINES)),
        RawPage(text_lines(LINES, font="F2")),
        RawPage("q 200 0 0 200 50 50 cm /Im Do Q"),
    ]
    path = tmp_path / "three.pdf"
    path.write_bytes(raw_pdf(pages))
    return path


@pytest.fixture(scope="module")
def toy(tiny_toy_folder: Path) -> Reader:
    return Reader.load(tiny_toy_folder, device="cpu")


def answers(document: Document) -> list[Any]:
    return [(page.text, page.status, [line.confidence for line in page.lines]) for page in document.pages]


def read(reader: Reader, source: Path, **options: Any) -> Document:
    return reader.read(source, task="ocr", max_new_tokens=40, **options)


def test_the_text_layer_comes_line_by_line_where_it_means_something(pdf: Path) -> None:
    texts = [page.text for page in open_pages(pdf, dpi=50, text=True) if isinstance(page, PageImage)]
    assert texts == ["\n".join(LINES), "", ""]
    assert all(page.text == "" for page in open_pages(pdf, dpi=50) if isinstance(page, PageImage))


def test_text_outside_the_page_is_no_text_of_it(tmp_path: Path) -> None:
    path = tmp_path / "cropped.pdf"
    path.write_bytes(raw_pdf([RawPage(text_lines(LINES[:1], y=360) + text_lines(["beyond"], y=40),
                                      crop_box="0 200 300 400")]))  # fmt: skip
    [page] = open_pages(path, dpi=50, text=True)
    assert isinstance(page, PageImage)
    assert page.text == LINES[0]


def test_a_draft_changes_nothing_and_saves_steps(toy: Reader, pdf: Path, tmp_path: Path) -> None:
    plain = read(toy, pdf, pages="1", draft="off")
    assert "draft_use" not in plain.model.settings
    answer = plain.pages[0].text
    assert len(answer) >= 20
    own = tmp_path / "own.txt"
    own.write_text(answer, encoding="utf-8")
    for draft in ("pdf", "nano", "auto", own, str(own), [answer], ["x" * 500]):
        found = read(toy, pdf, pages="1", draft=draft)
        assert answers(found) == [
            (text, status, [pytest.approx(value, abs=1e-4) for value in confidences])
            for text, status, confidences in answers(plain)
        ], draft
    use = read(toy, pdf, pages="1", draft=[answer]).model.settings["draft_use"]
    assert use["pages"] == {"text": 1}
    assert use["steps"] <= use["tokens"] / 3
    assert use["tokens_per_step"] == round(use["tokens"] / use["steps"], 2)


def test_drawn_tokens_stay_the_same_too(toy: Reader, pdf: Path) -> None:
    drawn = {"temperature": 0.8, "seed": 3, "pages": "1"}
    plain = read(toy, pdf, draft="off", **drawn)
    found = read(toy, pdf, draft=[plain.pages[0].text], **drawn)
    assert found.pages[0].text == plain.pages[0].text
    assert found.model.settings["draft_use"]["accepted"] > 0


def test_every_page_has_its_own_draft(toy: Reader, pdf: Path, tmp_path: Path) -> None:
    def use(**options: Any) -> Any:
        return read(toy, pdf, **options).model.settings.get("draft_use", {}).get("pages")

    assert use(draft="pdf") == {"pdf": 1}
    assert use() == {"pdf": 1}, "by default the text layer, and this model is too small for another"
    file = tmp_path / "pages.txt"
    file.write_text("one\fand two\f\f", encoding="utf-8")
    assert use(draft=file) == {"text": 2}
    assert use(draft=file, pages="3") is None
    assert use(draft=["one", "two", "three"], pages="2-3") == {"text": 2}


def test_by_default_no_draft_where_the_answer_is_no_text(toy: Reader, pdf: Path) -> None:
    for options in ({"task": "detect"}, {"prompt": "What is it?"}, {"task": "ocr", "num_beams": 2}):
        found = toy.read(pdf, pages="1", max_new_tokens=3, **options)
        assert "draft_use" not in found.model.settings, options


def test_nano_is_asked_where_the_model_is_much_larger_and_there_is_no_text_layer() -> None:
    asked: list[int] = []

    def nano(page: PageImage) -> str:
        asked.append(page.index)
        return "what nano reads"

    image = Image.new("RGB", (10, 10))
    with_text, without = PageImage(image, "x", 0, text="a layer"), PageImage(image, "x", 1)
    large = choose_drafts("auto", nano, 1_800_000_000, reads_text=True)
    assert (large.text(with_text), large.text(without), asked) == ("a layer", "what nano reads", [1])
    assert large.pages_with == {"pdf": 1, "nano": 1}
    small = choose_drafts(None, nano, 20_000_000, reads_text=True)
    assert (small.layer, small.read) == (True, None)
    assert choose_drafts(None, nano, 1_800_000_000, reads_text=False) == PageDrafts()
    assert choose_drafts("nano", nano, 1, reads_text=False).text(with_text) == "what nano reads"


def test_what_cannot_be_is_refused(toy: Reader, tiny_nano_folder: Path, pdf: Path, tmp_path: Path) -> None:
    with pytest.raises(VaryError, match="no effect with several beams"):
        read(toy, pdf, draft="pdf", num_beams=2)
    nano = Reader.load(tiny_nano_folder, device="cpu")
    with pytest.raises(VaryError, match="drafts its lines itself"):
        nano.read(pdf, draft="pdf")
    with pytest.raises(InputError, match=r"missing\.txt: the draft cannot be read"):
        read(toy, pdf, draft=tmp_path / "missing.txt")
    with pytest.raises(VaryError, match="the text of every page"):
        read(toy, pdf, draft=[b"bytes"])
    with pytest.raises(LimitError, match=r"^page 2 of the draft has 1,000,001 characters"):
        draft_pages(["", "x" * 1_000_001])
    assert draft_pages(["x" * 1_000_000]) == ["x" * 1_000_000]
    (tmp_path / "empty.txt").write_text("\f\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"empty\.txt: the draft holds no text"):
        read(toy, pdf, draft=tmp_path / "empty.txt")
    other = tmp_path / "latin.txt"
    other.write_bytes("Stra\xdfe".encode("latin-1"))
    read(toy, pdf, draft=other, pages="1")


def test_what_drafts_of_several_documents_were_worth_is_added_up(toy: Reader, pdf: Path) -> None:
    drafts = PageDrafts()
    documents = [read(toy, pdf, pages="1", draft=kind) for kind in ("pdf", "off", ["x"], "pdf")]
    for document in documents:
        drafts.count_in(document.model.settings)
    uses = [found["draft_use"] for one in documents if (found := one.model.settings).get("draft_use")]
    use = drafts.settings()["draft_use"]
    assert use["pages"] == {"pdf": 2, "text": 1}
    for name in ("tokens", "steps", "proposed", "accepted"):
        assert use[name] == sum(one[name] for one in uses)
    assert use["tokens"] >= 120


def vary_read(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vary", "read", *arguments], capture_output=True, text=True, check=False
    )


def test_the_command(tiny_toy_folder: Path, pdf: Path, tmp_path: Path) -> None:
    model = ("--model", str(tiny_toy_folder), "--device", "cpu", "--max-new-tokens", "40", "--pages", "1")
    plain = vary_read(str(pdf), *model, "--draft", "off", "--verbose")
    manner = "read by tiny toy on cpu in float32; vision: PyTorch; decoder: PyTorch; no draft"
    assert f"three.pdf: {manner}" in plain.stderr
    own = tmp_path / "own.txt"
    own.write_text(plain.stdout, encoding="utf-8")
    found = vary_read(str(pdf), *model, "--draft", str(own), "--verbose")
    assert found.stdout == plain.stdout
    assert "draft (pages: text 1): 40 tokens in" in found.stderr
    refused = vary_read(str(pdf), *model, "--draft", "pdf", "--num-beams", "2")
    assert refused.returncode == 2
    assert "--draft has no effect where several beams are followed" in refused.stderr
