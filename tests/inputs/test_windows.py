"""Line windows on painted pages with known boxes."""

from __future__ import annotations

import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from painted_pages import KINDS, WORDS, Box, Painted, blank, font, paint, scan, squares, turn
from vary.inputs import lines
from vary.inputs.lines import MOST_SEGMENTS, Pieces, _largest_segments
from vary.inputs.windows import (
    CutJitter,
    PageLines,
    TextLine,
    cut_line,
    find_lines,
    line_windows,
    whole_window,
)

SANS = "DejaVuSans.ttf"


def overlap(first: Box, second: Box) -> float:
    """Intersection over union."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return width * height / (sum(areas) - width * height)


def match(page: Painted, found: PageLines, angle: float = 0.0) -> list[int]:
    """For each found line the number of the true line that it covers (IoU at least 0.7), or -1."""
    truth: list[Box] = []
    for box in page.boxes:
        corners = turn(box, angle, page.image.size) @ found.matrix[:, :2].T + found.matrix[:, 2]
        left, right = corners[[0, 3], 0].mean(), corners[[1, 2], 0].mean()
        truth.append((left, corners[:2, 1].mean(), right, corners[2:, 1].mean()))
    result: list[int] = []
    for line in found.lines:
        scores = [overlap((line.left, line.top, line.right, line.bottom), box) for box in truth]
        best = int(np.argmax(scores))
        result.append(best if scores[best] >= 0.7 and best not in result else -1)
    return result


@pytest.mark.parametrize("scanned", [False, True], ids=["clean", "scan"])
def test_lines_are_found_on_every_kind_of_page_and_in_order(scanned: bool) -> None:
    true = found = matched = 0
    disorder, skews = [], []
    for kind in KINDS:
        for seed in range(2 if scanned else 4):
            page = paint(kind, seed)
            image, angle = scan(page, seed) if scanned else (page.image, 0.0)
            lines = find_lines(np.asarray(image))
            hits = match(page, lines, angle)
            good = [hit for hit in hits if hit >= 0]
            true, found, matched = true + len(page.boxes), found + len(hits), matched + len(good)
            disorder += [] if good == sorted(good) else [f"{kind} {seed}"]
            skews += [] if kind == "short" else [abs(lines.skew - angle)]
    assert matched / true >= (0.97 if scanned else 0.99)
    assert matched / found >= (0.97 if scanned else 0.99)
    assert disorder == []
    assert max(skews) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_lines_over_many_seeds(kind: str) -> None:
    for scanned, goal in ((False, 0.99), (True, 0.97)):
        true = found = matched = 0
        for seed in range(4, 30):
            page = paint(kind, seed)
            image, angle = scan(page, seed) if scanned else (page.image, 0.0)
            hits = match(page, find_lines(np.asarray(image)), angle)
            true, found = true + len(page.boxes), found + len(hits)
            matched += sum(hit >= 0 for hit in hits)
        assert matched >= goal * max(true, found)


@pytest.mark.parametrize("size", [16, 24, 40])
@pytest.mark.parametrize("scanned", [False, True], ids=["clean", "scan"])
def test_lines_of_square_characters_are_not_taken_apart_at_their_grid(size: int, scanned: bool) -> None:
    page = squares(size, size, columns=900 // size)
    image, angle = scan(page, size) if scanned else (page.image, 0.0)
    lines = find_lines(np.asarray(image))
    assert match(page, lines, angle) == list(range(len(page.boxes)))
    assert len({round(line.text_height, 1) for line in lines.lines}) <= 3
    assert np.median([line.text_height for line in lines.lines]) == pytest.approx(size, rel=0.12)


def noise(deviation: float, paper: float, blur: float = 0.0) -> np.ndarray:
    pixels = np.random.default_rng(5).normal(paper, deviation, (1754, 1240))
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(blur)) if blur else image)


def specks(count: int, low: float, high: float) -> np.ndarray:
    rng = np.random.default_rng(count)
    page = blank(paper=245)
    draw = ImageDraw.Draw(page.image)
    for _ in range(count):
        x, y, radius = rng.integers(0, 1240), rng.integers(0, 1754), rng.uniform(low, high) / 2
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=int(rng.integers(0, 120)))
    return np.asarray(page.image)


def bleed_through(share: float) -> np.ndarray:
    behind = ImageOps.mirror(paint("single", 1).image).filter(ImageFilter.GaussianBlur(1.5))
    faint = 255 - (255 - np.asarray(behind, dtype=np.float32)) * share
    return np.clip(faint + noise(3, 0), 0, 255).astype(np.uint8)


def shadow() -> np.ndarray:
    page = np.clip(noise(4, 235) - 200 * np.exp(-np.arange(1240) / 25.0), 0, 255).astype(np.uint8)
    page[:, -18:] = 15
    page[:25] = 10
    return page


def ruled() -> np.ndarray:
    page = blank()
    draw = ImageDraw.Draw(page.image)
    draw.rectangle((60, 60, 1180, 1694), outline=0, width=4)
    draw.line((100, 400, 1100, 400), fill=0, width=3)
    draw.line((100, 500, 1100, 500), fill=120, width=1)
    return np.asarray(page.image)


def salt() -> np.ndarray:
    page = np.full((1754, 1240), 255, np.uint8)
    page[np.random.default_rng(1).random(page.shape) < 0.02] = 0
    return page


def compressed(pixels: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=30)
    return np.asarray(Image.open(buffer))


BLANK = {
    "white": lambda: np.full((1754, 1240), 255, np.uint8),
    "black": lambda: np.zeros((1754, 1240), np.uint8),
    "gray": lambda: np.full((1754, 1240), 128, np.uint8),
    "gradient": lambda: np.linspace(90, 250, 1754)[:, None].repeat(1240, 1).astype(np.uint8),
    "grain": lambda: noise(5, 235),
    "strong noise": lambda: noise(60, 128),
    "soft noise": lambda: noise(60, 128, blur=2),
    "compressed noise": lambda: compressed(noise(12, 235)),
    "salt": salt,
    "few specks": lambda: specks(20, 2, 6),
    "specks": lambda: specks(200, 1, 5),
    "much dust": lambda: specks(1000, 1, 4),
    "blots": lambda: specks(8, 6, 10),
    "compressed specks": lambda: compressed(specks(60, 2, 6)),
    "bleed-through": lambda: bleed_through(0.13),
    "shadow at the edges": shadow,
    "rules and border": ruled,
    "one pixel": lambda: np.zeros((1, 1), np.uint8),
    "a strip": lambda: np.random.default_rng(2).integers(0, 256, (3, 50)).astype(np.uint8),
}


@pytest.mark.parametrize("kind", BLANK)
def test_blank_pages_are_blank(kind: str) -> None:
    pixels = BLANK[kind]()
    assert line_windows(pixels).blank
    assert line_windows(pixels).windows == []
    assert whole_window(pixels).blank


@pytest.mark.parametrize("text", ["7", "12", "A", "IV", "- 5 -", "Dear Sir", "www", "A. B."])
@pytest.mark.parametrize("deviation", [0.0, 5.0])
def test_a_single_short_line_is_text(text: str, deviation: float) -> None:
    page = blank(paper=250)
    page.text(600, 1600, text, font(SANS, 22))
    pixels = np.clip(np.asarray(page.image) + noise(deviation, 0.0).astype(np.float32), 0, 255).astype(
        np.uint8
    )
    lines = find_lines(pixels)
    assert match(page, lines) == [0]
    assert lines.lines[0].text_height == pytest.approx(22, rel=0.12 if text != "www" else 0.4)


@pytest.mark.parametrize(
    ("size", "text"), [(8, "tiny little text here"), (14, "3.1 small"), (150, "Very big")]
)
def test_letters_of_all_sizes(size: int, text: str) -> None:
    page = blank()
    page.text(100, 500, text, font(SANS, size))
    lines = find_lines(np.asarray(page.image))
    assert match(page, lines) == [0]
    assert lines.lines[0].text_height == pytest.approx(size, rel=0.15)


def test_tight_crops_of_a_line() -> None:
    page = blank(620, 60)
    page.text(10, 5, "Crop of a line, quite tight", font(SANS, 40))
    assert match(page, find_lines(np.asarray(page.image))) == [0]


@pytest.mark.parametrize(("ground", "ink"), [(0, 255), (40, 230), (250, 150)])
def test_light_on_dark_is_found_and_cut_dark_on_light(ground: int, ink: int) -> None:
    page = blank(paper=ground)
    for row in range(6):
        page.text(100, 200 + 40 * row, "light words on dark ground", font(SANS, 24), fill=ink)
    windows = line_windows(page.image).windows
    assert len(windows) == 6
    for window in windows:
        assert np.median(window.image) > window.image.min() + 80


def test_a_dark_panel_on_a_light_page() -> None:
    page = blank()
    ImageDraw.Draw(page.image).rectangle((100, 60, 1140, 120), fill=40)
    page.text(120, 72, "White heading on a dark bar", font(SANS, 32), fill=250)
    page.text(120, 200, "and dark words below the bar", font(SANS, 24))
    lines = find_lines(np.asarray(page.image))
    assert match(page, lines) == [0, 1]
    assert [line.inverted for line in lines.lines] == [True, False]


def test_rules_and_underlines_are_no_lines_and_their_text_is_found() -> None:
    page = blank()
    page.text(100, 660, "Underlined jumping words", font(SANS, 22))
    draw = ImageDraw.Draw(page.image)
    draw.line((100, 684, 400, 684), fill=0, width=2)
    draw.line((100, 720, 1140, 720), fill=0, width=2)
    for row in range(4):
        page.text(100, 740 + 34 * row, f"Ordinary text below the rule, line {row}", font(SANS, 22))
    draw.rectangle((30, 30, 1210, 1720), outline=0, width=3)
    assert match(page, find_lines(np.asarray(page.image))) == [0, 1, 2, 3, 4]


def test_paragraphs_headings_and_page_numbers_are_blocks() -> None:
    page = blank()
    face = font(SANS, 22)
    page.text(100, 90, "A heading", font(SANS, 44))
    rng = np.random.default_rng(0)
    page.paragraph(rng, (100, 200, 1100, 200 + 4 * 30 + 1), face)
    page.paragraph(rng, (100, 360, 1100, 360 + 3 * 30 + 1), face)
    page.text(600, 1650, "17", face)
    lines = find_lines(np.asarray(page.image)).lines
    assert [(line.block, line.line) for line in lines] == [
        (0, 0),
        *((1, row) for row in range(4)),
        *((2, row) for row in range(3)),
        (3, 0),
    ]


def test_polygons_lead_back_to_the_turned_page() -> None:
    page = paint("single", 0)
    for angle in (3.0, -7.5):
        turned = page.image.rotate(-angle, Image.Resampling.BICUBIC, fillcolor=255)
        found = find_lines(np.asarray(turned))
        assert found.skew == pytest.approx(angle, abs=0.05)
        for corners in found.polygons(found.lines):
            # the far corners of long lines tell the most about the rotation
            ends = [turn(box, angle, page.image.size) for box in page.boxes]
            polygon = np.array(corners)
            middle = polygon.mean(axis=0)
            true = min(ends, key=lambda corners: float(np.abs(corners.mean(axis=0) - middle).sum()))
            assert np.abs(polygon - true).max() < 2.5


def test_an_upright_page_is_not_resampled() -> None:
    pixels = np.asarray(paint("two", 1).image)
    found = find_lines(pixels)
    assert found.skew == 0.0
    assert (found.gray == pixels).all()
    assert (found.matrix == [[1, 0, 0], [0, 1, 0]]).all()


def baseline_row(image: np.ndarray) -> int:
    """The lowest row with much ink, for letters without descenders."""
    ink = (255.0 - image).sum(axis=1)
    return int(np.flatnonzero(ink > 0.35 * ink.max())[-1])


@pytest.mark.parametrize("size", [12, 20, 32, 70])
def test_cut_lines_have_one_scale_and_one_baseline(size: int) -> None:
    page = blank()
    face = font(SANS, size)
    texts = ["The quick brown fox had lumps", "no sum can ever move us on a", "when will the hotel be built"]
    for row, text in enumerate(texts):
        page.text(60, 100 + round(1.4 * size) * row, text, face)
    found = find_lines(np.asarray(page.image))
    cuts = [cut_line(found.gray, line) for line in found.lines]
    assert [cut.shape[0] for cut in cuts] == [32, 32, 32]
    for cut, box in zip(cuts, page.boxes, strict=True):
        scale = cut.shape[1] / (box[2] - box[0])
        assert scale == pytest.approx(24 / size, rel=0.12)  # letters of 1 em in 24 of 32 pixels
        assert abs(baseline_row(cut) - 22) <= 1
    tall = cut_line(found.gray, found.lines[0], line_height=64)
    assert tall.shape[0] == 64
    assert tall.shape[1] == pytest.approx(2 * cuts[0].shape[1], abs=3)


@pytest.mark.parametrize("size", [14, 16, 19])
def test_a_faint_full_stop_at_the_end_of_a_blurred_line_is_kept(size: int) -> None:
    page = blank(paper=235)
    page.text(100, 200, "the blurred line ends with a full stop.", font("STIXGeneral.ttf", size), fill=60)
    blurred = page.image.filter(ImageFilter.GaussianBlur(1.6))
    line = find_lines(np.asarray(blurred)).lines[0]
    assert page.boxes[0][2] - 1 <= line.right <= page.boxes[0][2] + 5


def test_jitter_moves_scales_and_widens() -> None:
    page = paint("single", 3)
    found = find_lines(np.asarray(page.image))
    line = found.lines[3]
    plain = cut_line(found.gray, line)
    assert plain.dtype == np.uint8
    assert baseline_row(cut_line(found.gray, line, jitter=CutJitter(shift=3))) == baseline_row(plain) + 3
    wide = cut_line(found.gray, line, jitter=CutJitter(left=6, right=10))
    assert wide.shape[1] == plain.shape[1] + 16
    large = cut_line(found.gray, line, jitter=CutJitter(scale=1.1))
    assert large.shape[1] == pytest.approx(1.1 * plain.shape[1], abs=2)


def test_lines_beyond_the_page_edge_are_filled_with_paper() -> None:
    page = blank(300, 40, paper=200)
    page.text(0, 2, "edge to edge of it", font(SANS, 30))
    line = find_lines(np.asarray(page.image)).lines[0]
    cut = cut_line(np.asarray(page.image), replace(line, left=-40.0, right=400.0))
    assert (cut[:, :20] == 200).all()
    assert (cut[:, -20:] == 200).all()


def test_lines_wider_than_the_limit_are_split_at_word_gaps() -> None:
    page = blank(2400, 200)
    words = "several words that make one very long line for a model of little width to be read in pieces"
    page.text(40, 80, words, font(SANS, 40))
    page.text(40, 140, "and another", font(SANS, 40))
    whole = line_windows(page.image)
    assert [window.line for window in whole.windows] == [0, 1]
    parts = line_windows(page.image, max_width=400)
    assert all(window.image.shape[1] <= 400 for window in parts.windows)
    *pieces, last = parts.windows
    assert [(window.line, window.piece) for window in pieces] == [(0, n) for n in range(len(pieces))]
    assert (last.line, last.piece) == (1, 0)
    ink = np.asarray(page.image)[75:130] < 128
    for before, after in zip(parts.windows[:-2], parts.windows[1:-1], strict=True):
        gap = ink[:, round(before.polygon[1][0]) : round(after.polygon[0][0])]
        assert gap.shape[1] >= 6
        assert not gap.any()


def test_whole_window_is_the_page_itself() -> None:
    page = paint("short", 0).image.convert("RGB")
    windows = whole_window(page)
    assert not windows.blank
    assert windows.windows[0].image.shape == (1754, 1240, 3)
    assert windows.windows[0].polygon == ((0.0, 0.0), (1240.0, 0.0), (1240.0, 1754.0), (0.0, 1754.0))


def test_a_page_that_is_not_asked_for_text_is_blank_only_if_it_is_of_one_colour() -> None:
    sky = np.full((600, 800, 3), (90, 150, 220), np.uint8)
    assert whole_window(sky, text=False).blank
    sky[40:60, 30:70] = 20
    assert whole_window(sky).blank
    assert not whole_window(sky, text=False).blank
    red, green = (200, 0, 0), (0, 102, 0)  # the same gray
    field = Image.new("RGB", (300, 200), green)
    field.paste(red, (100, 50, 200, 150))
    assert np.ptp(np.asarray(field.convert("L"))) <= 1
    assert not whole_window(field, text=False).blank


def test_colour_and_gray_give_the_same_lines() -> None:
    page = paint("short", 2).image
    polygons = [
        [window.polygon for window in line_windows(image).windows] for image in (page, page.convert("RGB"))
    ]
    assert polygons[0] == polygons[1] != []


def test_lines_are_deterministic_and_leave_their_input_alone() -> None:
    pixels = np.array(scan(paint("two", 0), 0)[0])
    before = pixels.copy()
    first: list[TextLine] = find_lines(pixels).lines
    assert find_lines(pixels).lines == first
    assert (pixels == before).all()


@pytest.mark.parametrize(
    "page", [np.zeros((0, 5), np.uint8), np.zeros((5, 5, 3), np.uint8), np.zeros((5, 5), np.float32)]
)
def test_what_is_no_gray_page_is_refused(page: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(H, W\) uint8"):
        find_lines(page)


def test_a_picture_without_text_is_no_blank_page() -> None:
    """Whole-page models caption and detect: what they are asked about need not hold a letter."""
    pixels = np.full((600, 400), 255, np.uint8)
    cv2.circle(pixels, (200, 300), 120, 40, -1)
    assert not whole_window(pixels).blank
    coarse = np.random.default_rng(1).integers(0, 255, (8, 6), dtype=np.uint8)
    assert not whole_window(cv2.resize(coarse, (400, 600), interpolation=cv2.INTER_CUBIC)).blank


def test_strokes_of_two_pixels_are_no_joined_letters() -> None:
    """Dashes one pixel high, and some of two that tower over them: there is no row between to cut at."""
    rng = np.random.default_rng(0)
    for _ in range(310):
        height, width = rng.integers(4, 60), rng.integers(20, 200)
        pixels = np.full((height, width), 255, np.uint8)
        for row in range(2, height - 2, int(rng.integers(2, 6))):
            column = 0
            while column < width - 6:
                length = int(rng.integers(1, 5))
                thick = 2 if rng.random() < 0.1 else 1
                pixels[row : row + thick, column : column + length] = 0
                column += length + int(rng.integers(1, 4))
        find_lines(pixels)


def test_a_printers_screen_beside_text_does_not_take_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dots without number, each by itself: not all of them are compared, and the text is found."""
    monkeypatch.setattr(lines, "MOST_SEGMENTS", 200)
    rng = np.random.default_rng(4)
    page = blank(1200, 1600)
    face = font("DejaVuSans.ttf", 30)
    for row in range(6):
        words = [WORDS[index] for index in rng.integers(0, len(WORDS), 8)]
        page.text(80, 60 + 60 * row, " ".join(words), face)
    pixels = np.asarray(page.image).copy()
    for y in range(600, 700, 10):
        for x in range(10, 1190, 10):
            pixels[y : y + 4, x : x + 4] = 0
    found = find_lines(pixels)
    assert [line.top for line in found.lines[:6]] == pytest.approx([box[1] for box in page.boxes], abs=2)


def test_the_largest_segments_are_kept() -> None:
    """Of 3000 single dots and 10 rows of 20 letters the rows stay."""
    sizes = [20] * 10 + [1] * 3000
    segment = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(segment))
    ids = np.arange(len(segment))
    pieces = Pieces(ids, np.zeros((len(ids), 4), np.float32), segment[order], np.zeros(len(ids), bool))
    kept = _largest_segments(pieces)
    assert len(np.unique(kept.segment)) == kept.segment.max() + 1 == MOST_SEGMENTS
    assert set(ids[segment[order] < 10]) <= set(kept.ids)
    few = Pieces(ids[:50], pieces.boxes[:50], np.arange(50), pieces.tall[:50])
    assert _largest_segments(few) is few
