"""Boxes drawn over pages: where they stand, in which colours, and names that fonts cannot show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from vary.errors import DocumentError
from vary.outputs import overlay
from vary.outputs.document import Block, Box, Detection, Line, Page
from vary.outputs.overlay import draw_overlay, has_boxes

WHITE = (255, 255, 255)


def page(*found: Detection, lines: tuple[Line, ...] = (), size: tuple[int, int] = (400, 300)) -> Page:
    kind = "detection" if found else "paragraph"
    return Page(1, *size, "a.png", blocks=[Block(lines, kind, detections=found)])


def drawn(read: Page) -> np.ndarray:
    return np.asarray(draw_overlay(Image.new("RGB", (read.width, read.height), "white"), read)).astype(int)


def test_a_detection_is_outlined_within_its_box_and_named_above_it() -> None:
    pixels = drawn(page(Detection("cat", Box(100, 100, 200, 250), 0.9)))
    color = overlay.PALETTE[0]
    for y, x in [(100, 150), (249, 150), (200, 100), (200, 199)]:
        assert tuple(pixels[y, x]) == color
    for y, x in [(200, 99), (200, 201), (251, 150), (200, 150), (99, 199)]:
        assert tuple(pixels[y, x]) == WHITE
    plate = pixels[88:100, 100:150]
    assert (plate == color).all(-1).mean() > 0.3
    assert (plate.min(-1) > 230).any()  # white letters on it


def test_equal_names_have_equal_colours() -> None:
    boxes = [Box(10, 50, 90, 90), Box(110, 50, 190, 90), Box(210, 50, 290, 90)]
    pixels = drawn(page(*(Detection(name, box) for name, box in zip("aba", boxes, strict=True))))
    assert [tuple(pixels[89, x]) for x in (50, 150, 250)] == [
        overlay.PALETTE[0],
        overlay.PALETTE[1],
        overlay.PALETTE[0],
    ]


def test_lines_are_coloured_by_confidence_where_there_are_no_detections() -> None:
    tilted = ((20.0, 200.0), (380.0, 220.0), (380.0, 240.0), (20.0, 220.0))
    read = page(
        lines=(
            Line("sure", box=Box(20, 20, 380, 40), confidence=1.0),
            Line("unsure", box=Box(20, 60, 380, 80), confidence=0.3),
            Line("unknown", box=Box(20, 100, 380, 120)),
            Line("tilted", tilted, confidence=1.0),
            Line("without a place"),
        )
    )
    pixels = drawn(read)
    sure, unsure, unknown = (tuple(pixels[y - 2, 200]) for y in (20, 60, 100))  # around the letters
    assert sure[1] > 150 > 60 > sure[0]
    assert unsure[0] > 150 > 60 > unsure[1]
    assert unknown == overlay.UNKNOWN
    assert sure in {tuple(pixel) for pixel in pixels[206:211, 200]}
    assert (pixels[200:206, 200] == WHITE).all()
    assert (pixels[20:40, 20:380] == WHITE).all()
    assert has_boxes(read)


def test_a_page_without_boxes_stays_as_it_is() -> None:
    read = page(lines=(Line("text"),))
    assert (drawn(read) == 255).all()
    assert not has_boxes(read)


def test_the_image_is_left_alone_and_any_mode_will_do() -> None:
    for mode in ("L", "RGBA", "1", "CMYK", "RGB"):
        image = Image.new(mode, (400, 300))
        before = image.tobytes()
        assert draw_overlay(image, page(Detection("a", Box(0, 0, 400, 300)))).mode == "RGB"
        assert image.tobytes() == before


def test_another_image_is_refused() -> None:
    with pytest.raises(DocumentError, match="page 1 has 400 x 300 pixels, this image 300 x 400"):
        draw_overlay(Image.new("RGB", (300, 400)), page())


def shown(label: str, confidence: float | None = None) -> tuple[str, overlay.Font]:
    return overlay._shown_label(Detection(label, Box(0, 0, 1, 1), confidence), 3, 16)


def test_a_name_that_no_font_shows_becomes_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "FALLBACK_FONTS", ())
    assert shown("cat")[0] == "cat"
    assert shown("cat", 0.876)[0] == "cat 0.88"
    assert shown("猫")[0] == "#3"
    assert shown("cat 猫", 0.5)[0] == "#3 0.50"
    assert shown("")[0] == "#3"
    assert shown("\ud800\0")[0] == "#3"
    assert len(shown("long " * 30)[0]) <= overlay.LABEL_LETTERS + 1
    draw_overlay(Image.new("RGB", (400, 300)), page(Detection("猫\n\t狗", Box(0, 0, 10, 10))))


def test_a_font_of_the_system_is_taken_where_it_shows_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        dejavu = ImageFont.truetype("DejaVuSans.ttf", 16)
    except OSError:
        pytest.fail("DejaVu Sans is not installed: apt-get install fonts-dejavu-core")
    monkeypatch.setattr(overlay, "FALLBACK_FONTS", ("There is no such font.ttf", "DejaVuSans.ttf"))
    text, font = shown("Ελλάδα")
    assert text == "Ελλάδα"
    assert isinstance(font, ImageFont.FreeTypeFont)
    assert font.getname() == dejavu.getname()


def test_pillow_without_freetype_still_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    bitmap = ImageFont.load_default_imagefont()
    monkeypatch.setattr(overlay, "_default_font", lambda size: bitmap)
    monkeypatch.setattr(overlay, "FALLBACK_FONTS", ())
    assert shown("cat")[0] == "cat"
    assert shown("猫")[0] == "#3"
    assert (drawn(page(Detection("猫", Box(100, 100, 200, 250)))) != 255).any()


edges = st.floats(-50, 500)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.text(max_size=60), edges, edges, edges, edges), max_size=4),
    st.sampled_from([(1, 1), (8, 300), (400, 300)]),
)
def test_any_box_and_any_name_can_be_drawn(
    found: list[tuple[str, float, float, float, float]], size: tuple[int, int]
) -> None:
    detections = [
        Detection(label, Box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))
        for label, x0, y0, x1, y1 in found
    ]
    assert drawn(page(*detections, size=size)).shape == (size[1], size[0], 3)
