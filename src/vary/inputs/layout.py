"""The order in which text lines are read, and the blocks that they form."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["reading_order", "split_blocks"]

LEFT, TOP, RIGHT, BOTTOM = range(4)
Boxes = NDArray[np.float64]
Ids = NDArray[np.intp]

GUTTER = 0.7
"""Narrowest column gutter, in letter heights."""
CELL, NUMBER = 13.0, 4.0
"""Letter heights up to which lines may be cells of a table, or the numbers behind its rows."""
APART = 2.2
"""Letter heights that a running header or footer keeps from the body."""


def reading_order(boxes: Boxes, sizes: NDArray[np.float64]) -> list[list[int]]:
    """Line numbers in reading order, one list per region that holds a single column.

    `boxes` (N, 4) left, top, right, bottom; `sizes` (N,) letter heights.  Recursive: the best gutter is
    looked for; lines across it (full-width headings) cut the region into bands, bands are read from top to
    bottom, the columns of a band from left to right.
    """
    everything = np.arange(len(boxes))
    regions: list[list[int]] = []
    for part in _peel(boxes, sizes, everything):
        regions.extend(_cut(boxes, sizes, part))
    return regions


def _peel(boxes: Boxes, sizes: NDArray[np.float64], ids: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Parts the running header and footer (one row, far from the rest) from the body, top to bottom."""
    rows = _rows(boxes, ids)
    if len(rows) < 4:
        return [ids]
    header, footer = _is_apart(boxes, sizes, ids, rows[0]), _is_apart(boxes, sizes, ids, rows[-1])
    body = np.concatenate(rows[int(header) : len(rows) - int(footer)])
    return [rows[0]] * header + [body] + [rows[-1]] * footer


def _is_apart(boxes: Boxes, sizes: NDArray[np.float64], ids: NDArray[np.intp], row: NDArray[np.intp]) -> bool:
    """Whether a row of common size keeps a distance from the other lines that they do not keep from each
    other."""
    typical = float(np.median(sizes[ids]))
    rest = np.setdiff1d(ids, row)
    if sizes[row].max() > 1.9 * typical:
        return False
    under = boxes[rest, TOP] - boxes[row, BOTTOM].max()
    over = boxes[row, TOP].min() - boxes[rest, BOTTOM]
    distance = float(np.maximum(under, over).min())
    between = np.sort(boxes[rest, TOP])[1:, None] - boxes[rest, BOTTOM]
    steps = np.where(between > -0.5 * typical, between, np.inf).min(axis=1)
    usual = float(np.percentile(steps[np.isfinite(steps)], 95)) if np.isfinite(steps).any() else 0.0
    return distance > max(APART * typical, 1.2 * usual)


def _cut(boxes: Boxes, sizes: NDArray[np.float64], ids: NDArray[np.intp]) -> list[list[int]]:
    if len(ids) < 2:
        return [ids.tolist()] if len(ids) else []
    gutter = _best_gutter(boxes, sizes, ids)
    if gutter is None:
        return [[int(line) for row in _rows(boxes, ids) for line in row]]
    bands, crossing = _bands(boxes, ids, gutter)
    regions: list[list[int]] = []
    for band, across in zip(bands, crossing, strict=True):
        if across:
            regions.extend(_cut(boxes, sizes, band) if len(band) < len(ids) else [band.tolist()])
            continue
        before = boxes[band, RIGHT] <= gutter
        if before.any() and not before.all() and _is_grid(boxes, sizes, band, before):
            regions.append([int(line) for row in _rows(boxes, band) for line in row])
            continue
        for side in (before, ~before):
            regions.extend(_cut(boxes, sizes, band[side]))
    return regions


