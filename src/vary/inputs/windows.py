"""Reading windows of a page: the whole page, or its text lines in reading order.

`find_lines` and `cut_line` are shared with the training data engine, so that a model is trained on lines cut
exactly as the reader cuts them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vary.inputs.deskew import deskew_matrix, estimate_skew, rotate
from vary.inputs.ink import Components, Gray, components, find_ink, gray_quantile
from vary.inputs.layout import reading_order, split_blocks
from vary.inputs.lines import find_groups, remove_rules, split_joined, text_components, text_pieces
from vary.inputs.measure import ASCENT, Measured, TextLine, measure, page_letters, text_height

__all__ = [
    "CutJitter",
    "PageLines",
    "PageWindows",
    "TextLine",
    "Window",
    "cut_line",
    "find_lines",
    "line_windows",
    "whole_window",
]

LINE_HEIGHT = 32
MAX_WIDTH = 2048
TEXT_SHARE = 0.75
"""Share of a window's height that the text takes from ascenders to descenders; the rest is margin."""
SIDE_MARGIN = 4
"""Pixels of a window (at 32 px height) left and right of the ink."""
DUST = 10
"""Components per letter found from which a page is dusty, and text on it of less than `DUST_SIZE` pixels is
none."""
DUST_SIZE = 16.0
MIN_CONTRAST = 36.0
"""Gray levels that text must differ from its ground, or it is taken for show-through ..."""
CONTRAST_SHARE = 0.2
"""... and share of the contrast that the page's strongest text has."""
PICTURE_CONTRAST, PICTURE_SHARE = 24, 0.03
"""A page without text shows a picture where so much of it is so many gray levels off what is around."""
SHAPELESS = 1.0
"""Pixels of letter height below which marks stand on no common line: dots of a screen, a hatching."""
FAINT_COUNT = 8
"""A fainter line of so many letters is worth a word to the user, who may know that it is text."""

Polygon = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Window:
    """One piece of a page for a model to read.

    `image`: uint8, (line_height, W) gray for lines, (H, W, 3) RGB for whole pages; `polygon`: its four
    corners clockwise from the top left, in pixels of the page as it was given; `block` on the page and
    `line` in the block.
    """

    image: NDArray[np.uint8]
    polygon: Polygon
    block: int
    line: int
    margin: float = 0.0
    """Pixels of `image` that stand left and right of `polygon`."""
    piece: int = 0
    """Which part this is of a line that was too wide for one window; all have its number."""

    @property
    def text_height(self) -> float:
        """Height of the text from ascenders to descenders in page pixels; for a line window."""
        across = math.dist(self.polygon[0], self.polygon[1])
        height, width = self.image.shape[:2]
        return float(TEXT_SHARE * height * across / max(1.0, width - 2 * self.margin))

    def place(self, left: float, right: float) -> Polygon:
        """The part of the polygon between two shares, 0 to 1, of the image's width."""
        width = self.image.shape[1]
        corners = np.array(self.polygon)
        shares = (np.array([left, right]) * width - self.margin) / max(1.0, width - 2 * self.margin)
        left, right = np.clip(shares, 0.0, 1.0)
        top, bottom = corners[1] - corners[0], corners[2] - corners[3]
        places = (
            corners[0] + top * left,
            corners[0] + top * right,
            corners[3] + bottom * right,
            corners[3] + bottom * left,
        )
        return tuple((float(x), float(y)) for x, y in places)


@dataclass(frozen=True, slots=True)
class PageWindows:
    """The windows of a page in reading order; `skew` in degrees, positive if lines fall to the right.

    `faint` counts the lines that were taken for show-through from the page's back, `shapeless` those without
    a letter height, `unseen` the groups of marks that were not compared as there were too many.
    """

    windows: list[Window]
    blank: bool
    skew: float
    faint: int = 0
    shapeless: int = 0
    unseen: int = 0


