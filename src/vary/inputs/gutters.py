"""White space between two segments of a row: a blank between words, or a part of the gutter of columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LABEL_GAP", "is_gutter"]

Boxes = NDArray[np.float32]
LEFT, TOP, RIGHT, BOTTOM = range(4)

WIDE_GAP = 4.5
"""Gaps from here on separate lines even where nothing else says so."""
ALIGNED = 2.5
"""Letter heights by which lines of a column may be indented."""
GUTTER_ROWS = ((2.0, 5), (2.6, 3), (float("inf"), 2))
"""(gap up to so many letter heights, rows on both sides that make it a gutter)."""
LABEL_GAP = 6.0
"""... except behind a short label at the start of a row: `1.`, a bullet."""
LABEL_WIDTH = 3.2


def is_gutter(extent: Boxes, here: int, there: int, gap: float, reach: float) -> bool:
    """Whether the gap between two segments of a row is (part of) white space that separates columns.

    `extent` (N, 4) are the boxes of all segments, of which `here` and `there` are two with a `gap` between
    them, in pixels; `reach` is their letter height.

    Columns show by rows on both sides of one clear channel, the right ones aligned along it, the left ones
    wider than the numbers or bullets of a list.
    """
    if gap > WIDE_GAP * reach:
        label = bool(_labels(extent, np.array([here]), reach)[0])
        if gap > (LABEL_GAP if label else WIDE_GAP) * reach:
            return True
    needed = next(count for limit, count in GUTTER_ROWS if gap <= limit * reach)
    middle = (extent[here, TOP] + extent[here, BOTTOM] + extent[there, TOP] + extent[there, BOTTOM]) / 4
    start, end = float(extent[here, RIGHT]), float(extent[there, LEFT])
    centre = (extent[:, TOP] + extent[:, BOTTOM]) / 2
    channel = 0.8 * reach
    # Places where the channel may run, one a row: (places, segments).
    lefts = np.linspace(start, max(start, end - channel), num=int(min(max(2 * gap / reach, 2), 6)))[:, None]
    rights = np.minimum(lefts + channel, end)
    blocks = (extent[:, LEFT] < rights - 1) & (extent[:, RIGHT] > lefts + 1)
    upper = np.where(blocks & (centre < middle), extent[:, BOTTOM], -np.inf).max(axis=1, keepdims=True)
    lower = np.where(blocks & (centre > middle), extent[:, TOP], np.inf).min(axis=1, keepdims=True)
    within = (centre > upper) & (centre < lower)
    before, after = within & (extent[:, RIGHT] <= lefts + 1), within & (extent[:, LEFT] >= rights - 1)
    for place in np.flatnonzero(np.minimum(before.sum(axis=1), after.sum(axis=1)) >= needed):
        behind = _nearest(extent, after[place], LEFT)
        behind = behind[extent[behind, LEFT] <= end + ALIGNED * reach]
        if len(behind) < needed:
            continue
        beside = _nearest(extent, before[place], RIGHT)
        low, high = centre[behind].min() - reach, centre[behind].max() + reach
        beside = beside[(centre[beside] > low) & (centre[beside] < high)]
        if len(beside) >= needed and 2 * _labels(extent, beside, reach).sum() < len(beside):
            return True
    return False


def _labels(extent: Boxes, ids: NDArray[np.intp], reach: float) -> NDArray[np.bool_]:
    """Which of the segments may be the number or bullet of a list: short, and nothing close before them."""
    centre = (extent[ids, TOP] + extent[ids, BOTTOM])[:, None] / 2
    before = extent[ids, LEFT][:, None] - extent[:, RIGHT]
    joined = (
        (before > -reach) & (before < 3 * reach) & (centre > extent[:, TOP]) & (centre < extent[:, BOTTOM])
    )
    joined[np.arange(len(ids)), ids] = False
    short = extent[ids, RIGHT] - extent[ids, LEFT] <= LABEL_WIDTH * reach
    return np.asarray(short & ~joined.any(axis=1))


def _nearest(extent: Boxes, chosen: NDArray[np.bool_], side: int) -> NDArray[np.intp]:
    """Of the chosen segments those that face the channel: no other lies between in the same row."""
    ids = np.flatnonzero(chosen)
    if len(ids) < 2:
        return ids
    sign = 1 if side == RIGHT else -1
    edge = extent[ids, side] * sign
    centre = (extent[ids, TOP] + extent[ids, BOTTOM]) / 2
    inside = (centre[:, None] > extent[ids, TOP]) & (centre[:, None] < extent[ids, BOTTOM])
    hidden = inside & (edge > edge[:, None])
    return np.asarray(ids[~hidden.any(axis=1)])