def _best_gutter(boxes: Boxes, sizes: NDArray[np.float64], ids: Ids) -> float | None:
    """The x that leaves the most lines side by side, None if no two lines stand beside each other.

    Lines count that have a neighbour across the gutter in the same band, the smaller of both sides, unless
    they are cells of a table; those across the gutter count against it.
    """
    lines = _Ordered.of(boxes, sizes, ids)
    start, end, room = boxes[lines.ids, LEFT], boxes[lines.ids, RIGHT], GUTTER * sizes[lines.ids]
    best, best_score = None, 0.0
    for edge in np.unique(start)[1:].tolist():
        right = start >= edge - 0.01
        left = (end <= edge - room) & ~right
        if not left.any():
            continue
        across = ~left & ~right
        band = np.cumsum(across)
        count = int(band[-1]) + 1
        beside = np.minimum(*(np.bincount(band[side], minlength=count) for side in (left, right)))
        goal = best_score + 0.01 + 0.05 * int(across.sum())
        if beside.sum() <= goal:  # not even without tables: most edges of a page of scraps end here
            continue
        score = int(beside[~_are_grids(lines, band, left, right)].sum())
        if score > goal:
            centre = (edge + end[left].max()) / 2
            best, best_score = float(centre), score - 0.05 * int(across.sum())
    return best


def _is_grid(boxes: Boxes, sizes: NDArray[np.float64], ids: Ids, left: NDArray[np.bool_]) -> bool:
    """`_are_grids` for the single band `ids`, sorted from top to bottom."""
    return bool(_are_grids(_Ordered.of(boxes, sizes, ids), np.zeros(len(ids), np.intp), left, ~left)[0])


class _Ordered(NamedTuple):
    """Lines of a region from top to bottom, with places in sorted orders instead of coordinates: sorted
    within each of many bands they are compared at once."""

    ids: Ids
    top: Ids
    centre: Ids
    bottom: Ids
    """(N,) places among the tops, centres and bottoms of all lines together."""
    rank: Ids
    """(N,) place of each line's width ..."""
    widths: NDArray[np.float64]
    """... among all of them, (N,) in letter heights."""

    @classmethod
    def of(cls, boxes: Boxes, sizes: NDArray[np.float64], ids: Ids) -> _Ordered:
        centre = (boxes[ids, TOP] + boxes[ids, BOTTOM]) / 2
        ids = ids[np.argsort(centre, kind="stable")]
        edges = np.concatenate((boxes[ids, TOP], np.sort(centre), boxes[ids, BOTTOM]))
        top, middle, bottom = np.split(np.unique(edges, return_inverse=True)[1].reshape(-1), 3)
        widths = (boxes[ids, RIGHT] - boxes[ids, LEFT]) / sizes[ids]
        order = np.argsort(widths, kind="stable")
        rank = np.empty(len(ids), np.intp)
        rank[order] = np.arange(len(ids))
        return cls(ids, top, middle, bottom, rank, widths[order])


