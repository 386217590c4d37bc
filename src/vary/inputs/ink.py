"""Where a page has ink: background, noise and local contrast made one number per pixel, and its
components."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Components", "Gray", "components", "find_ink", "gray_quantile"]

Gray = NDArray[np.uint8]

THRESHOLD = 128
"""The strength from which a pixel counts as ink."""
MIN_CONTRAST = 22
"""Gray levels that ink differs from its background at the least."""
NOISE_FACTOR = 4.5
LOCAL_FRACTION = 0.36
"""Share of the contrast found around a pixel that the pixel must reach: keeps JPEG ringing and blur out."""
BACKGROUND_SIDE = 440
"""The background is estimated on a page thinned out to about this many pixels on its long side ..."""
BACKGROUND_KERNEL = 51
"""... as a median over windows of this size, so text of up to a tenth of the page height is not
background."""
CONTRAST_CELL = 8
PANEL_AREA = 250
"""Square pixels of the smallest dark panel or corner of one."""
RIM = 7
"""Width in pixels of the seam between a panel and the paper."""
MOST_CELLS = 256
"""Cells of ink up to which squares of `RIM` pixels are looked for at each of them."""


class Components(NamedTuple):
    """Connected components of the ink: `boxes` (N, 4) int32 left, top, right, bottom (exclusive), `area`
    (N,)."""

    boxes: NDArray[np.int32]
    area: NDArray[np.int32]
    labels: NDArray[np.int32]
    """(H, W); 0 is no ink, i + 1 the component i."""

    @property
    def width(self) -> NDArray[np.int32]:
        return self.boxes[:, 2] - self.boxes[:, 0]

    @property
    def height(self) -> NDArray[np.int32]:
        return self.boxes[:, 3] - self.boxes[:, 1]


def components(strength: Gray) -> Components:
    """The 8-connected components of the ink, (H, W) uint8 with ink from `THRESHOLD` on."""
    mask = strength >= THRESHOLD
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    labels = np.zeros(strength.shape, np.int32)
    if not len(rows):
        return Components(np.zeros((0, 4), np.int32), np.zeros(0, np.int32), labels)
    # Margins are left out.  OpenCV numbers squares of 2 by 2 pixels, so what is left begins at an even place.
    top, edge = int(rows[0]) // 2 * 2, int(columns[0]) // 2 * 2
    inside = (slice(top, int(rows[-1]) + 1), slice(edge, int(columns[-1]) + 1))
    height, width = mask[inside].shape
    padded = np.zeros((height, width + 1), bool)  # so that no run of ink goes on in the next row
    padded[:, :width] = mask[inside]
    ink = padded[:, :width].view(np.uint8)
    count, _ = cv2.connectedComponents(ink, labels[inside], connectivity=8, ltype=cv2.CV_32S)
    # Measured over the runs of ink: cv2.connectedComponentsWithStats counts the paper too, at twice the time.
    flat = padded.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate(([0], edges)) if flat[0] else edges
    start, stop = edges[::2], edges[1::2]
    row = start // (width + 1)
    left, right = start - row * (width + 1) + edge, stop - row * (width + 1) + edge
    row += top
    run = labels[row, left]
    boxes = np.empty((count, 4), np.int32)
    boxes[:, 0], boxes[:, 2] = strength.shape[1], 0
    np.minimum.at(boxes[:, 0], run, left.astype(np.int32))
    np.maximum.at(boxes[:, 2], run, right.astype(np.int32))
    boxes[run[::-1], 1] = row[::-1]  # rows rise: of those of one component the last to be written stays
    boxes[run, 3] = row + 1
    area = np.bincount(run, stop - start, minlength=count).astype(np.int32)
    return Components(boxes[1:], area[1:], labels)


def find_ink(gray: Gray) -> tuple[Gray, Components]:
    """How far each pixel stands out from its background, (H, W) uint8 with ink from `THRESHOLD` on, and that
    ink.

    Both dark text on light and light text on dark stand out.  Shadows go into the background, which is a
    local median; noise raises the threshold; so does strong ink close by, which keeps its halo out.
    """
    background = _background(gray)
    difference = cv2.absdiff(gray, background)
    sigma = _noise(difference)
    if sigma > 2.5:
        gray = cv2.GaussianBlur(gray, (3, 3), 0)
        difference = cv2.absdiff(gray, background)
        sigma = _noise(difference)
    strength = _relative(difference, sigma)
    found = components(strength)
    rims = _repaint_panels(gray, background, found)
    if rims is not None:
        strength = _relative(cv2.absdiff(gray, background), sigma)
        strength[rims > 0] = 0
        found = components(strength)
    return strength, found


def _background(gray: Gray) -> Gray:
    height, width = gray.shape
    step = max(1, round(max(height, width) / BACKGROUND_SIDE))
    thin = np.ascontiguousarray(gray[::step, ::step])
    paper = int(cv2.calcHist([thin], [0], None, [256], [0, 256]).argmax())
    if _is_even(thin, paper):
        return np.full_like(gray, paper)
    median = cv2.medianBlur(thin, BACKGROUND_KERNEL)
    return np.asarray(cv2.resize(median, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _is_even(thin: Gray, paper: int) -> bool:
    """Whether the background's median is `paper` everywhere, as on pages that no camera has seen: at a tenth
    of the median's price, most pixels of every window are."""
    plain = (thin == paper).view(np.uint8)
    most = BACKGROUND_KERNEL**2 / 2
    if 2 * np.count_nonzero(plain) <= plain.size:
        return False
    side = (BACKGROUND_KERNEL, BACKGROUND_KERNEL)
    counts = cv2.boxFilter(plain, cv2.CV_32F, side, normalize=False, borderType=cv2.BORDER_REPLICATE)
    return float(counts.min()) > most


