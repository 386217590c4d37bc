"""White space between two segments of a row: a blank between words, or a part of the gutter of columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["LABEL_GAP", "Rows", "counted", "is_gutter"]

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


class Rows(NamedTuple):
    """The segments of a page, and which rows each of them covers: found once for all gaps."""

    extent: Boxes
    """(N, 4) their boxes."""
    centre: NDArray[np.float32]
    row: NDArray[np.intp]
    """(N,) the place of each segment's centre among the different centres ..."""
    first: NDArray[np.intp]
    end: NDArray[np.intp]
    """... and the first one, and the one behind the last, within its own top and bottom."""
    order: dict[int, NDArray[np.intp]]
    """The segments in the order in which they reach further towards a channel with their LEFT or RIGHT."""

    @classmethod
    def of(cls, extent: Boxes) -> Rows:
        centre: NDArray[np.float32] = np.asarray((extent[:, TOP] + extent[:, BOTTOM]) / 2, np.float32)
        centres, row = np.unique(centre, return_inverse=True)
        first = np.searchsorted(centres, extent[:, TOP], side="right")
        end = np.searchsorted(centres, extent[:, BOTTOM], side="left")
        order = {LEFT: np.argsort(-extent[:, LEFT]), RIGHT: np.argsort(extent[:, RIGHT])}
        return cls(extent, centre, row.reshape(-1), first, end, order)


def counted(first: NDArray[np.intp], count: NDArray[np.intp]) -> NDArray[np.intp]:
    """`count` numbers from `first` on, for all pairs of them one after the other."""
    return np.arange(count.sum()) + np.repeat(first - np.cumsum(count) + count, count)


def is_gutter(rows: Rows, here: int, there: int, gap: float, reach: float) -> bool:
    """Whether the gap between two segments of a row is (part of) white space that separates columns.

    `here` and `there` are two of the segments of `rows` with a `gap` between them, in pixels; `reach` is
    their letter height.

    Columns show by rows on both sides of one clear channel, the right ones aligned along it, the left ones
    wider than the numbers or bullets of a list.
    """
    extent, centre = rows.extent, rows.centre
    if gap > WIDE_GAP * reach:
        label = bool(_labels(extent, np.array([here]), reach)[0])
        if gap > (LABEL_GAP if label else WIDE_GAP) * reach:
            return True
    needed = next(count for limit, count in GUTTER_ROWS if gap <= limit * reach)
    middle = (extent[here, TOP] + extent[here, BOTTOM] + extent[there, TOP] + extent[there, BOTTOM]) / 4
    start, end = float(extent[here, RIGHT]), float(extent[there, LEFT])
    channel = 0.8 * reach
    # Places where the channel may run, one a row: (places, segments).
    lefts = np.linspace(start, max(start, end - channel), num=int(min(max(2 * gap / reach, 2), 6)))[:, None]
    rights = np.minimum(lefts + channel, end)
    blocks = (extent[:, LEFT] < rights - 1) & (extent[:, RIGHT] > lefts + 1)
    upper = np.where(blocks & (centre < middle), extent[:, BOTTOM], -np.inf).max(axis=1, keepdims=True)
    lower = np.where(blocks & (centre > middle), extent[:, TOP], np.inf).min(axis=1, keepdims=True)
    within = (centre > upper) & (centre < lower)
    before, after = within & (extent[:, RIGHT] <= lefts + 1), within & (extent[:, LEFT] >= rights - 1)
    after &= extent[:, LEFT] <= end + ALIGNED * reach  # what lies further cannot hide one of these
    for place in np.flatnonzero(np.minimum(before.sum(axis=1), after.sum(axis=1)) >= needed):
        behind = _nearest(rows, after[place], LEFT)
        if len(behind) < needed:
            continue
        beside = _nearest(rows, before[place], RIGHT)
        low, high = centre[behind].min() - reach, centre[behind].max() + reach
        beside = beside[(centre[beside] > low) & (centre[beside] < high)]
        if len(beside) >= needed and 2 * _labels(extent, beside, reach).sum() < len(beside):
            return True
    return False


def _labels(extent: Boxes, ids: NDArray[np.intp], reach: float) -> NDArray[np.bool_]:
    """Which of the segments may be the number or bullet of a list: short, and nothing close before them."""
    left, right = extent[ids, LEFT], extent[:, RIGHT]
    close = np.flatnonzero((right > left.min() - 3 * reach - 1) & (right < left.max() + reach + 1))
    centre = (extent[ids, TOP] + extent[ids, BOTTOM])[:, None] / 2
    before = left[:, None] - right[close]
    joined = (before > -reach) & (before < 3 * reach) & (close != ids[:, None])
    joined &= (centre > extent[close, TOP]) & (centre < extent[close, BOTTOM])
    short = extent[ids, RIGHT] - extent[ids, LEFT] <= LABEL_WIDTH * reach
    return np.asarray(short & ~joined.any(axis=1))


def _nearest(rows: Rows, chosen: NDArray[np.bool_], side: int) -> NDArray[np.intp]:
    """Of the chosen segments those that face the channel: no other lies between in the same row."""
    ids = rows.order[side][chosen[rows.order[side]]]
    edge = rows.extent[ids, side] * (1 if side == RIGHT else -1)
    count = np.maximum(rows.end[ids] - rows.first[ids], 0)
    furthest = np.empty(int(rows.row.max()) + 1, np.float32)  # of each row that a chosen segment covers
    furthest[counted(rows.first[ids], count)] = np.repeat(edge, count)  # of many the last to be written stays
    return np.asarray(ids[furthest[rows.row[ids]] <= edge])
