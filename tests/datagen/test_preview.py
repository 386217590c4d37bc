"""Contact sheets show what is there: images, boxes in their places and colours, texts of either language."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vary.datagen.fonts import FontFace, covering_face
from vary.datagen.preview import LEVEL_COLOURS, caption_face, contact_sheet, is_line
from vary.datagen.sample import Box, Sample


def sample(image: np.ndarray | None, **fields: object) -> Sample:
    texts = {"prompt": "", "answer": "answer", "source": "file#1", "licence": "CC0-1.0"}
    return Sample(image=image, task="ocr", **{**texts, **fields})


def page(height: int = 300, width: int = 200, **fields: object) -> Sample:
    return sample(np.full((height, width), 255, np.uint8), **{"prompt": "Read.", **fields})


def coloured(sheet: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """Where the sheet has exactly that colour, (N, 2), y before x."""
    return np.argwhere((np.array(sheet) == colour).all(axis=2))


def test_a_box_is_drawn_around_what_it_holds() -> None:
    """The outline lies on the pixels around the box, whatever the level; the colour tells it."""
    for level, colour in LEVEL_COLOURS.items():
        image = np.full((300, 200), 255, np.uint8)
        image[100:150, 40:90] = 7
        sheet = contact_sheet([sample(image, prompt="Read.", boxes=(Box("x", 40, 100, 90, 150, level),))])
        pixels = np.array(sheet)
        ink = np.argwhere((pixels == 7).all(axis=2))
        (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0)
        assert (bottom - top, right - left) == (49, 49), "the outline covers what it is around"
        outline = [place for place in coloured(sheet, colour) if place[0] > 25]  # below the legend
        assert np.min(outline, axis=0).tolist() == [top - 1, left - 1]
        assert np.max(outline, axis=0).tolist() == [bottom + 1, right + 1]


def test_boxes_of_a_scaled_page() -> None:
    """A page of three times the column's width: boxes are scaled with it, to within a pixel."""
    image = np.full((900, 1152, 3), 255, np.uint8)
    image[300:600, 384:768] = (0, 0, 90)
    sheet = contact_sheet([sample(image, prompt="Detect.", boxes=(Box("x", 384, 300, 768, 600, "object"),))])
    pixels = np.array(sheet).astype(int)
    ink = np.argwhere((np.abs(pixels - (0, 0, 90)) < 60).all(axis=2))  # the rim is mixed with paper
    outline = [place for place in coloured(sheet, LEVEL_COLOURS["object"]) if place[0] > 25]
    assert np.abs(np.min(outline, axis=0) - ink.min(axis=0)).max() <= 2
    assert np.abs(np.max(outline, axis=0) - ink.max(axis=0)).max() <= 2


def test_without_boxes() -> None:
    one = page(boxes=(Box("x", 10, 10, 100, 100, "word"),))
    assert len(coloured(contact_sheet([one]), LEVEL_COLOURS["word"]))
    assert not len(coloured(contact_sheet([one], boxes=False), LEVEL_COLOURS["word"]))
    assert not len(coloured(contact_sheet([page()]), LEVEL_COLOURS["word"]))


def test_lines_stand_at_their_own_size() -> None:
    image = np.arange(32 * 300, dtype=np.uint8).reshape(32, 300)
    line = sample(image)
    assert is_line(line)
    assert not is_line(page())
    assert not is_line(sample(None))
    sheet = np.array(contact_sheet([line, line]))[:, :, 0]
    windows = np.lib.stride_tricks.sliding_window_view(sheet, image.shape)
    assert (windows[:20] == image).all(axis=(2, 3)).any()


def dark_columns(sheet: Image.Image, colour: tuple[int, int, int]) -> int:
    """How many columns of the sheet have ink of about that colour; rims of letters are mixed with paper."""
    near = np.abs(np.array(sheet).astype(int) - colour).max(axis=2) < 70
    return int(near.any(axis=0).sum())


def test_question_and_answer_are_written_below() -> None:
    empty = contact_sheet([page(answer="", prompt=" ")])
    full = contact_sheet([page(answer="a long answer\nof lines", prompt="Read this.")])
    assert full.height > empty.height
    assert dark_columns(full, (20, 60, 140)) > 20, "no prompt"
    assert dark_columns(full, (176, 0, 32)) > 40, "no answer"


def test_long_texts_are_cut() -> None:
    sheets = [contact_sheet([page(answer="word " * count)]) for count in (500, 100_000)]
    assert sheets[0].size == sheets[1].size
    talk = sample(None, prompt="Why? " * 999, later=tuple(("And? " * 99, "So. " * 99) for _ in range(40)))
    assert contact_sheet([talk]).height < 700


def test_a_conversation_without_an_image() -> None:
    talk = sample(None, prompt="Why?", answer="Because.", later=(("And?", "So."),), system="Be brief.")
    one = contact_sheet([talk])
    assert one.height > contact_sheet([sample(None, prompt="Why?", answer="Because.")]).height
    assert len(coloured(one, (255, 255, 255))) > 1000, "no card"


@pytest.fixture(scope="module")
def chinese_face() -> FontFace:
    face = caption_face([sample(None, prompt="写出文字。")])
    assert face is not None, "install a Chinese font: vary/datagen/font_packages.txt"
    return face


def test_chinese_is_written_with_a_face_that_has_it(chinese_face: FontFace) -> None:
    """Each character has a picture of its own; a face without them would show the same box for all."""
    pictures = set()
    for character in "写出这幅":
        sheet = contact_sheet([sample(None, prompt=character * 3, answer="")], face=chinese_face)
        pictures.add(np.array(sheet).tobytes())
    assert len(pictures) == 4


def test_a_face_is_chosen_although_none_covers_everything(chinese_face: FontFace) -> None:
    assert caption_face([sample(None, answer="plain é")]) is None
    odd = sample(None, prompt="写\U0001f9ff\u0e5b\u1362")
    assert covering_face("写\U0001f9ff\u0e5b\u1362abc") is None, (
        "a font covers it all: the test shows nothing"
    )
    assert caption_face([odd]) is not None


texts = st.text(max_size=300)
coordinates = st.floats(-1e9, 1e9)


@settings(max_examples=60, deadline=None)
@given(
    prompt=texts,
    answer=texts,
    later=st.lists(st.tuples(texts, texts), max_size=3),
    shape=st.none() | st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    boxes=st.lists(
        st.builds(Box, texts, coordinates, coordinates, coordinates, coordinates, texts), max_size=4
    ),
)
def test_whatever_a_shard_holds_can_be_shown(
    prompt: str, answer: str, later: list[tuple[str, str]], shape: tuple[int, int] | None, boxes: list[Box]
) -> None:
    image = None if shape is None else np.zeros(shape, np.uint8)
    fields = {"prompt": prompt, "answer": answer, "later": tuple(later), "boxes": tuple(boxes)}
    sheet = contact_sheet([sample(image, **fields)] * 2, width=800)
    assert sheet.width == 800
    assert sheet.height < 2000
