"""Tasks through the whole reader: the prompt that a model gets, and what becomes of its answer."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from answering import Answers, save_page_model
from vary.errors import TaskError
from vary.inputs.pages import open_pages
from vary.model.image_processing import PUBLISHED_IMAGE_SETTINGS, VaryImageProcessor
from vary.outputs.document import BlockKind, Document, PageStatus
from vary.reader import Reader


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_page_model(tmp_path_factory.mktemp("checkpoints") / "tiny pages")


@pytest.fixture(scope="module")
def reader(folder: Path) -> Reader:
    return Reader.load(folder, device="cpu")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the next answers; returns what the prompts are recorded in."""

    def give(*texts: str) -> Answers:
        stand_in = Answers(texts)
        stand_in.use(monkeypatch.setattr)
        return stand_in

    return give


def picture(width: int = 400, height: int = 300) -> Image.Image:
    page = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(page).rectangle((width // 4, height // 4, 3 * width // 4, 3 * height // 4), fill="black")
    return page


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "Provide the ocr results of this image."),
        ({"language": "zh"}, "写出这幅图中所有文字。"),
        ({"task": "markdown", "language": "zh"}, "将这幅图转成markdown格式。"),
        ({"task": "table", "language": "zh"}, "Convert this table to latex format."),
        ({"task": "detect", "prompt": "cat, dog"}, "Detect cat, dog in this image"),
        ({"task": "locate", "prompt": "the left woman"}, "Detect an object: the left woman."),
        ({"prompt": "OCR with format: "}, "OCR with format: "),
        ({"prompt": "  two\n\n lines \n"}, "  two\n\n lines \n"),
    ],
)
def test_the_exact_prompt_reaches_the_model(
    reader: Reader, answers: Any, options: dict[str, str], expected: str
) -> None:
    asked = answers("yes")
    document = reader.read(picture(), **options)
    [prompt] = asked.prompts
    assert prompt.endswith(f"</img>\n{expected}<|im_end|><|im_start|>assistant\n")
    assert document.model.prompt == expected
    assert document.model.settings.get("language") == options.get("language")


def test_a_checkpoint_with_its_own_wordings(tmp_path: Path, answers: Any) -> None:
    own = {"ocr": "OCR: ", "markdown": ""}
    reader = Reader.load(save_page_model(tmp_path / "own", prompts=own), device="cpu")
    asked = answers("yes")
    for task in ("ocr", "markdown", "caption"):
        reader.read(picture(), task=task)
    assert [prompt.partition("</img>\n")[2].partition("<|im_end|>")[0] for prompt in asked.prompts] == [
        "OCR: ",
        "",
        "Describe the content of this image in a sentence.",
    ]


def test_a_language_that_the_checkpoint_does_not_know_is_refused(tiny_nano_folder: Path) -> None:
    reader = Reader.load(tiny_nano_folder, device="cpu")
    with pytest.raises(TaskError, match="not trained for language 'zh'; it knows en"):
        reader.read(picture(), language="zh")


def test_detections_and_charts_stand_in_the_document(reader: Reader, answers: Any) -> None:
    answers("cat: [250, 250, 750, 750]")
    document = reader.read(picture(), task="detect")
    [found] = document.pages[0].detections
    assert (found.label, found.box.edges) == ("cat", (100, 75, 300, 225))
    assert found.confidence == pytest.approx(0.905, abs=1e-3)
    assert document.pages[0].status is PageStatus.OK
    answers("{'title': 'T', 'data': {'甲': 1}}")
    document = reader.read(picture(), task="chart")
    assert document.pages[0].blocks[0].data == {"title": "T", "data": {"甲": 1}}
    assert Document.from_json(document.to_json()) == document


@pytest.mark.parametrize(
    ("task", "answer"),
    [("detect", "person: " + ", ".join(f"[{n:03d}, 100, {n + 9:03d}, 900]" for n in range(0, 600, 10))),
     ("chart", str({"title": "T", "data": {str(year): {"A": 0, "B": 0} for year in range(1990, 2020)}})),
     ("table", "\n".join(["a & b \\\\"] * 30))],
)  # fmt: skip
def test_long_regular_answers_are_no_loops(reader: Reader, answers: Any, task: str, answer: str) -> None:
    answers(answer)
    [page] = reader.read(picture(), task=task).pages
    assert page.status is PageStatus.OK
    assert page.message == ""