@dataclass(frozen=True, slots=True)
class PageLines:
    """The lines of a page in reading order, on `gray`, the deskewed page.

    `matrix` (2, 3) leads from the page's pixels to those of `gray`; `shape` is the page's (height, width).
    `faint`, `shapeless` and `unseen` count what was left out, as in `PageWindows`.
    """

    lines: list[TextLine]
    skew: float
    gray: Gray
    matrix: NDArray[np.float64]
    shape: tuple[int, int]
    faint: int = 0
    shapeless: int = 0
    unseen: int = 0

    def polygons(self, lines: Sequence[TextLine]) -> list[Polygon]:
        """The corners of lines' ink boxes in page pixels, clockwise from the top left."""
        boxes = np.array([(line.left, line.top, line.right, line.bottom) for line in lines]).reshape(-1, 4)
        corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
        points = (corners - self.matrix[:, 2]) @ np.linalg.inv(self.matrix[:, :2]).T
        points = np.clip(points, 0, (self.shape[1], self.shape[0]))
        return [tuple((x, y) for x, y in polygon) for polygon in points.tolist()]


@dataclass(frozen=True, slots=True)
class CutJitter:
    """Small errors of line finding, for training: `shift` rows down and margins in pixels of the window,
    `scale` as a factor on the size of the text."""

    shift: float = 0.0
    scale: float = 1.0
    left: float = 0.0
    right: float = 0.0


def find_lines(gray: Gray) -> PageLines:
    """Deskews a gray page, (H, W) uint8, and finds its text lines in reading order; none on a blank page.

    Raises ValueError unless `gray` is a non-empty 2-d uint8 array.
    """
    if gray.ndim != 2 or gray.dtype != np.uint8 or not gray.size:
        raise ValueError(
            f"find_lines takes a non-empty gray page (H, W) uint8, got {gray.shape} {gray.dtype}"
        )
    gray = np.ascontiguousarray(gray)
    shape = (gray.shape[0], gray.shape[1])
    strength, found = find_ink(gray)
    found, usable = _text(strength, found)
    skew = estimate_skew(found, usable)
    matrix, turned = deskew_matrix(shape, skew)
    if skew:
        gray = rotate(gray, matrix, turned, int(np.median(gray[::8, ::8])))
        strength = rotate(strength, matrix, turned, 0)
        found, usable = _text(strength, components(strength))
    pieces = text_pieces(found, usable)
    if split_joined(strength, found, pieces):
        found = components(strength)
        pieces = text_pieces(found, text_components(found))
    measured = [measure(group, found, gray, strength) for group in find_groups(pieces, turned)]
    text, faint = _only_text(measured, len(pieces.ids))
    lines, shapeless = _arrange(text)
    return PageLines(lines, skew, gray, matrix, shape, faint, shapeless, pieces.surplus)


def _text(strength: Gray, found: Components) -> tuple[Components, NDArray[np.bool_]]:
    """The components without rules, and which of them may be text."""
    if remove_rules(strength, found):
        found = components(strength)
    return found, text_components(found)


def _only_text(lines: list[Measured], pieces: int) -> tuple[list[Measured], int]:
    """Drops show-through, dust and single strokes, and counts the lines that were too faint.

    `pieces` counts the components on the page, dust included.
    """
    if not lines:
        return [], 0
    counts = [line.count for line in lines]
    strongest = float(np.percentile(np.repeat([line.contrast for line in lines], counts), 90))
    limit = max(MIN_CONTRAST, CONTRAST_SHARE * strongest)
    faint = sum(line.contrast < limit and line.count >= FAINT_COUNT for line in lines)
    lines = [line for line in lines if line.contrast >= limit]
    long = [line for line in lines if line.count >= 5]
    sizes = np.repeat([line.size for line in long], [line.count for line in long])
    common = float(np.median(sizes)) if long else 0.0
    kept = [line for line in lines if _is_text(line, common)]
    if pieces > DUST * sum(line.count for line in kept):
        kept = [line for line in kept if line.size >= DUST_SIZE]
    return kept, faint


def _is_text(line: Measured, common: float) -> bool:
    """Judges a line by itself; `common` is the letter height of the page's longer lines, 0 if there are
    none."""
    width, height = line.box[2] - line.box[0], line.box[3] - line.box[1]
    if line.count >= 5 or (line.count >= 3 and (common or line.size >= 7)):
        return True
    if width > 4 * height and 0.4 < line.fill < 0.7:  # words whose letters touch
        return True
    if height < (max(0.65 * common, 6.0) if common else 9.0) or width > 8 * height:
        return False
    blob = line.count == 1 and line.fill > 0.65 and width > 0.5 * height
    scrap = common > 0 and height > 2 * common and line.fill < 0.18
    return not blob and not scrap