def _noise(difference: Gray) -> float:
    """Standard deviation of the background noise, from the median: text covers less than half of a page."""
    return gray_quantile(difference[::3, ::3], 0.5) * 1.4826


def gray_quantile(values: Gray, share: float) -> float:
    """`np.quantile` of gray levels, from their histogram: the arrays are large and the levels few."""
    levels = np.cumsum(
        cv2.calcHist([np.ascontiguousarray(values)], [0], None, [256], [0, 256]), dtype=np.int64
    )
    place = (int(levels[-1]) - 1) * share
    low, high = np.searchsorted(levels, (int(place), int(place) + 1), side="right")
    return float(low + (min(high, 255) - low) * (place - int(place)))


def _holds_square(ink: Gray) -> bool:
    """Whether there may be a square of `RIM` pixels that is all ink; those across the page's edge count, too.

    Each of them covers one of the cells of 4 by 4 pixels that the page is cut into.  A page of plain text has
    few cells that are all ink, if any, and looking there takes a tenth of the time for the whole page.
    """
    height, width = ink.shape
    padded = np.ones((8 + height + -height % 4, 8 + width + -width % 4), np.uint8)
    padded[4 : 4 + height, 4 : 4 + width] = ink
    rows = padded[0::4] & padded[1::4] & padded[2::4] & padded[3::4]
    cells = np.argwhere(rows.view(np.uint32)[1:-1, 1:-1] == 0x01010101)
    if not 0 < len(cells) <= MOST_CELLS:
        return len(cells) > 0
    squares = np.lib.stride_tricks.sliding_window_view(padded, (RIM, RIM))
    top, left = (4 * cells.T + 4)[:, :, None] - np.arange(4)  # a square begins up to 3 pixels before its cell
    return bool(squares[top[:, :, None], left[:, None]].all(axis=(3, 4)).any())