def test_an_answer_that_is_cut_off_keeps_its_boxes(reader: Reader, answers: Any) -> None:
    answers("cat: [000, 000, 500, 500]; dog: [100, 100, 200, 200]")
    [page] = reader.read(picture(), task="detect", max_new_tokens=40).pages
    assert page.status is PageStatus.TRUNCATED
    assert [found.label for found in page.detections] == ["cat"]
    assert "raise max_new_tokens" in page.message
    assert "ends within a box" in page.message
    assert page.blocks[0].kind is BlockKind.DETECTION


EXIF_ORIENTATIONS = st.sampled_from([1, 3, 6, 8])
SIDES = st.integers(150, 700)


def stored(page: Image.Image, orientation: int) -> bytes:
    """A PNG file that shows `page` upright only by its EXIF orientation."""
    turns = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turned = page.transpose(turns[orientation]) if orientation in turns else page
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    turned.save(stream, "PNG", exif=exif)
    return stream.getvalue()


def as_pdf(page: Image.Image, rotation: int) -> bytes:
    """A PDF page of 1 point per pixel whose /Rotate turns a turned picture upright."""
    turned = (
        page.transpose(
            {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}[
                rotation
            ]
        )
        if rotation
        else page
    )
    stream = io.BytesIO()
    turned.save(stream, "PDF", resolution=72, quality=95)
    file = pypdfium2.PdfDocument(stream.getvalue())
    file[0].set_rotation(rotation)
    out = io.BytesIO()
    file.save(out)
    return out.getvalue()


def a_perfect_model(pixels: np.ndarray) -> str:
    """Where the dark rectangle stands in what the model is shown, as the model would write it.

    An edge between two pixels shows in how gray its pixel is, so the sums of darkness find it exactly.
    """
    image = pixels[0].mean(axis=0)
    dark = (image.max() - image) / (image.max() - image.min())
    spans = []
    for axis in (0, 1):
        profile = dark.max(axis=axis)
        middle = int(np.argmax(profile > 0.5) + np.flatnonzero(profile > 0.5)[-1]) // 2
        spans.append((middle - profile[:middle].sum(), middle + profile[middle:].sum()))
    (left, right), (top, bottom) = spans
    edges = (left, top, right, bottom)
    sides = (image.shape[1], image.shape[0]) * 2
    numbers = [min(1000, max(0, round(1000 * edge / side))) for edge, side in zip(edges, sides, strict=True)]
    return "rectangle: [{:03d}, {:03d}, {:03d}, {:03d}]".format(*numbers)


@settings(
    max_examples=20,
    phases=[Phase.reuse, Phase.generate],  # shrinking would take longer than it helps
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(SIDES, SIDES, st.data())
@pytest.mark.parametrize("published", ["vary_toy", "vary_tiny"])
@pytest.mark.parametrize("kind", ["exif", "pdf"])
def test_known_rectangles_come_back_within_a_pixel(
    reader: Reader, answers: Any, kind: str, published: str, width: int, height: int, data: st.DataObject
) -> None:
    """Drawn on a page, turned, stored, opened, squeezed into the model's square, written, and back."""
    left, top = data.draw(st.integers(0, width - 60)), data.draw(st.integers(0, height - 60))
    right, bottom = data.draw(st.integers(left + 50, width)), data.draw(st.integers(top + 50, height))
    assume((right - left, bottom - top) != (width, height))  # a page all black has no rectangle to see
    page = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(page).rectangle((left, top, right - 1, bottom - 1), fill="black")
    if kind == "exif":
        source, options = stored(page, data.draw(EXIF_ORIENTATIONS)), {}
    else:
        source, options = as_pdf(page, data.draw(st.sampled_from([0, 90, 180, 270]))), {"dpi": 72.0}
    [opened] = open_pages(source, **options)
    processor = VaryImageProcessor(**PUBLISHED_IMAGE_SETTINGS[published])
    answers(a_perfect_model(np.asarray(processor(opened.image)["pixel_values"])))
    [read] = reader.read(source, task="detect", **options).pages
    assert (read.width, read.height) == (width, height)
    [found] = read.detections
    for edge, expected in zip(found.box.edges, (left, top, right, bottom), strict=True):
        assert abs(edge - expected) <= 1.0
