"""Text set from glyphs that are drawn once, compared with what PIL paints of the whole text."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from vary.datagen.fonts import SHAPING, FontCatalogue, FontFace, load_font
from vary.datagen.lines.typesetter import Placed, Typesetter, ink_box

TEXTS = ("Typography quickly, (over) it", "AVATAR To. Wave 1875", "office fluff attic Qu", "j", "x  y")


@pytest.fixture(params=["DejaVu Sans Book", "STIXGeneral Regular", "DejaVu Sans Bold Oblique"])
def face(request: pytest.FixtureRequest, catalogue: FontCatalogue) -> FontFace:
    return next(face for face in catalogue.faces if face.name == request.param)


def set_by_us(placed: list[Placed] | None) -> np.ndarray:
    picture = Image.new("L", (900, 100))
    canvas = ImageDraw.Draw(picture)
    assert placed is not None
    for (mask, left, top, _), column, row in placed:
        canvas.draw.draw_bitmap((column + left, row + top), mask, 255)
    return np.asarray(picture).astype(int)


def set_by_pil(
    face: FontFace, size: float, shaped: bool, text: str, place: tuple[float, float]
) -> np.ndarray:
    picture = Image.new("L", (900, 100))
    layout = ImageFont.Layout.RAQM if shaped else ImageFont.Layout.BASIC
    font = load_font(face.path, face.index, size, int(layout))
    features = SHAPING if shaped else None
    ImageDraw.Draw(picture).text(place, text, fill=255, font=font, anchor="ls", features=features)
    return np.asarray(picture).astype(int)


def box_of(ink: np.ndarray) -> tuple[int, int, int, int]:
    ys, xs = np.nonzero(ink)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


@pytest.mark.parametrize("size", [13.0, 21.7, 40.0])
@pytest.mark.parametrize("shaped", [False, True], ids=["plain", "shaped"])
def test_text_is_set_as_pil_paints_it(face: FontFace, size: float, shaped: bool) -> None:
    typesetter = Typesetter(face, size, shaped)
    for text in TEXTS:
        for place in ((10.0, 60.0), (10.4, 60.3), (9.8, 59.6)):
            placed = typesetter.set(text, *place)
            ours, theirs = set_by_us(placed), set_by_pil(face, size, shaped, text, place)
            assert ink_box(placed) == box_of(ours)
            assert np.abs(np.subtract(box_of(ours), box_of(theirs))).max() <= 1
            # Letters may stand a pixel aside, where positions round the other way; never more.
            grown = [
                np.max([np.roll(ink, step, axis=1) for step in (-1, 0, 1)], axis=0) for ink in (ours, theirs)
            ]
            assert (ours <= grown[1] + 40).mean() > 0.9999
            assert (theirs <= grown[0] + 40).mean() > 0.9999


def test_plain_text_differs_in_no_pixel(face: FontFace) -> None:
    typesetter = Typesetter(face, 24.0, False)
    for text in ("the quick brown fox", "12 + 30 = 42 {x}"):
        ours = set_by_us(typesetter.set(text, 20.0, 60.0))
        assert np.array_equal(ours, set_by_pil(face, 24.0, False, text, (20.0, 60.0)))


def test_shaping_kerns_and_joins(catalogue: FontCatalogue) -> None:
    face = next(face for face in catalogue.faces if face.name == "DejaVu Sans Book")
    plain, shaped = Typesetter(face, 40.0, False), Typesetter(face, 40.0, True)
    right = {}
    for name, typesetter in (("plain", plain), ("shaped", shaped)):
        box = ink_box(typesetter.set("AVAVAV", 10.0, 60.0) or [])
        assert box is not None
        right[name] = box[2]
    assert right["shaped"] < right["plain"] - 5
    assert [len(typesetter.set("office", 0.0, 0.0) or []) for typesetter in (plain, shaped)] == [6, 4]


def test_blanks_have_no_ink_and_other_characters_must_have_some(face: FontFace) -> None:
    typesetter = Typesetter(face, 20.0, False)
    assert typesetter.set("  ", 0.0, 0.0) == []
    assert len(typesetter.set("a b", 0.0, 0.0) or []) == 2
    assert typesetter.set("a\u200bb", 0.0, 0.0) is None
    assert ink_box([]) is None


def test_what_was_set_before_changes_nothing(face: FontFace) -> None:
    used, fresh = Typesetter(face, 20.0, True), Typesetter(face, 20.0, True)
    for text in TEXTS:
        used.set(text, 3.0, 3.0)
    one, two = used.set("office AV", 10.2, 60.0), fresh.set("office AV", 10.2, 60.0)
    assert np.array_equal(set_by_us(one), set_by_us(two))