def _relative(difference: Gray, sigma: float) -> Gray:
    """`difference` over the local threshold, times `THRESHOLD`."""
    height, width = difference.shape
    cell = CONTRAST_CELL
    padded = cv2.copyMakeBorder(difference, 0, -height % cell, 0, -width % cell, cv2.BORDER_REPLICATE)
    rows = padded.reshape(padded.shape[0] // cell, cell, -1).max(axis=1)
    peaks = np.maximum.reduce([rows[:, column::cell] for column in range(cell)])
    peaks = cv2.blur(cv2.dilate(peaks, np.ones((5, 5), np.uint8)), (3, 3))
    floor = max(float(MIN_CONTRAST), NOISE_FACTOR * sigma)
    limit = np.clip(peaks.astype(np.float32) * LOCAL_FRACTION, floor, 255).astype(np.uint8)
    limit = cv2.resize(limit, (padded.shape[1], padded.shape[0]), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.divide(difference, limit[:height, :width], scale=THRESHOLD), dtype=np.uint8)


def _repaint_panels(gray: Gray, background: Gray, found: Components) -> Gray | None:
    """Finds filled panels (light text on a dark bar) and writes their colour into `background`, in place.

    Also the corners of larger ones, which the median rounds off.  Returns a mask of the panels' rims, which
    are no ink, or None if there are no panels.
    """
    width, height = found.width, found.height
    solid = (found.area > np.maximum(0.3 * width * height, PANEL_AREA)) & (np.minimum(width, height) >= 12)
    rims = np.zeros_like(gray)
    changed = _repaint_corners(gray, background, found)
    for index in np.flatnonzero(solid):
        left, top, right, bottom = (int(edge) for edge in found.boxes[index])
        inside = (found.labels[top:bottom, left:right] == index + 1).astype(np.uint8)
        contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        filled = cv2.drawContours(np.zeros_like(inside), contours, -1, 1, cv2.FILLED)
        if _holds_letters(inside, filled, contours[0]):
            cv2.drawContours(rims, contours, -1, 255, RIM, offset=(left, top))
            colour = np.median(gray[top:bottom, left:right][inside > 0])
            background[top:bottom, left:right][filled > 0] = np.uint8(colour)
            changed = True
    return rims if changed else None


def _holds_letters(inside: Gray, filled: Gray, contour: cv2.typing.MatLike) -> bool:
    """Whether a component is a rectangle with holes like the letters on a panel."""
    area = int(filled.sum())
    _, (width, height), _ = cv2.minAreaRect(contour)
    if area < 0.8 * width * height or inside.sum() < 0.6 * area or min(width, height) < 12:
        return False
    holes = components((filled - inside) * THRESHOLD)
    return int(((holes.height >= 4) & (holes.area >= 6)).sum()) >= 3


def _repaint_corners(gray: Gray, background: Gray, found: Components) -> bool:
    """Ink whose colour goes on as ground beside it is a part of that ground: writes it into `background`."""
    ink = (found.labels > 0).view(np.uint8)
    if not _holds_square(ink):
        return False
    thick = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((RIM, RIM), np.uint8))
    if not thick.any():
        return False
    parts = components(thick * THRESHOLD)
    changed = False
    for index in np.flatnonzero(parts.area > PANEL_AREA // 2):
        left, top, right, bottom = (int(edge) for edge in parts.boxes[index])
        around = (slice(max(0, top - RIM), bottom + RIM), slice(max(0, left - RIM), right + RIM))
        inside = (parts.labels[around] == index + 1).astype(np.uint8)
        ring = (cv2.dilate(inside, np.ones((RIM, RIM), np.uint8)) > inside) & (ink[around] == 0)
        if not ring.any():
            continue
        colours = gray[around].astype(np.float32)
        colour = float(np.median(colours[inside > 0]))
        contrast = abs(colour - float(np.median(background[around][inside > 0])))
        if (np.abs(colours[ring] - colour) < 0.15 * contrast).mean() > 0.12:
            grown = cv2.dilate(inside, np.ones((RIM, RIM), np.uint8)) & ink[around]
            background[around][grown > 0] = np.uint8(colour)
            changed = True
    return changed