def _arrange(lines: list[Measured]) -> tuple[list[TextLine], int]:
    """Orders measured lines, forms blocks and settles the text height of each block; counts the lines of
    blocks that have none and are left out."""
    if not lines:
        return [], 0
    boxes = np.array([line.box for line in lines], dtype=np.float64)
    sizes = np.array([line.size for line in lines], dtype=np.float64)
    baselines = np.array([line.baseline for line in lines], dtype=np.float64)
    heights = np.array([(line.x_height, line.tall) for line in lines])
    blocks = [
        block
        for region in reading_order(boxes, sizes)
        for block in split_blocks(region, boxes, baselines, heights)
    ]
    page = page_letters(lines)
    done: list[TextLine] = []
    number = shapeless = 0
    for block in blocks:
        letters = text_height([lines[index] for index in block], page)
        if letters.full < SHAPELESS:
            shapeless += len(block)
            continue
        for row, index in enumerate(block):
            line = lines[index]
            baseline = line.baseline - letters.lift
            done.append(
                TextLine(*line.box, baseline, letters.small, letters.full, number, row, line.inverted),
            )
        number += 1
    return done, shapeless


def cut_line(
    gray: Gray, line: TextLine, *, line_height: int = LINE_HEIGHT, jitter: CutJitter | None = None
) -> NDArray[np.uint8]:
    """The line as (line_height, W) uint8, dark on light, its text height scaled to 3/4 of the window's.

    `gray` is `PageLines.gray`.  The baseline always lies in the same row, the width falls as it does; the
    caller pads it.  One resampling: area when shrinking, cubic when enlarging.
    """
    jitter = jitter or CutJitter()
    scale = TEXT_SHARE * line_height / max(line.text_height, 1.0) * jitter.scale
    margin = SIDE_MARGIN * line_height / LINE_HEIGHT
    row = line_height * ((1 - TEXT_SHARE) / 2 + TEXT_SHARE * ASCENT) + jitter.shift
    left = line.left - (margin + jitter.left) / scale
    right = line.right + (margin + jitter.right) / scale
    top = line.baseline - row / scale
    bottom = top + line_height / scale
    width = max(1, round((right - left) * scale))
    ground = _ground(gray, line)
    if scale < 1:
        edges = [
            round(left),
            round(top),
            max(round(right), round(left) + 1),
            max(round(bottom), round(top) + 1),
        ]
        window = _crop(gray, edges, ground)
        image = cv2.resize(window, (width, line_height), interpolation=cv2.INTER_AREA)
    else:
        origin = (left + 0.5 / scale - 0.5, top + 0.5 / scale - 0.5)
        edges = [math.floor(left) - 2, math.floor(top) - 2, math.ceil(right) + 2, math.ceil(bottom) + 2]
        window = _crop(gray, edges, ground)
        matrix = np.array([[1 / scale, 0, origin[0] - edges[0]], [0, 1 / scale, origin[1] - edges[1]]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        image = cv2.warpAffine(
            window, matrix, (width, line_height), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
    return np.asarray(255 - image if line.inverted else image, dtype=np.uint8)


def _ground(gray: Gray, line: TextLine) -> int:
    """Colour of the paper around a line."""
    top, bottom = max(0, int(line.top) - 1), int(line.bottom) + 1
    left, right = max(0, int(line.left) - 1), int(line.right) + 1
    window = gray[top:bottom, left:right][:: max(1, (bottom - top) // 24), :: max(1, (right - left) // 200)]
    return int(gray_quantile(window, 0.25 if line.inverted else 0.75)) if window.size else 255


def _crop(gray: Gray, edges: list[int], ground: int) -> Gray:
    left, top, right, bottom = edges
    height, width = gray.shape
    inside = gray[max(0, top) : max(0, min(bottom, height)), max(0, left) : max(0, min(right, width))]
    before = (max(0, -top), max(0, -left))
    after = (bottom - top - before[0] - inside.shape[0], right - left - before[1] - inside.shape[1])
    if not any(before + after):
        return inside
    canvas = np.full((bottom - top, right - left), ground, np.uint8)
    canvas[before[0] : before[0] + inside.shape[0], before[1] : before[1] + inside.shape[1]] = inside
    return canvas


def line_windows(
    image: Image.Image | NDArray[np.uint8], *, line_height: int = LINE_HEIGHT, max_width: int = MAX_WIDTH
) -> PageWindows:
    """The text lines of a page as windows in reading order; `blank` if there is no text.

    A line wider than `max_width` pixels after scaling is split at its widest word gaps into several windows,
    its pieces.
    """
    page = find_lines(_gray(image))
    margin = SIDE_MARGIN * line_height / LINE_HEIGHT
    pieces = [
        (piece, part)
        for line in page.lines
        for piece, part in enumerate(_split_wide(page.gray, line, line_height, max_width))
    ]
    parts = [part for _, part in pieces]
    windows: list[Window] = []
    block, number = -1, 0
    for (piece, part), polygon in zip(pieces, page.polygons(parts), strict=True):
        number = number + (piece == 0) if part.block == block else 0
        block = part.block
        cut = cut_line(page.gray, part, line_height=line_height)
        windows.append(Window(cut, polygon, block, number, margin, piece))
    return PageWindows(windows, not windows, page.skew, page.faint, page.shapeless, page.unseen)


def _split_wide(gray: Gray, line: TextLine, line_height: int, max_width: int) -> list[TextLine]:
    margin = 2 * SIDE_MARGIN * line_height / LINE_HEIGHT
    limit = (max_width - margin - 1) * line.text_height / (TEXT_SHARE * line_height)
    width = line.right - line.left
    if width <= limit or width < 4:
        return [line]
    left, right = int(line.left), int(line.right)
    strip = gray[int(line.top) : int(line.bottom), left:right].astype(np.int16)
    ink = np.abs(strip - _ground(gray, line)).max(axis=0) > 40
    third = len(ink) // 3
    gap_start, gap_end = _widest_gap(ink, third, len(ink) - third)
    first = replace(line, right=float(left + gap_start))
    second = replace(line, left=float(left + gap_end))
    return [part for half in (first, second) for part in _split_wide(gray, half, line_height, max_width)]


def _widest_gap(ink: NDArray[np.bool_], low: int, high: int) -> tuple[int, int]:
    """Start and end of the longest run without ink in columns low..high; the middle if there is none."""
    padded = np.concatenate(([True], ink[low:high], [True]))
    edges = np.flatnonzero(np.diff(padded.astype(np.int8)))
    if not len(edges):
        middle = (low + high) // 2
        return middle, middle
    runs = edges.reshape(-1, 2)
    start, end = runs[(runs[:, 1] - runs[:, 0]).argmax()]
    return low + int(start), low + int(end)


def whole_window(image: Image.Image | NDArray[np.uint8], *, text: bool = True) -> PageWindows:
    """The whole page as one RGB window, without deskewing.

    It is `blank` if it shows neither text nor a picture; where the question is not about `text`, if it is of
    one colour: a small bird in a clear sky is no text, and yet the answer.
    """
    page = np.asarray(image.convert("RGB")) if isinstance(image, Image.Image) else np.asarray(image)
    if page.ndim == 2:
        page = np.repeat(page[:, :, None], 3, axis=2)
    height, width = page.shape[:2]
    if text:
        gray = _gray(image)
        found = find_lines(gray)
        blank = not found.lines and not found.shapeless and not _shows_picture(gray)
    else:
        # Each colour by itself: red and green may be the same gray.
        blank = bool((np.ptp(page[..., :3], axis=(0, 1)) < PICTURE_CONTRAST).all())
    corners: Polygon = ((0.0, 0.0), (float(width), 0.0), (float(width), float(height)), (0.0, float(height)))
    return PageWindows([] if blank else [Window(page, corners, 0, 0)], blank=blank, skew=0.0)


def _shows_picture(gray: Gray) -> bool:
    """Whether the middle of the page has shapes: not noise, which is smoothed away, nor slow shading."""
    height, width = gray.shape
    middle = gray[height // 10 : height - height // 10, width // 10 : width - width // 10]
    if min(middle.shape) < LINE_HEIGHT:
        return False
    small, large = max(3, min(middle.shape) // 100 * 2 + 1), max(5, min(middle.shape) // 6)
    shapes = cv2.blur(middle, (small, small)).astype(np.int16) - cv2.blur(middle, (large, large))
    return float(np.mean(np.abs(shapes) > PICTURE_CONTRAST)) > PICTURE_SHARE


def _gray(image: Image.Image | NDArray[np.uint8]) -> Gray:
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("L"), dtype=np.uint8)
    if image.ndim == 3:
        return np.asarray(cv2.cvtColor(image[:, :, :3], cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    return image