def _are_grids(
    lines: _Ordered, band: Ids, left: NDArray[np.bool_], right: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """For each band whether its lines on both sides are columns of a table or form, read row by row: short,
    and in the same rows.

    `band` (N,) rises from 0; `left` and `right` (N,) choose the lines of the sides, some for each.  Returns
    (bands,), False for a band without lines on one side.
    """
    count = int(band[-1]) + 1
    here, there = np.flatnonzero(left), np.flatnonzero(right)
    many = [np.maximum(np.bincount(band[side], minlength=count), 1) for side in (here, there)]
    first, second = (_medians(lines, band, side, count) for side in (here, there))
    # Places of one band follow those of the band before, so one sorted array serves them all.
    ranks = band * (3 * len(band))
    top, centre, bottom = ranks + lines.top, ranks + lines.centre, ranks + lines.bottom
    # An open interval holds a point that lies above its start but not above its end.
    begun = np.searchsorted(np.sort(top[here]), centre[there], side="left")
    ended = np.searchsorted(np.sort(bottom[here]), centre[there], side="right")
    rows = np.bincount(band[there], begun > ended, count) / many[1]
    above = np.searchsorted(centre[there], bottom[here], side="left")
    below = np.searchsorted(centre[there], top[here], side="right")
    shared = np.bincount(band[here], above > below, count) / many[0]
    cells = (np.maximum(first, second) <= CELL) & (shared >= 0.4)
    return np.asarray((rows >= 0.7) & ((second <= NUMBER) | cells))


def _medians(lines: _Ordered, band: Ids, chosen: Ids, count: int) -> NDArray[np.float64]:
    """(count,) the median width of each band's chosen lines, any number for a band without some."""
    places = np.sort(band[chosen] * len(band) + lines.rank[chosen])
    starts = np.searchsorted(places, np.arange(count + 1) * len(band))
    low, high = (starts[:-1] + starts[1:] - 1) // 2, (starts[:-1] + starts[1:]) // 2
    middle = lines.widths[places[np.clip((low, high), 0, len(places) - 1)] % len(band)]
    return np.asarray(middle.sum(axis=0) / 2)


def _bands(boxes: Boxes, ids: NDArray[np.intp], gutter: float) -> tuple[list[NDArray[np.intp]], list[bool]]:
    order = ids[np.argsort((boxes[ids, TOP] + boxes[ids, BOTTOM]) / 2, kind="stable")]
    across = (boxes[order, LEFT] < gutter) & (boxes[order, RIGHT] > gutter)
    starts = np.flatnonzero(np.diff(across.astype(np.int8))) + 1
    bands = np.split(order, starts)
    return bands, [bool(across[start]) for start in (0, *starts)]


def _rows(boxes: Boxes, ids: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Rows from top to bottom, each from left to right: lines that overlap by half of the lower one's
    height."""
    lefts, tops, rights, bottoms = boxes.T.tolist()
    rows: list[list[int]] = []
    for line in ids[np.argsort((boxes[ids, TOP] + boxes[ids, BOTTOM]) / 2, kind="stable")].tolist():
        if rows:
            last = rows[-1][-1]
            overlap = min(bottoms[line], bottoms[last]) - max(tops[line], tops[last])
            low = min(bottoms[line] - tops[line], bottoms[last] - tops[last])
            beside = lefts[line] >= rights[last] or rights[line] <= lefts[last]
            if overlap > 0.5 * low and beside:
                rows[-1].append(line)
                continue
        rows.append([line])
    return [np.array(sorted(row, key=lambda line: lefts[line]), dtype=np.intp) for row in rows]


def split_blocks(
    region: Sequence[int], boxes: Boxes, baselines: NDArray[np.float64], heights: NDArray[np.float64]
) -> list[list[int]]:
    """Cuts the lines of a region into paragraphs: wider spacing, another letter size, a first-line indent.

    `heights` (N, 2): common and tall letter height of each line.
    """
    if not region:
        return []
    pitch = _pitch(region, baselines, heights)
    column = float(boxes[list(region), RIGHT].max())
    margin = float(np.percentile(boxes[list(region), LEFT], 30))
    lefts, rights, rows = boxes[:, LEFT].tolist(), boxes[:, RIGHT].tolist(), baselines.tolist()
    letters: list[tuple[float, float]] = heights.tolist()
    blocks = [[region[0]]]
    for before, here in pairwise(region):
        step = rows[here] - rows[before]
        size = (letters[before][1] + letters[here][1]) / 2
        ratios = [new / max(old, 1e-6) for old, new in zip(letters[before], letters[here], strict=True)]
        resized = min(ratios) > 1.2 or max(ratios) < 1 / 1.2
        indented = 0.8 * size < lefts[here] - lefts[before] < 5 * size and lefts[before] <= margin + size
        ended = rights[before] < column - 3 * size
        hanging = len(blocks[-1]) == 1
        beside = step < 0.5 * size
        if beside or resized or step > 1.22 * pitch + 1 or (indented and (ended or not hanging)):
            blocks.append([here])
        else:
            blocks[-1].append(here)
    return blocks


def _pitch(region: Sequence[int], baselines: NDArray[np.float64], heights: NDArray[np.float64]) -> float:
    """The line spacing within paragraphs: a low percentile, as gaps between paragraphs only add."""
    steps = np.diff(baselines[list(region)])
    size = float(np.median(heights[list(region), 1]))
    steps = steps[(steps > 0.9 * size) & (steps < 4 * size)]
    return float(np.percentile(steps, 30)) if len(steps) else 2.2 * size
